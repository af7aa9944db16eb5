//! Unpacking a layer's tar into overlayfs form.
//!
//! Whiteouts become character devices 0:0, opaque folders carry `trusted.overlay.opaque` (Linux kernel,
//! Documentation/filesystems/overlayfs.rst). Owners, modes, xattrs and times are those of the archive, times
//! in whole seconds. Needs root, if only that of a user namespace: there overlayfs's mark is
//! `user.overlay.opaque`, owners have to be mapped, and devices cannot be made. Those below /dev are left out then,
//! where every step has a file system of its own; others are refused.
//!
//! An archive may be hostile. Names are cleaned by the reader, so that no `..` is left; every folder is opened
//! by `openat2` with `RESOLVE_IN_ROOT`, so that a link leads nowhere that a process with this root could not
//! go either; and the last component is always made anew, never opened through a link.

mod delta;
mod root;

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use tbuild_digest::{DiffId, HashingReader};
use tbuild_oci::{LayerError, read_layer};
use tbuild_store::{Store as _, StoreError};
use tbuild_tree::{Entry, Node, TreePath};

use crate::{LocalStore, io as store_io};
use root::Root;

/// What overlayfs keeps its own marks in; nothing of an image may set them.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The file system said no.
    #[error("cannot {what} {path} of the layer")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what, inside the layer.
        path: TreePath,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file belongs to somebody whom this process cannot name.
    #[error(
        "{path} of the layer belongs to {uid}:{gid}, and this user may not give files to them: /etc/subuid and \
         /etc/subgid grant ids, newuidmap and newgidmap apply them; tbuild doctor looks at it"
    )]
    Owner {
        /// The file, inside the layer.
        path: TreePath,
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// A device, which root alone may make.
    #[error("{path} of the layer is a device, and root alone may make one")]
    Device {
        /// The device, inside the layer.
        path: TreePath,
    },
    /// The archive cannot be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The archive asks for what a layer cannot hold.
    #[error("{path} of the layer {why}")]
    Refused {
        /// Where.
        path: TreePath,
        /// What it asks for.
        why: &'static str,
    },
}

/// Unpacks the uncompressed layer `tar` into `upper`, an empty folder.
pub fn unpack_layer(tar: impl Read, upper: &Path) -> Result<(), UnpackError> {
    let mut unpacker = Unpacker {
        root: Root::open(upper)?,
        buffer: vec![0; 256 * 1024],
    };
    read_layer(tar, |member| {
        unpacker.put(&member.entry, member.marker, member.content)
    })?;
    unpacker.root.finish()
}

impl LocalStore {
    /// The folder of a layer's snapshot; unpacked from the layer's blob where it is missing. Several callers,
    /// in whatever processes, unpack it once. The blob's digest is checked on the way.
    pub fn ensure_snapshot(&self, diff_id: &DiffId) -> Result<std::path::PathBuf, StoreError> {
        if let Some(path) = self.snapshot(diff_id)? {
            return Ok(path);
        }
        // Few locks for all layers: lock files are never removed.
        let _lock = self.lock(&format!("snapshot-{}", &diff_id.hex()[..2]))?;
        if let Some(path) = self.snapshot(diff_id)? {
            return Ok(path);
        }
        let blob = diff_id.as_uncompressed_blob();
        let path = self.blob_path(&blob);
        let failed = |source| StoreError::io(format!("unpack layer {diff_id}"), source);
        let file = store_io::open(&path)?.ok_or_else(|| {
            failed(io::Error::new(
                io::ErrorKind::NotFound,
                "its blob is not in the store",
            ))
        })?;
        let staging = self.stage()?;
        let mut buffered = io::BufReader::with_capacity(1 << 20, HashingReader::new(file));
        let unpacked = unpack_layer(&mut buffered, staging.upper());
        // Readers stop at the end mark; the digest covers what follows it too.
        io::copy(&mut buffered, &mut io::sink())
            .map_err(|source| store_io::fail("read", &path, source))?;
        let (digest, _) = buffered.into_inner().finish();
        if digest != diff_id.0 {
            self.quarantine(&blob)?;
            return Err(StoreError::Corrupt(blob));
        }
        unpacked.map_err(|error| unpack_failed(diff_id, error))?;
        self.commit_snapshot(staging, diff_id)
    }
}

struct Unpacker {
    root: Root,
    buffer: Vec<u8>,
}

impl Unpacker {
    /// Makes what `entry` says, with `content` where it is a regular file; `marker`: only its opaque marker.
    fn put(
        &mut self,
        entry: &Entry,
        marker: bool,
        content: &mut dyn Read,
    ) -> Result<(), UnpackError> {
        check(entry)?;
        let path = &entry.path;
        match &entry.node {
            Node::Directory if marker => {
                let folder = self.root.folder(path)?;
                self.root.set_opaque(folder.as_fd(), path)
            }
            Node::Directory => self.folder(entry),
            Node::File { size, .. } => self.file(entry, *size, content),
            Node::Symlink { target } => {
                let mut place = self.root.place(path)?;
                place.make("make link", |parent, name| {
                    rustix::fs::symlinkat(target.as_slice(), parent, name)
                })?;
                place.own(entry)?;
                place.xattrs(entry)?;
                place.times(entry)
            }
            Node::Hardlink { target } => {
                let Some(name) = target.name() else {
                    return Err(refused(path, "is a hard link to the root"));
                };
                if target == path {
                    return Err(refused(path, "is a hard link to itself"));
                }
                let from = self.root.folder(&target.parent().unwrap_or_default())?;
                let mut place = self.root.place(path)?;
                place.make("make hard link", |parent, to| {
                    rustix::fs::linkat(&from, name, parent, to, AtFlags::empty())
                })
            }
            Node::CharDevice { major, minor } => {
                self.special(entry, FileType::CharacterDevice, *major, *minor)
            }
            Node::BlockDevice { major, minor } => {
                self.special(entry, FileType::BlockDevice, *major, *minor)
            }
            Node::Fifo => self.special(entry, FileType::Fifo, 0, 0),
            Node::Whiteout => self.whiteout(path),
        }
    }

    fn folder(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        let path = &entry.path;
        let mut opaque = entry.opaque;
        if !path.is_root() {
            let mut place = self.root.place(path)?;
            // What is removed by a whiteout and made again shows nothing of the layers below.
            opaque |= place.is_whiteout()?;
            place.make_folder()?;
        }
        let folder = self.root.folder(path)?;
        rustix::fs::fchown(&folder, Some(uid(entry)), Some(gid(entry)))
            .map_err(|errno| owner_failed(entry, errno))?;
        if opaque {
            self.root.set_opaque(folder.as_fd(), path)?;
        }
        set_xattrs(folder.as_fd(), entry)?;
        // Last of all: what is put into the folder would change its time, and may need its mode.
        self.root.later(path, entry.mode, entry.mtime);
        Ok(())
    }

    fn file(
        &mut self,
        entry: &Entry,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), UnpackError> {
        let path = &entry.path;
        let mut place = self.root.place(path)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file: Option<File> = None;
        place.make("create", |parent, name| {
            let opened = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?;
            file = Some(opened.into());
            Ok(())
        })?;
        let Some(mut file) = file else {
            return Err(failed("create", path, Errno::IO));
        };
        let mut left = size;
        loop {
            let count = match content.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(LayerError::Read(error).into()),
            };
            left = left.saturating_sub(count as u64);
            file.write_all(&self.buffer[..count])
                .map_err(|source| UnpackError::Io {
                    what: "write",
                    path: path.clone(),
                    source,
                })?;
        }
        if left != 0 {
            return Err(LayerError::Malformed(format!("{path}: it ends early")).into());
        }
        // In this order: a change of the owner takes set-id bits and capabilities away.
        let fail = |what, errno: Errno| failed(what, path, errno);
        rustix::fs::fchown(&file, Some(uid(entry)), Some(gid(entry)))
            .map_err(|errno| owner_failed(entry, errno))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode))
            .map_err(|errno| fail("set the mode of", errno))?;
        set_xattrs(file.as_fd(), entry)?;
        rustix::fs::futimens(&file, &times(entry.mtime))
            .map_err(|errno| fail("set the time of", errno))
    }

    fn special(
        &mut self,
        entry: &Entry,
        kind: FileType,
        major: u32,
        minor: u32,
    ) -> Result<(), UnpackError> {
        if kind != FileType::Fifo && crate::owners::is_mapped() {
            return if entry.path.below(&TreePath::from("dev")).is_some() {
                Ok(())
            } else {
                Err(UnpackError::Device {
                    path: entry.path.clone(),
                })
            };
        }
        let device = rustix::fs::makedev(major, minor);
        let mode = Mode::from_raw_mode(entry.mode);
        let mut place = self.root.place(&entry.path)?;
        place.make("make", |parent, name| {
            rustix::fs::mknodat(parent, name, kind, mode, device)
        })?;
        place.own(entry)?;
        place.mode(entry)?;
        place.xattrs(entry)?;
        place.times(entry)
    }

    /// What is removed is what lower layers hold. What this layer has already put there stays, a folder
    /// without what is below it.
    fn whiteout(&mut self, path: &TreePath) -> Result<(), UnpackError> {
        let place = self.root.place(path)?;
        match place.make_whiteout() {
            Err(Errno::EXIST) if place.is_folder()? => {
                let folder = self.root.folder(path)?;
                self.root.set_opaque(folder.as_fd(), path)
            }
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(failed("make whiteout", path, errno)),
        }
    }
}

/// Why an entry would mean something else to overlayfs, if it would.
pub fn means_else(entry: &Entry) -> Option<&'static str> {
    if entry.node == (Node::CharDevice { major: 0, minor: 0 }) {
        return Some("is a device 0:0, which overlayfs takes for a removed file");
    }
    let overlay = |name: &Vec<u8>| OVERLAY.iter().any(|prefix| name.starts_with(prefix));
    if entry.xattrs.keys().any(overlay) {
        return Some("carries extended attributes that are overlayfs's own");
    }
    None
}

fn check(entry: &Entry) -> Result<(), UnpackError> {
    means_else(entry).map_or(Ok(()), |why| Err(refused(&entry.path, why)))
}

fn set_xattrs(file: BorrowedFd<'_>, entry: &Entry) -> Result<(), UnpackError> {
    for (name, value) in &entry.xattrs {
        rustix::fs::fsetxattr(
            file,
            name.as_slice(),
            value,
            rustix::fs::XattrFlags::empty(),
        )
        .map_err(|errno| failed("set an extended attribute of", &entry.path, errno))?;
    }
    Ok(())
}

fn uid(entry: &Entry) -> Uid {
    Uid::from_raw(entry.uid)
}

fn gid(entry: &Entry) -> Gid {
    Gid::from_raw(entry.gid)
}

fn times(mtime: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Whether it is the layer's own fault: links to what is not there, folders below files, names that cannot be.
fn is_to_blame(error: &UnpackError) -> bool {
    match error {
        UnpackError::Refused { .. } => true,
        UnpackError::Layer(error) => error.is_malformed(),
        UnpackError::Io { source, .. } => matches!(
            Errno::from_io_error(source),
            Some(
                Errno::NOENT
                    | Errno::NOTDIR
                    | Errno::ISDIR
                    | Errno::EXIST
                    | Errno::LOOP
                    | Errno::INVAL
                    | Errno::NAMETOOLONG
                    | Errno::PERM
                    | Errno::MLINK
                    | Errno::RANGE
                    | Errno::TOOBIG
                    | Errno::NOTSUP
            )
        ),
        UnpackError::Owner { .. } | UnpackError::Device { .. } => false,
    }
}

/// Why a layer of the store could not be unpacked.
fn unpack_failed(diff_id: &DiffId, error: UnpackError) -> StoreError {
    let what = format!("unpack layer {diff_id}");
    match error {
        UnpackError::Owner { .. } | UnpackError::Device { .. } => StoreError::Lacking {
            what,
            source: io::Error::other(error),
        },
        error if is_to_blame(&error) => StoreError::Content {
            what,
            source: io::Error::other(error),
        },
        error => StoreError::io(what, io::Error::other(error)),
    }
}

fn owner_failed(entry: &Entry, errno: Errno) -> UnpackError {
    // chown(2): EINVAL is an id that the user namespace does not map.
    if errno == Errno::INVAL {
        return UnpackError::Owner {
            path: entry.path.clone(),
            uid: entry.uid,
            gid: entry.gid,
        };
    }
    failed("set the owner of", &entry.path, errno)
}

fn failed(what: &'static str, path: &TreePath, errno: Errno) -> UnpackError {
    UnpackError::Io {
        what,
        path: path.clone(),
        source: errno.into(),
    }
}

fn refused(path: &TreePath, why: &'static str) -> UnpackError {
    UnpackError::Refused {
        path: path.clone(),
        why,
    }
}
