//! Which layer of one image stands for which of the other.

use similar::{Algorithm, DiffOp, capture_diff_slices};

use crate::image::Layer;

/// A layer of each, or of one alone; positions from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pair {
    pub a: Option<usize>,
    pub b: Option<usize>,
}

/// Pairs layers, lowest first. As many on both sides: by position. Otherwise those that are the same layer, or
/// of the same instruction, meet, and what lies between them is left over.
pub(crate) fn pair(a: &[Layer], b: &[Layer]) -> Vec<Pair> {
    let both = |a: usize, b: usize| Pair {
        a: Some(a),
        b: Some(b),
    };
    if a.len() == b.len() {
        return (0..a.len()).map(|at| both(at, at)).collect();
    }
    let names = |layers: &[Layer]| -> Vec<String> {
        let name = |layer: &Layer| match (&layer.step, layer.diff_id) {
            (Some(step), _) => step.clone(),
            (None, Some(digest)) => digest.to_string(),
            (None, None) => String::new(),
        };
        layers.iter().map(name).collect()
    };
    let mut pairs = Vec::new();
    for op in capture_diff_slices(Algorithm::Myers, &names(a), &names(b)) {
        match op {
            DiffOp::Equal {
                old_index,
                new_index,
                len,
            } => pairs.extend((0..len).map(|at| both(old_index + at, new_index + at))),
            DiffOp::Delete {
                old_index, old_len, ..
            } => pairs.extend((0..old_len).map(|at| Pair {
                a: Some(old_index + at),
                b: None,
            })),
            DiffOp::Insert {
                new_index, new_len, ..
            } => pairs.extend((0..new_len).map(|at| Pair {
                a: None,
                b: Some(new_index + at),
            })),
            DiffOp::Replace {
                old_index,
                old_len,
                new_index,
                new_len,
            } => pairs.extend((0..old_len.max(new_len)).map(|at| Pair {
                a: (at < old_len).then_some(old_index + at),
                b: (at < new_len).then_some(new_index + at),
            })),
        }
    }
    pairs
}
