//! Reading the contents of trees, and writing layers from them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use tbuild_digest::DiffId;
use tbuild_oci::{FileContent, LayerIndex, write_layer};
use tbuild_realise::OpError;
use tbuild_store::{BlobReader, Store};
use tbuild_tree::{Entry, Node, Rootfs, Tree, TreePath};

use crate::{LayerRef, Place, World};

/// Where one file's bytes are.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// A file of this machine.
    File(PathBuf),
    /// A part of a layer's tar.
    Layer {
        diff_id: DiffId,
        offset: u64,
        size: u64,
    },
    /// These bytes.
    Bytes(Arc<[u8]>),
}

/// Says where a file's bytes are; none if it does not know the file.
type Find<'a> = dyn Fn(&Entry) -> Result<Option<Origin>, OpError> + 'a;

/// The contents of a tree by path.
pub(crate) struct Contents<'a> {
    world: &'a World,
    find: Box<Find<'a>>,
    open: HashMap<DiffId, Box<dyn BlobReader>>,
}

impl<'a> Contents<'a> {
    /// Contents that are known beforehand.
    pub(crate) fn new(world: &'a World, origins: HashMap<TreePath, Origin>) -> Self {
        Self::found(world, move |entry| Ok(origins.get(&entry.path).cloned()))
    }

    /// Contents that are looked for when they are read: a path a file is much memory where files are many.
    pub(crate) fn found(
        world: &'a World,
        find: impl Fn(&Entry) -> Result<Option<Origin>, OpError> + 'a,
    ) -> Self {
        Self {
            world,
            find: Box::new(find),
            open: HashMap::new(),
        }
    }
}

impl FileContent for Contents<'_> {
    fn open<'b>(&'b mut self, entry: &Entry) -> io::Result<Box<dyn Read + 'b>> {
        let missing = || {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("no content is known for {}", entry.path),
            )
        };
        let origin = (self.find)(entry).map_err(io::Error::other)?;
        match origin.ok_or_else(missing)? {
            Origin::File(path) => Ok(Box::new(open_file(&path)?)),
            Origin::Bytes(bytes) => Ok(Box::new(io::Cursor::new(bytes))),
            Origin::Layer {
                diff_id,
                offset,
                size,
            } => {
                if !self.open.contains_key(&diff_id) {
                    let blob = diff_id.as_uncompressed_blob();
                    let reader = self
                        .world
                        .store
                        .open_blob(&blob)
                        .map_err(io::Error::other)?;
                    self.open.insert(diff_id, reader.ok_or_else(missing)?);
                }
                let reader = self.open.get_mut(&diff_id).ok_or_else(missing)?;
                reader.seek(SeekFrom::Start(offset))?;
                Ok(Box::new(reader.take(size)))
            }
        }
    }
}

/// Opens a regular file of a folder whose path holds no link. A link that took the place of the file, or of a
/// folder on the way, since they were looked at is refused.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve) {
        // Filters of system calls that do not know it yet; what is read is checked by its digest as well.
        Err(Errno::NOSYS | Errno::PERM) => {
            Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
        }
        file => Ok(File::from(file?)),
    }
}

/// Opens what is at `origin`.
pub(crate) fn open(world: &World, origin: &Origin) -> io::Result<Box<dyn Read>> {
    match origin {
        Origin::File(path) => Ok(Box::new(open_file(path)?)),
        Origin::Bytes(bytes) => Ok(Box::new(io::Cursor::new(Arc::clone(bytes)))),
        Origin::Layer {
            diff_id,
            offset,
            size,
        } => {
            let blob = diff_id.as_uncompressed_blob();
            let reader = world.store.open_blob(&blob).map_err(io::Error::other)?;
            let mut reader = reader.ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("blob {blob} is not in the store"),
                )
            })?;
            reader.seek(SeekFrom::Start(*offset))?;
            Ok(Box::new(reader.take(*size)))
        }
    }
}

/// Where the content of the file `path` of a tree is.
pub(crate) fn origin(
    world: &World,
    place: &Place,
    path: &TreePath,
    size: u64,
) -> Result<Origin, OpError> {
    match place {
        Place::Folder(folder) => Ok(Origin::File(in_folder(folder, path))),
        Place::Layer(diff_id) => {
            let index = world.index(diff_id)?;
            let offset = index.offset(path).ok_or_else(|| OpError::Internal {
                message: format!("layer {diff_id} has no content for {path}"),
            })?;
            Ok(Origin::Layer {
                diff_id: *diff_id,
                offset,
                size,
            })
        }
    }
}

/// The contents of a tree whose files are all at `place`, under the paths that they have in the tree.
pub(crate) fn contents_at<'a>(world: &'a World, place: &'a Place) -> Contents<'a> {
    Contents::found(world, move |entry| match entry.node {
        Node::File { size, .. } => origin(world, place, &entry.path, size).map(Some),
        _ => Ok(None),
    })
}

/// The host's path of a file of a folder source.
pub(crate) fn in_folder(folder: &Path, path: &TreePath) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    folder.join(std::ffi::OsStr::from_bytes(path.as_bytes()))
}

/// Where the content of the file `path` of stacked layers is: in the topmost layer that shows it.
pub(crate) fn origin_in_layers(
    world: &World,
    layers: &[LayerRef],
    view: &Rootfs,
    path: &TreePath,
    size: u64,
) -> Result<Origin, OpError> {
    for (layer, tree) in layers.iter().zip(view.layers()).rev() {
        if tree.get(path).is_some() {
            return origin(world, &Place::Layer(layer.diff_id), path, size);
        }
    }
    Err(OpError::Internal {
        message: format!("no layer has {path}"),
    })
}

/// The bytes of one file of stacked layers, links followed; none if it is not there or no regular file.
pub(crate) fn read_in_layers(
    world: &World,
    layers: &[LayerRef],
    view: &Rootfs,
    path: &TreePath,
) -> Result<Option<Vec<u8>>, OpError> {
    let Ok(resolved) = view.resolve(path, true) else {
        return Ok(None);
    };
    let Some(entry) = resolved.entry else {
        return Ok(None);
    };
    for (layer, tree) in layers.iter().zip(view.layers()).rev() {
        if tree.get(&entry.path).is_none() {
            continue;
        }
        let index = world.index(&layer.diff_id)?;
        let (Some(offset), Some(size)) = (index.offset(&entry.path), size_of(&index, &entry.path))
        else {
            return Ok(None);
        };
        let origins = HashMap::from([(
            entry.path.clone(),
            Origin::Layer {
                diff_id: layer.diff_id,
                offset,
                size,
            },
        )]);
        let mut contents = Contents::new(world, origins);
        let mut bytes = Vec::new();
        let read = contents
            .open(&entry)
            .and_then(|mut reader| reader.read_to_end(&mut bytes).map(|_| ()));
        read.map_err(|error| OpError::internal(&error))?;
        return Ok(Some(bytes));
    }
    Ok(None)
}

/// Bytes of a regular file of a layer, hard links followed.
fn size_of(index: &LayerIndex, path: &TreePath) -> Option<u64> {
    match &index.tree().get(path)?.node {
        Node::File { size, .. } => Some(*size),
        Node::Hardlink { target } => match index.tree().get(target)?.node {
            Node::File { size, .. } => Some(size),
            _ => None,
        },
        _ => None,
    }
}

/// Writes `tree` as a layer into the store, index and all. What knows the contents is let go of before the index
/// is encoded: where files are many, each takes its megabytes.
pub(crate) fn store_layer(
    world: &World,
    tree: &Tree,
    mut contents: impl FileContent,
) -> Result<LayerRef, OpError> {
    let writer = world.store.blob_writer()?;
    let mut buffered = io::BufWriter::with_capacity(1 << 20, writer);
    let index =
        write_layer(tree, &mut contents, &mut buffered).map_err(|error| OpError::failed(&error))?;
    drop(contents);
    let writer = buffered
        .into_inner()
        .map_err(|error| OpError::internal(error.error()))?;
    let (digest, size) = writer.commit(None)?;
    let layer = LayerRef {
        diff_id: DiffId(digest.0),
        size,
    };
    world.keep_index(&layer.diff_id, index)?;
    Ok(layer)
}
