//! Filling a destination: what a COPY takes, put where it lands, and what of the layers below that depends on.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tbuild_digest::{BlobDigest, DiffId, Sha256, TreeDigest};
use tbuild_dockerfile::PathSource;
use tbuild_realise::OpError;
use tbuild_tree::{Entry, Node, Tree, TreePath};

use crate::archive;
use crate::content::{Contents, Origin, open, origin, origin_in_layers};
use crate::copy::{Copy, From, Part, Prepared};
use crate::kept::Question;
use crate::paste::{Content, Layer, Paste};
use crate::select::{Root, Selection, select};
use crate::unpack::Below;
use crate::{LayerRef, World, listing};

/// How far a destination is filled.
pub(crate) enum Filled {
    /// Nothing inside it had to be looked at.
    NotYet,
    /// Nothing is written.
    Nothing,
    /// With this.
    With(Box<Layer>),
}

/// What is taken, and the tree that it is taken of.
pub(crate) struct Chosen {
    pub(super) tree: Arc<Tree>,
    pub(super) selection: Selection,
}

/// What is kept of a choice.
#[derive(Serialize, Deserialize)]
struct Taken {
    digest: String,
    /// Folders that are led through, below the destination, as bytes.
    led: Vec<Vec<u8>>,
}

/// The store's space for digests of what is copied from layers.
const COPIED: &str = "copied";
/// Looks at what a copy takes by paths.
fn choose(world: &World, copy: &Copy) -> Result<Chosen, OpError> {
    let (tree, scanned) = match &copy.from {
        From::Tree(value) => (Arc::clone(&value.tree), Some(value)),
        From::State(state) => {
            let tree = world
                .rootfs(&state.layers)?
                .flatten()
                .map_err(|error| OpError::internal(&error))?;
            (Arc::new(tree), None)
        }
    };
    let digest_at = |path: &TreePath| {
        scanned.map_or_else(|| tree.digest_at(path), |value| value.digest_at(path))
    };
    let selection = select(&tree, &digest_at, &copy.paths(), &copy.exclude, &copy.what)?;
    if !listing::is_kept(world.store.as_ref(), &selection.digest)? {
        listing::keep(
            world.store.as_ref(),
            &selection.digest,
            &selection.tree(&tree)?,
        )?;
    }
    Ok(Chosen { tree, selection })
}

/// The digest of what is taken by paths, and the folders led through; `chosen` is filled where it had to be
/// looked at.
pub(crate) fn taken(
    world: &World,
    copy: &Copy,
    chosen: &mut Option<Chosen>,
) -> Result<(TreeDigest, Vec<TreePath>), OpError> {
    let mut look = || -> Result<(TreeDigest, Vec<TreePath>), OpError> {
        let selection = &chosen.insert(choose(world, copy)?).selection;
        Ok((selection.digest, selection.led.clone()))
    };
    let From::State(state) = &copy.from else {
        return look();
    };
    let mut question = Question::of_layers(COPIED, &state.layers)
        .about(&[u8::from(copy.unpack.paths)])
        .about(copy.path_texts().join("\0").as_bytes());
    for pattern in &copy.exclude {
        question = question.about(pattern.as_bytes());
    }
    let found = question.answer(world, || {
        let (digest, led) = look()?;
        Ok(Taken {
            digest: digest.hex(),
            led: led.iter().map(|path| path.as_bytes().to_vec()).collect(),
        })
    })?;
    let digest = Sha256::from_hex(&found.digest).map_err(|error| OpError::internal(&error))?;
    let led = found.led.iter().map(|path| TreePath::clean(path)).collect();
    Ok((TreeDigest(digest), led))
}

/// Copies in mind, to see what of the layers below decides how it ends: gives that, or an error where it cannot.
pub(crate) fn meet(
    world: &World,
    below: &[LayerRef],
    prepared: &mut Prepared,
) -> Result<Vec<String>, OpError> {
    let view = world.rootfs(below)?;
    let get = |path: &TreePath| view.get(path);
    let mut below = Below::new(&get);
    let layer = fill(world, prepared, &mut below)?;
    prepared.filled = layer.map_or(Filled::Nothing, |layer| Filled::With(Box::new(layer)));
    Ok(below.lines())
}

/// Fills the destination; none if nothing is written.
pub(crate) fn fill(
    world: &World,
    prepared: &mut Prepared,
    below: &mut Below<'_>,
) -> Result<Option<Layer>, OpError> {
    let Prepared {
        copy,
        chosen,
        facts,
        led,
        own,
        ..
    } = prepared;
    if chosen.is_none() && !copy.paths().is_empty() {
        *chosen = Some(choose(world, copy)?);
    }
    let mut paste = Paste::new(&copy.dest, facts, led, own);
    let mut roots = chosen.iter().flat_map(|chosen| &chosen.selection.roots);
    for (number, part) in copy.parts.iter().enumerate() {
        match part {
            Part::Path(_) => {
                let Some(chosen) = chosen.as_ref() else {
                    continue;
                };
                for root in roots.next().into_iter().flatten() {
                    let tar = match root {
                        Root::Single(entry, name) if copy.unpack.paths => {
                            tar_of(world, copy, entry)?.map(|tar| (tar, name))
                        }
                        _ => None,
                    };
                    match tar {
                        None => paste.copy(root, &chosen.tree, FROM)?,
                        Some((tar, name)) => {
                            let name = name.to_string();
                            let name = name.trim_start_matches('/');
                            paste.unpack(&archive::read(world, name, tar)?, below)?;
                        }
                    }
                }
            }
            Part::File {
                name, digest, size, ..
            } => {
                let open = || open_blob(world, *digest);
                let file = archive::File {
                    name,
                    digest: *digest,
                    open: &open,
                };
                let tar = copy.unpack.urls.then(|| archive::tar_of(world, &file));
                if let Some(tar) = tar.transpose()?.flatten() {
                    paste.unpack(&archive::read(world, name, tar)?, below)?;
                } else {
                    let content = Content::Blob(*digest, 0);
                    let name = TreePath::clean(name.as_bytes());
                    paste.file(&name, 0o600, (*size, digest.0), content)?;
                }
            }
            Part::Tree(value) => {
                let all = PathSource {
                    path: "/".to_owned(),
                    below: None,
                };
                let digest_at = |path: &TreePath| value.digest_at(path);
                let part = select(&value.tree, &digest_at, &[&all], &copy.exclude, "it")?;
                for root in part.roots.iter().flatten() {
                    paste.copy(root, &value.tree, number)?;
                }
            }
        }
    }
    for file in &copy.inline {
        let bytes: Arc<[u8]> = file.bytes.as_slice().into();
        let content = (bytes.len() as u64, Sha256::of(&bytes));
        let name = TreePath::clean(file.name.as_bytes());
        paste.file(&name, 0o644, content, Content::Inline(bytes))?;
    }
    if paste.is_empty() {
        return Ok(None);
    }
    paste.clashes(below)?;
    paste.layer().map(Some)
}
/// The number of the tree that paths are taken of.
const FROM: usize = usize::MAX;

fn open_blob(world: &World, digest: BlobDigest) -> Result<Box<dyn Read>, OpError> {
    let origin = Origin::Layer {
        diff_id: DiffId(digest.0),
        offset: 0,
        size: u64::MAX,
    };
    open(world, &origin).map_err(|error| OpError::internal(&error))
}

/// The uncompressed tar of a file of the context; none if it is no archive.
fn tar_of(world: &World, copy: &Copy, entry: &Entry) -> Result<Option<BlobDigest>, OpError> {
    let (From::Tree(value), Node::File { size, digest }) = (&copy.from, &entry.node) else {
        return Ok(None);
    };
    let name = String::from_utf8_lossy(entry.path.as_bytes()).into_owned();
    let open = || {
        let origin = origin(world, &value.place, &entry.path, *size)?;
        open(world, &origin).map_err(|error| OpError::failed_text(format!("{name}: {error}")))
    };
    let file = archive::File {
        name: &name,
        digest: BlobDigest(*digest),
        open: &open,
    };
    archive::tar_of(world, &file)
}

/// Reads what `written` says of each file that a copy writes.
pub(crate) fn contents<'a>(
    world: &'a World,
    copy: &'a Copy,
    written: HashMap<TreePath, Content>,
) -> Result<Contents<'a>, OpError> {
    let view = match &copy.from {
        From::State(state) => Some((state, world.rootfs(&state.layers)?)),
        From::Tree(_) => None,
    };
    Ok(Contents::found(world, move |entry| {
        let Some(content) = written.get(&entry.path) else {
            return Ok(None);
        };
        let size = match &entry.node {
            Node::File { size, .. } => *size,
            _ => 0,
        };
        let from = match content {
            Content::Inline(bytes) => Origin::Bytes(Arc::clone(bytes)),
            Content::Blob(digest, offset) => Origin::Layer {
                diff_id: DiffId(digest.0),
                offset: *offset,
                size,
            },
            Content::Tree(number, source) => match (copy.parts.get(*number), &copy.from, &view) {
                (Some(Part::Tree(value)), ..) | (_, From::Tree(value), _) => {
                    origin(world, &value.place, source, size)?
                }
                (_, _, Some((state, view))) => {
                    origin_in_layers(world, &state.layers, view, source, size)?
                }
                (_, From::State(_), None) => return Ok(None),
            },
        };
        Ok(Some(from))
    }))
}
