//! Mount points inside the root: found with links followed inside it, made where they are missing, taken away
//! afterwards.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::protocol::{Failure, Tried as _};

/// How many links a path may lead through (Linux: `MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// What was made for mounts, in order.
#[derive(Debug, Default)]
pub(crate) struct Made(Vec<(PathBuf, bool)>);

impl Made {
    /// The same seen from inside `root`.
    pub(crate) fn inside(&self, root: &Path) -> Self {
        let inside = |path: &PathBuf| Path::new("/").join(path.strip_prefix(root).unwrap_or(path));
        Self(
            self.0
                .iter()
                .map(|(path, folder)| (inside(path), *folder))
                .collect(),
        )
    }

    /// Takes away what was made, the last first. A folder in which something was left meanwhile stays.
    pub(crate) fn remove(&self) {
        for (path, folder) in self.0.iter().rev() {
            let flags = if *folder {
                AtFlags::REMOVEDIR
            } else {
                AtFlags::empty()
            };
            // A program may have removed it itself.
            let _gone = rustix::fs::unlinkat(rustix::fs::CWD, path.as_path(), flags);
        }
    }
}

/// The path of `target` below `root` with every link followed inside it; its missing part is made, ending in
/// a folder or an empty file.
pub(crate) fn find_or_make(
    root: &Path,
    target: &str,
    folder: bool,
    made: &mut Made,
) -> Result<PathBuf, Failure> {
    let mut todo: Vec<Vec<u8>> = target
        .split('/')
        .rev()
        .map(|part| part.as_bytes().to_vec())
        .collect();
    let mut at: Vec<Vec<u8>> = Vec::new();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        match part.as_slice() {
            b"" | b"." => continue,
            b".." => {
                at.pop();
                continue;
            }
            _ => {}
        }
        at.push(part);
        let path = below(root, &at);
        let last = todo.iter().all(|part| part.is_empty() || part == b".");
        match rustix::fs::statat(rustix::fs::CWD, path.as_path(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    let what = format!("find the mount point {target}");
                    return Err(Failure::new(what, libc::ELOOP));
                }
                let link = std::fs::read_link(&path)
                    .tried(|| format!("read the link {}", path.display()))?;
                at.pop();
                let bytes = link.as_os_str().as_bytes();
                if bytes.starts_with(b"/") {
                    at.clear();
                }
                todo.extend(bytes.rsplit(|byte| *byte == b'/').map(<[u8]>::to_vec));
            }
            Ok(_) => {}
            Err(rustix::io::Errno::NOENT) => {
                let is_folder = folder || !last;
                make(&path, is_folder).tried(|| format!("make the mount point {target}"))?;
                made.0.push((path, is_folder));
            }
            Err(error) => return Err(error).tried(|| format!("find the mount point {target}")),
        }
    }
    Ok(below(root, &at))
}

fn below(root: &Path, parts: &[Vec<u8>]) -> PathBuf {
    let mut path = root.to_owned();
    path.extend(parts.iter().map(|part| OsStr::from_bytes(part)));
    path
}

fn make(path: &Path, folder: bool) -> rustix::io::Result<()> {
    if folder {
        return rustix::fs::mkdir(path, Mode::from_raw_mode(0o755));
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o644)).map(drop)
}
