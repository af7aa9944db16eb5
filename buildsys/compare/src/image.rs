//! Two images, compared.

use std::io::{self, Read};
use std::sync::Arc;

use serde_json::Value;
use tbuild_digest::DiffId;
use tbuild_tree::{Tree, TreeError, TreePath};

use crate::pair::{Pair, pair};
use crate::report::{LayerDifference, LayerName, Report};
use crate::{content, document, files};

/// Opens what an image holds. `layer` counts from the lowest, from 0.
pub trait Contents {
    /// The content of `path`, a regular file or a hard link to one, of a layer.
    fn file(&self, layer: usize, path: &TreePath) -> io::Result<Box<dyn Read + '_>>;
    /// A layer's whole tar, uncompressed; none if it never was one.
    fn tar(&self, layer: usize) -> io::Result<Option<Box<dyn Read + '_>>>;
    /// The member of a layer's tar that the byte at `offset` belongs to.
    fn member(&self, layer: usize, offset: u64) -> io::Result<Option<TreePath>>;
}

/// One layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Its entries.
    pub tree: Arc<Tree>,
    /// Its diff ID; none for a folder.
    pub diff_id: Option<DiffId>,
    /// The step that wrote it.
    pub step: Option<String>,
}

/// One of two images. A plain folder is one of a single layer, without documents.
pub struct Image<'a> {
    /// Its config.
    pub config: Option<Value>,
    /// Its manifest.
    pub manifest: Option<Value>,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
    /// What they hold.
    pub contents: &'a dyn Contents,
}

/// How much is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// For how many files of a layer contents are compared; the others are only named.
    pub contents: usize,
}

/// Why images cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A content could not be read.
    #[error("cannot read {what}")]
    Read {
        /// What was read.
        what: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Layers do not stack.
    #[error("the layers make no file system")]
    Tree(#[from] TreeError),
}

/// Fields of a config that only repeat what is said of layers.
const LAYERS: &str = "rootfs.diff_ids";

/// Compares two images. Memory grows with the number of entries, never with their contents.
pub fn compare(a: &Image<'_>, b: &Image<'_>, options: Options) -> Result<Report, CompareError> {
    let mut report = Report::default();
    if let (Some(a), Some(b)) = (&a.config, &b.config) {
        report.config = document::compare(a, b);
        report
            .config
            .retain(|difference| !difference.field.starts_with(LAYERS));
    }
    // A folder, or a file system in one tar, has no layers of its own: what a container would see counts.
    let bare = [a, b].map(|image| image.config.is_none());
    let tar = |image: &Image<'_>| image.layers.len() == 1 && image.layers[0].diff_id.is_some();
    if bare == [false, false] {
        for pair in pair(&a.layers, &b.layers) {
            report.layers.extend(layer(a, b, pair, options)?);
        }
        if !report.layers.is_empty() {
            report.files = files::merged(a, b, options)?;
        }
    } else if bare == [true, true] && tar(a) && tar(b) {
        let both = Pair {
            a: Some(0),
            b: Some(0),
        };
        if let Some(mut difference) = layer(a, b, both, options)? {
            report.files = std::mem::take(&mut difference.files);
            report
                .layers
                .extend(difference.bytes.is_some().then_some(difference));
        }
    } else {
        report.files = files::merged(a, b, options)?;
    }
    if report.config.is_empty()
        && report.layers.is_empty()
        && let (Some(a), Some(b)) = (&a.manifest, &b.manifest)
    {
        report.manifest = document::compare(a, b);
    }
    report.same = report.config.is_empty()
        && report.manifest.is_empty()
        && report.layers.is_empty()
        && report.files.is_empty();
    Ok(report)
}

fn name(image: &Image<'_>, at: usize) -> LayerName {
    let layer = &image.layers[at];
    LayerName {
        number: at + 1,
        diff_id: layer.diff_id.map(|digest| digest.to_string()),
        step: layer.step.clone(),
        entries: layer.tree.entries().len(),
    }
}

/// Compares the layers of a pair; none if they are the same.
fn layer(
    a: &Image<'_>,
    b: &Image<'_>,
    pair: Pair,
    options: Options,
) -> Result<Option<LayerDifference>, CompareError> {
    let mut difference = LayerDifference {
        a: pair.a.map(|at| name(a, at)),
        b: pair.b.map(|at| name(b, at)),
        files: Vec::new(),
        bytes: None,
        member: None,
    };
    let (Some(at_a), Some(at_b)) = (pair.a, pair.b) else {
        return Ok(Some(difference));
    };
    let (one, other) = (&a.layers[at_a], &b.layers[at_b]);
    if one.diff_id.is_some() && one.diff_id == other.diff_id {
        return Ok(None);
    }
    difference.files = files::layers((a, at_a), (b, at_b), options)?;
    if !difference.files.is_empty() {
        return Ok(Some(difference));
    }
    // The same entries, written in another way: another order, other headers.
    let read = |source| CompareError::Read {
        what: format!("layer {}", at_a + 1),
        source,
    };
    let (tar_a, tar_b) = (
        a.contents.tar(at_a).map_err(read)?,
        b.contents.tar(at_b).map_err(read)?,
    );
    let (Some(tar_a), Some(tar_b)) = (tar_a, tar_b) else {
        return Ok(None);
    };
    difference.bytes = content::first_difference(tar_a, tar_b).map_err(read)?;
    let Some(bytes) = &difference.bytes else {
        return Ok(None);
    };
    let member = a.contents.member(at_a, bytes.offset).map_err(read)?;
    difference.member = member.map(|path| files::shown(&path));
    Ok(Some(difference))
}
