//! What a build reads, copied to other paths: other inodes, made in another order, of another owner and time.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Gid, Uid};
use tbuild_realise::OpError;
use tbuild_store_local::Modes;
use tbuild_tree::{Node, Tree};

use crate::content::in_folder;
use crate::filter::Filter;
use crate::source::Folder;
use crate::{TreeValue, World};

/// A file or folder that a node reads.
#[derive(Debug, Clone)]
pub struct Reading {
    path: PathBuf,
    /// None for a file.
    folder: Option<(Vec<PathBuf>, Filter)>,
}

impl Reading {
    /// Where it is, and whether it is a folder.
    pub fn place(&self) -> (&Path, bool) {
        (&self.path, self.folder.is_some())
    }

    /// A file.
    pub fn file(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            folder: None,
        }
    }

    pub(crate) fn folder(path: &Path, ignore: &[PathBuf], filter: &Filter) -> Self {
        Self {
            path: path.to_owned(),
            folder: Some((ignore.to_vec(), filter.clone())),
        }
    }

    /// A build context, without what the ignore file of `dockerfile` leaves out.
    pub fn context(path: &Path, dockerfile: &Path) -> Self {
        let ignore = crate::recipe::ignore_files(dockerfile, path);
        Self::folder(path, &ignore, &Filter::default())
    }
}

/// A folder in which copies stand under the paths that the originals have.
#[derive(Debug, Clone)]
pub struct Relocation {
    /// The folder.
    pub root: PathBuf,
    /// Whose the copies are; the user's own if none.
    pub owner: Option<u32>,
}

fn failed(what: &str, path: &Path) -> impl Fn(io::Error) -> OpError {
    let text = format!("cannot {what} {}", path.display());
    move |error| OpError::failed_text(format!("{text}: {error}"))
}

impl Relocation {
    /// Where the copy of `path` stands, or would. Links in `path` are followed.
    pub fn path(&self, path: &Path) -> PathBuf {
        let path = match (path.canonicalize(), path.parent(), path.file_name()) {
            (Ok(path), _, _) => path,
            // A file that is not there (a lockfile, an ignore file) would be in a folder that is.
            (Err(_), Some(parent), Some(name)) => {
                let parent = parent.canonicalize().unwrap_or_else(|_| parent.to_owned());
                parent.join(name)
            }
            (Err(_), _, _) => path.to_owned(),
        };
        self.root.join(path.strip_prefix("/").unwrap_or(&path))
    }

    /// Copies what is read. What the build leaves out is left out here, too.
    pub fn copy(&self, world: &World, reading: &Reading) -> Result<(), OpError> {
        let Some((ignore, filter)) = &reading.folder else {
            return self.file(&reading.path);
        };
        for file in ignore.iter().filter(|file| file.is_file()) {
            self.file(file)?;
        }
        let what = reading.path.display().to_string();
        let output = Folder::look(world, &reading.path, ignore, filter, Modes::Kept, &what)?;
        let value: Arc<TreeValue> = output.get().ok_or_else(|| OpError::Internal {
            message: format!("{what} is no tree"),
        })?;
        let to = self.path(&reading.path);
        self.folder(&to)?;
        self.tree(&value.tree, &reading.path, &to)
    }

    /// Makes a folder, with those above it.
    pub fn folder(&self, path: &Path) -> Result<(), OpError> {
        std::fs::create_dir_all(path).map_err(failed("make", path))
    }

    /// Copies one file.
    pub fn file(&self, path: &Path) -> Result<(), OpError> {
        let to = self.path(path);
        self.folder(to.parent().unwrap_or(&self.root))?;
        std::fs::copy(path, &to).map_err(failed("copy", path))?;
        self.give(&to)
    }

    fn give(&self, path: &Path) -> Result<(), OpError> {
        let Some(owner) = self.owner else {
            return Ok(());
        };
        let (uid, gid) = (Uid::from_raw(owner), Gid::from_raw(owner));
        rustix::fs::chownat(
            rustix::fs::CWD,
            path,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(|error| failed("give away", path)(error.into()))
    }

    /// Copies the entries of a tree, the last one first.
    fn tree(&self, tree: &Tree, from: &Path, to: &Path) -> Result<(), OpError> {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path, mode: u32| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
                .map_err(failed("set the mode of", path))
        };
        for entry in tree.entries().iter().rev() {
            let (source, copy) = (in_folder(from, &entry.path), in_folder(to, &entry.path));
            let parent = entry.path.parent().unwrap_or_default();
            if !in_folder(to, &parent).is_dir() {
                self.folder(&in_folder(to, &parent))?;
            }
            match &entry.node {
                Node::Directory => self.folder(&copy)?,
                Node::File { .. } => {
                    std::fs::copy(&source, &copy).map_err(failed("copy", &source))?;
                }
                Node::Hardlink { target } => {
                    let first = in_folder(from, target);
                    std::fs::copy(&first, &copy).map_err(failed("copy", &first))?;
                }
                Node::Symlink { target } => {
                    if copy.symlink_metadata().is_err() {
                        let target = std::ffi::OsStr::from_bytes(target);
                        std::os::unix::fs::symlink(target, &copy)
                            .map_err(failed("make the link", &copy))?;
                    }
                    self.give(&copy)?;
                    continue;
                }
                _ => continue,
            }
            self.give(&copy)?;
            mode(&copy, entry.mode)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stand_below_the_root() {
        let relocation = Relocation {
            root: "/other".into(),
            owner: None,
        };
        assert_eq!(
            relocation.path(Path::new("/usr/share")),
            Path::new("/other/usr/share")
        );
        assert_eq!(
            relocation.path(Path::new("/usr/../etc/none")),
            Path::new("/other/etc/none")
        );
    }
}
