//! What an action wrote: an upper folder of overlayfs read into a canonical layer, and made canonical itself.
//!
//! Afterwards folder and layer say the same: times are SOURCE_DATE_EPOCH, only allowed xattrs are left, sockets
//! are gone, and so is what overlayfs copied up although nothing changed (a folder opened for writing, a file
//! that was only touched): the lower layers show it as it is.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{AtFlags, FileType, OFlags, Timespec, Timestamps, major, minor};
use tbuild_digest::{Hasher, Sha256};
use tbuild_oci::MAX_PATH;
use tbuild_tree::{Entry, Node, Rootfs, SOURCE_DATE_EPOCH, Tree, TreePath, Xattrs};

use crate::UpperContent;
use crate::content::Parents;

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
    /// A path that is too long.
    #[error("a path of {0} bytes is longer than the {MAX_PATH} that a layer may hold")]
    Deep(usize),
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
    let content = at(UpperContent::new(upper), "open", upper)?;
    let mut walk = Walk {
        upper,
        content: &content,
        entries: Vec::new(),
        inodes: HashMap::new(),
        folders: Vec::new(),
    };
    walk.run()?;
    let Walk {
        mut entries,
        inodes,
        folders,
        ..
    } = walk;
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
    let tree = drop_unchanged(upper, &content, entries, lower)?;
    // Times last: removing and reading touch folders.
    let mut parents = content.parents();
    for entry in tree.entries() {
        let set = set_time(&mut parents, &entry.path);
        at(set, "set the time of", &on_disk(upper, &entry.path))?;
    }
    for folder in folders {
        match set_time(&mut parents, &folder) {
            // It was dropped, or its folder was.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            set => at(set, "set the time of", &on_disk(upper, &folder))?,
        }
    }
    Ok(Captured { tree })
}

/// A path for messages: it may be too long to open.
fn on_disk(upper: &Path, path: &TreePath) -> PathBuf {
    upper.join(OsStr::from_bytes(path.as_bytes()))
}

fn set_time(parents: &mut Parents<'_>, path: &TreePath) -> io::Result<()> {
    let time = Timespec {
        tv_sec: SOURCE_DATE_EPOCH,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    let (folder, name) = parents.of(path)?;
    Ok(rustix::fs::utimensat(
        folder,
        name,
        &times,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

struct Walk<'a> {
    upper: &'a Path,
    content: &'a UpperContent,
    entries: Vec<Entry>,
    /// Regular files with several names: inode to positions, in tree order.
    inodes: HashMap<u64, Vec<usize>>,
    folders: Vec<TreePath>,
}

/// What a folder holds: an entry, and the inode of a regular file with several names.
type Member = (Entry, Option<u64>);

impl Walk<'_> {
    /// Reads all of it in tree order: depth first, on a list, for how deep it goes is not ours to choose.
    fn run(&mut self) -> Result<(), CaptureError> {
        let mut todo = self.members(&TreePath::root())?;
        while let Some((entry, inode)) = todo.pop() {
            let folder = entry.is_directory().then(|| entry.path.clone());
            if let Some(inode) = inode {
                self.inodes
                    .entry(inode)
                    .or_default()
                    .push(self.entries.len());
            }
            self.entries.push(entry);
            if let Some(folder) = folder {
                todo.extend(self.members(&folder)?);
            }
        }
        Ok(())
    }

    /// What lies in `folder`, the last first.
    fn members(&mut self, folder: &TreePath) -> Result<Vec<Member>, CaptureError> {
        let path = on_disk(self.upper, folder);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = at(self.content.open(folder.as_bytes(), flags), "open", &path)?;
        self.folders.push(folder.clone());
        let mut names = Vec::new();
        for member in at(rustix::fs::Dir::read_from(&fd), "list", &path)? {
            let member = at(member, "list", &path)?;
            let name = member.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(name.to_vec());
            }
        }
        names.sort_by(|one, other| other.cmp(one));
        let mut members = Vec::with_capacity(names.len());
        for name in names {
            members.extend(self.member(fd.as_fd(), folder.join(&name), &name)?);
        }
        Ok(members)
    }

    /// The member `name` of the folder `fd`; none for what no layer holds, which is removed.
    fn member(
        &self,
        fd: BorrowedFd<'_>,
        path: TreePath,
        name: &[u8],
    ) -> Result<Option<Member>, CaptureError> {
        if path.as_bytes().len() > MAX_PATH {
            return Err(CaptureError::Deep(path.as_bytes().len()));
        }
        let file = || on_disk(self.upper, &path);
        let stat = rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .or_else(|error| at(Err(error), "look at", &file()))?;
        let device = (major(stat.st_rdev), minor(stat.st_rdev));
        let node = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Node::Directory,
            // The digest comes later, for all files at once.
            FileType::RegularFile => Node::File {
                size: stat.st_size as u64,
                digest: Sha256([0; 32]),
            },
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(fd, name, Vec::new());
                Node::Symlink {
                    target: at(target, "read the link", &file())?.into_bytes(),
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
            _ => {
                let removed = rustix::fs::unlinkat(fd, name, AtFlags::empty());
                at(removed, "remove the socket", &file())?;
                return Ok(None);
            }
        };
        if node == Node::Whiteout {
            return Ok(Some((Entry::new(path, 0, node), None)));
        }
        // There is no call that takes a folder and a name: the folder's own link in /proc stands for it.
        let mut link = format!("/proc/self/fd/{}/", fd.as_raw_fd()).into_bytes();
        link.extend_from_slice(name);
        let (xattrs, opaque) = xattrs(&link, &file)?;
        let several = stat.st_nlink > 1 && matches!(node, Node::File { .. });
        let mut entry = Entry::new(path, stat.st_mode & 0o7777, node);
        (entry.uid, entry.gid) = (stat.st_uid, stat.st_gid);
        (entry.xattrs, entry.opaque) = (xattrs, opaque);
        Ok(Some((entry, several.then_some(stat.st_ino))))
    }
}

/// The allowed xattrs of what is at `link`, and whether overlayfs marks the folder as opaque. Others are taken
/// off the file.
fn xattrs(link: &[u8], file: &dyn Fn() -> PathBuf) -> Result<(Xattrs, bool), CaptureError> {
    let mut names = vec![0; 1024];
    let length = loop {
        match rustix::fs::llistxattr(link, names.as_mut_slice()) {
            Ok(length) => break length,
            Err(rustix::io::Errno::RANGE) => names.resize(names.len() * 4, 0),
            Err(rustix::io::Errno::NOTSUP) => return Ok((Xattrs::new(), false)),
            Err(error) => return at(Err(error), "list the xattrs of", &file()),
        }
    };
    let (mut kept, mut opaque) = (Xattrs::new(), false);
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        if name == crate::userns::opaque_mark() {
            opaque = true;
        } else if name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.") {
            // overlayfs's own, in a user namespace or out of it.
        } else if allowed(name) {
            kept.insert(name.to_vec(), value(link, name, file)?);
        } else {
            // Some cannot be taken off (security labels): they are left out of the layer all the same.
            let _stays = rustix::fs::lremovexattr(link, name);
        }
    }
    Ok((kept, opaque))
}

fn value(link: &[u8], name: &[u8], file: &dyn Fn() -> PathBuf) -> Result<Vec<u8>, CaptureError> {
    let mut bytes = vec![0; 64 << 10];
    let length = rustix::fs::lgetxattr(link, name, bytes.as_mut_slice())
        .or_else(|error| at(Err(error), "read an xattr of", &file()))?;
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
fn drop_unchanged(
    upper: &Path,
    content: &UpperContent,
    entries: Vec<Entry>,
    lower: &Rootfs,
) -> Result<Tree, CaptureError> {
    let mut parents = content.parents();
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
            let flags = if entry.is_directory() {
                AtFlags::REMOVEDIR
            } else {
                AtFlags::empty()
            };
            let removed = parents
                .of(&entry.path)
                .and_then(|(folder, name)| Ok(rustix::fs::unlinkat(folder, name, flags)?));
            let path = on_disk(upper, &entry.path);
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
