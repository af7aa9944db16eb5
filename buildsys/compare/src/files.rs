//! Two trees, entry by entry.

use std::cmp::Ordering;
use std::io::{self, Read};

use tbuild_tree::{Entry, Node, Rootfs, Tree, TreePath};

use crate::content::{TEXT, first_difference, lines};
use crate::fields;
use crate::image::{CompareError, Image, Layer, Options};
use crate::report::{BytesDifference, FileChange, FileDifference};

/// A path as it is shown: from the root, bytes that are no UTF-8 as `\xNN`.
pub(crate) fn shown(path: &TreePath) -> String {
    let mut text = String::from("/");
    for chunk in path.as_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            use std::fmt::Write as _;
            let _infallible = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// One of two trees.
struct Side<'a> {
    tree: &'a Tree,
    /// Opens the content of a file.
    open: &'a dyn Fn(&Entry) -> io::Result<Box<dyn Read + 'a>>,
    /// The number of the layer that shows a path.
    layer: &'a dyn Fn(&TreePath) -> Option<usize>,
}

/// Compares a layer of each image.
pub(crate) fn layers(
    (a, at_a): (&Image<'_>, usize),
    (b, at_b): (&Image<'_>, usize),
    options: Options,
) -> Result<Vec<FileDifference>, CompareError> {
    let one = Side {
        tree: &a.layers[at_a].tree,
        open: &|entry| a.contents.file(at_a, &entry.path),
        layer: &|_| None,
    };
    let other = Side {
        tree: &b.layers[at_b].tree,
        open: &|entry| b.contents.file(at_b, &entry.path),
        layer: &|_| None,
    };
    trees(&one, &other, options)
}

/// Compares what containers would see.
pub(crate) fn merged(
    a: &Image<'_>,
    b: &Image<'_>,
    options: Options,
) -> Result<Vec<FileDifference>, CompareError> {
    let flat = |image: &Image<'_>| {
        let trees = image.layers.iter().map(|layer| layer.tree.clone());
        Rootfs::new(trees.collect()).flatten()
    };
    let (one, other) = (flat(a)?, flat(b)?);
    let one = Side {
        tree: &one,
        open: &|entry| open_merged(a, &entry.path),
        layer: &|path| top(a, path).map(|at| at + 1),
    };
    let other = Side {
        tree: &other,
        open: &|entry| open_merged(b, &entry.path),
        layer: &|path| top(b, path).map(|at| at + 1),
    };
    let mut found = trees(&one, &other, options)?;
    // Every file system has a root: whether a layer names it means nothing.
    found.retain(|file| file.change == FileChange::Changed || file.path != "/");
    Ok(found)
}

/// The topmost layer that has `path`.
fn top(image: &Image<'_>, path: &TreePath) -> Option<usize> {
    let has = |layer: &Layer| layer.tree.get(path).is_some();
    image.layers.iter().rposition(has)
}

fn open_merged<'a>(image: &Image<'a>, path: &TreePath) -> io::Result<Box<dyn Read + 'a>> {
    let at = top(image, path).ok_or(io::ErrorKind::NotFound)?;
    image.contents.file(at, path)
}

fn trees(
    a: &Side<'_>,
    b: &Side<'_>,
    options: Options,
) -> Result<Vec<FileDifference>, CompareError> {
    let mut found = Vec::new();
    let mut compared = 0;
    let mut left = a.tree.entries().iter().peekable();
    let mut right = b.tree.entries().iter().peekable();
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return Ok(found),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.path.cmp(&b.path),
        };
        let one = left.next_if(|_| order != Ordering::Greater);
        let other = right.next_if(|_| order != Ordering::Less);
        let Some(entry) = one.or(other) else {
            return Ok(found);
        };
        let mut difference = FileDifference {
            path: shown(&entry.path),
            change: FileChange::Changed,
            kind: fields::kind(&entry.node),
            layer_a: one.and_then(|entry| (a.layer)(&entry.path)),
            layer_b: other.and_then(|entry| (b.layer)(&entry.path)),
            fields: Vec::new(),
            content: None,
        };
        match (one, other) {
            (Some(one), Some(other)) => {
                difference.fields = fields::compare(one, other);
                let differs = contents_differ(one, other);
                if !differs && difference.fields.is_empty() {
                    continue;
                }
                if differs && compared < options.contents {
                    compared += 1;
                    difference.content = content((one, a), (other, b))?;
                }
            }
            (Some(_), None) => difference.change = FileChange::OnlyInA,
            _ => difference.change = FileChange::OnlyInB,
        }
        found.push(difference);
    }
}

fn contents_differ(a: &Entry, b: &Entry) -> bool {
    match (&a.node, &b.node) {
        (Node::File { digest: a, .. }, Node::File { digest: b, .. }) => a != b,
        _ => false,
    }
}

fn size(entry: &Entry) -> u64 {
    match entry.node {
        Node::File { size, .. } => size,
        _ => 0,
    }
}

fn content(
    (a, side_a): (&Entry, &Side<'_>),
    (b, side_b): (&Entry, &Side<'_>),
) -> Result<Option<BytesDifference>, CompareError> {
    let read = |source| CompareError::Read {
        what: shown(&a.path),
        source,
    };
    let (one, other) = (
        (side_a.open)(a).map_err(read)?,
        (side_b.open)(b).map_err(read)?,
    );
    if size(a).max(size(b)) > TEXT {
        return first_difference(one, other).map_err(read);
    }
    let whole = |reader: Box<dyn Read + '_>| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        reader.take(TEXT).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let (one, other) = (whole(one).map_err(read)?, whole(other).map_err(read)?);
    let mut difference = first_difference(one.as_slice(), other.as_slice()).map_err(read)?;
    if let Some(difference) = &mut difference {
        lines(difference, &one, &other);
    }
    Ok(difference)
}
