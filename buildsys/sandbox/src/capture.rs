//! What an action wrote: an upper folder of overlayfs read into a canonical layer, and made canonical itself.
//!
//! Afterwards folder and layer say the same: times are SOURCE_DATE_EPOCH, only allowed xattrs are left, sockets
//! are gone, and so is what overlayfs copied up although nothing changed (a folder opened for writing, a file
//! that was only touched): the lower layers show it as it is.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Timespec, Timestamps, major, minor};
use tbuild_digest::{Hasher, Sha256};
use tbuild_tree::{Entry, Node, Rootfs, SOURCE_DATE_EPOCH, Tree, TreePath, Xattrs};

use crate::UpperContent;

/// What was captured.
#[derive(Debug)]
pub struct Captured {
    /// The layer's tree.
    pub tree: Tree,
}

/// Why an upper folder could not be captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file system said no.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What is there makes no layer.
    #[error("what was written makes no layer")]
    Tree(#[from] tbuild_tree::TreeError),
}

fn at<T, E: Into<io::Error>>(
    result: Result<T, E>,
    what: &'static str,
    path: &Path,
) -> Result<T, CaptureError> {
    result.map_err(|error| CaptureError::Io {
        what,
        path: path.to_owned(),
        source: error.into(),
    })
}

/// The xattrs that layers carry: file capabilities and what users set. Everything else is of this machine
/// (labels of its security modules, overlayfs's own).
fn allowed(name: &[u8]) -> bool {
    name == b"security.capability" || name.starts_with(b"user.")
}

/// Captures `upper`, written over layers that show `lower`.
pub fn capture(upper: &Path, lower: &Rootfs) -> Result<Captured, CaptureError> {
    let mut walk = Walk {
        upper,
        entries: Vec::new(),
        inodes: HashMap::new(),
        folders: Vec::new(),
    };
    walk.folder(&TreePath::root())?;
    let Walk {
        mut entries,
        inodes,
        folders,
        ..
    } = walk;
    let content = at(UpperContent::new(upper), "open", upper)?;
    hash_files(&mut entries, &content, upper)?;
    for names in inodes.into_values().filter(|names| names.len() > 1) {
        let (first, others) = (names[0], &names[1..]);
        let target = entries[first].path.clone();
        for other in others {
            entries[*other].node = Node::Hardlink {
                target: target.clone(),
            };
        }
    }
    let tree = drop_unchanged(upper, entries, lower)?;
    // Times last: removing and reading touch folders.
    for entry in tree.entries() {
        set_time(&on_disk(upper, &entry.path))?;
    }
    for folder in folders {
        let path = on_disk(upper, &folder);
        if path.symlink_metadata().is_ok() {
            set_time(&path)?;
        }
    }
    Ok(Captured { tree })
}

fn on_disk(upper: &Path, path: &TreePath) -> PathBuf {
    upper.join(OsStr::from_bytes(path.as_bytes()))
}

fn set_time(path: &Path) -> Result<(), CaptureError> {
    let time = Timespec {
        tv_sec: SOURCE_DATE_EPOCH,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    at(
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW),
        "set the time of",
        path,
    )
}

struct Walk<'a> {
    upper: &'a Path,
    entries: Vec<Entry>,
    /// Regular files with several names: inode to positions, in tree order.
    inodes: HashMap<u64, Vec<usize>>,
    folders: Vec<TreePath>,
}

impl Walk<'_> {
    /// Reads what lies in `folder`, sorted, depth first.
    fn folder(&mut self, folder: &TreePath) -> Result<(), CaptureError> {
        let path = on_disk(self.upper, folder);
        self.folders.push(folder.clone());
        let mut names = Vec::new();
        for member in at(std::fs::read_dir(&path), "list", &path)? {
            names.push(at(member, "list", &path)?.file_name());
        }
        names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        for name in names {
            self.member(&folder.join(name.as_bytes()))?;
        }
        Ok(())
    }

    fn member(&mut self, path: &TreePath) -> Result<(), CaptureError> {
        let file = on_disk(self.upper, path);
        let stat = at(file.symlink_metadata(), "look at", &file)?;
        let device = (major(stat.rdev()), minor(stat.rdev()));
        let node = match FileType::from_raw_mode(stat.mode()) {
            FileType::Directory => Node::Directory,
            // The digest comes later, for all files at once.
            FileType::RegularFile => Node::File {
                size: stat.size(),
                digest: Sha256([0; 32]),
            },
            FileType::Symlink => {
                let target = at(std::fs::read_link(&file), "read the link", &file)?;
                Node::Symlink {
                    target: target.as_os_str().as_bytes().to_vec(),
                }
            }
            FileType::CharacterDevice if device == (0, 0) => Node::Whiteout,
            FileType::CharacterDevice => Node::CharDevice {
                major: device.0,
                minor: device.1,
            },
            FileType::BlockDevice => Node::BlockDevice {
                major: device.0,
                minor: device.1,
            },
            FileType::Fifo => Node::Fifo,
            // A socket means nothing without the process that made it.
            _ => return at(std::fs::remove_file(&file), "remove the socket", &file),
        };
        let whiteout = node == Node::Whiteout;
        let mode = if whiteout { 0 } else { stat.mode() & 0o7777 };
        let mut entry = Entry::new(path.clone(), mode, node);
        if !whiteout {
            (entry.uid, entry.gid) = (stat.uid(), stat.gid());
            (entry.xattrs, entry.opaque) = xattrs(&file)?;
        }
        let folder = entry.is_directory();
        if matches!(entry.node, Node::File { .. }) && stat.nlink() > 1 {
            self.inodes
                .entry(stat.ino())
                .or_default()
                .push(self.entries.len());
        }
        self.entries.push(entry);
        if folder { self.folder(path) } else { Ok(()) }
    }
}

/// The allowed xattrs, and whether overlayfs marks the folder as opaque. Others are taken off the file.
fn xattrs(file: &Path) -> Result<(Xattrs, bool), CaptureError> {
    let mut names = vec![0; 4096];
    let length = loop {
        match rustix::fs::llistxattr(file, names.as_mut_slice()) {
            Ok(length) => break length,
            Err(rustix::io::Errno::RANGE) => names.resize(names.len() * 4, 0),
            Err(rustix::io::Errno::NOTSUP) => return Ok((Xattrs::new(), false)),
            Err(error) => return at(Err(error), "list the xattrs of", file),
        }
    };
    let (mut kept, mut opaque) = (Xattrs::new(), false);
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        if name == crate::userns::opaque_mark() {
            opaque = true;
        } else if name.starts_with(b"user.overlay.") {
            // overlayfs's own, in a user namespace.
        } else if allowed(name) {
            kept.insert(name.to_vec(), value(file, name)?);
        } else if !name.starts_with(b"trusted.overlay.") {
            // Some cannot be taken off (security labels): they are left out of the layer all the same.
            let _stays = rustix::fs::lremovexattr(file, name);
        }
    }
    Ok((kept, opaque))
}

fn value(file: &Path, name: &[u8]) -> Result<Vec<u8>, CaptureError> {
    let mut bytes = vec![0; 64 << 10];
    let length = at(
        rustix::fs::lgetxattr(file, name, bytes.as_mut_slice()),
        "read an xattr of",
        file,
    )?;
    bytes.truncate(length);
    Ok(bytes)
}

/// Fills in the digests of regular files, on all cores.
fn hash_files(
    entries: &mut [Entry],
    content: &UpperContent,
    upper: &Path,
) -> Result<(), CaptureError> {
    let files: Vec<usize> = (0..entries.len())
        .filter(|at| matches!(entries[*at].node, Node::File { .. }))
        .collect();
    let next = AtomicUsize::new(0);
    let digests: Mutex<BTreeMap<usize, (u64, Sha256)>> = Mutex::default();
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(files.len() / 16 + 1);
    let shared: &[Entry] = entries;
    let work = || -> Result<(), CaptureError> {
        let mut buffer = vec![0; 1 << 17];
        let mut done = Vec::new();
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let path = &shared[*file].path;
            let hashed = hash(content, path, &mut buffer);
            done.push((*file, at(hashed, "read", &on_disk(upper, path))?));
        }
        if let Ok(mut digests) = digests.lock() {
            digests.extend(done);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            match thread.join() {
                Ok(result) => result?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<(), CaptureError>(())
    })?;
    for (file, (size, digest)) in digests.into_inner().unwrap_or_default() {
        entries[file].node = Node::File { size, digest };
    }
    Ok(())
}

fn hash(content: &UpperContent, path: &TreePath, buffer: &mut [u8]) -> io::Result<(u64, Sha256)> {
    use std::io::Read as _;
    let mut file = content.file(path)?;
    let mut hasher = Hasher::new();
    let mut size = 0;
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok((size, hasher.finish())),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Leaves out, and removes from the folder, what the lower layers show just so.
fn drop_unchanged(upper: &Path, entries: Vec<Entry>, lower: &Rootfs) -> Result<Tree, CaptureError> {
    let linked: std::collections::HashSet<TreePath> = entries
        .iter()
        .filter_map(|entry| {
            if let Node::Hardlink { target } = &entry.node {
                Some(target.clone())
            } else {
                None
            }
        })
        .collect();
    let mut kept: Vec<Entry> = Vec::new();
    // From the end, so that a folder is met after what is in it.
    for entry in entries.into_iter().rev() {
        let needed = kept.last().is_some_and(|after| {
            entry.is_directory()
                && after
                    .path
                    .below(&entry.path)
                    .is_some_and(|rest| !rest.is_root())
        });
        if !needed && !linked.contains(&entry.path) && is_unchanged(&entry, lower) {
            let path = on_disk(upper, &entry.path);
            let removed = if entry.is_directory() {
                std::fs::remove_dir(&path)
            } else {
                std::fs::remove_file(&path)
            };
            at(removed, "remove what did not change", &path)?;
            continue;
        }
        kept.push(entry);
    }
    kept.reverse();
    Ok(Tree::new(kept)?)
}

fn is_unchanged(entry: &Entry, lower: &Rootfs) -> bool {
    if entry.opaque
        || !matches!(
            entry.node,
            Node::Directory | Node::File { .. } | Node::Symlink { .. }
        )
    {
        return false;
    }
    lower.get(&entry.path).is_some_and(|old| {
        (old.mode, old.uid, old.gid, &old.node, &old.xattrs)
            == (entry.mode, entry.uid, entry.gid, &entry.node, &entry.xattrs)
    })
}
