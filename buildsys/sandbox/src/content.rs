//! Reading the contents of a captured upper folder.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use tbuild_oci::FileContent;
use tbuild_tree::{Entry, TreePath};

/// The contents of an upper folder, opened below it without following any link.
#[derive(Debug)]
pub struct UpperContent {
    root: OwnedFd,
}

impl UpperContent {
    /// The contents of `upper`.
    pub fn new(upper: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        Ok(Self {
            root: rustix::fs::open(upper, flags, Mode::empty())?,
        })
    }

    /// Opens one regular file.
    pub(crate) fn file(&self, path: &TreePath) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        Ok(File::from(rustix::fs::openat2(
            &self.root,
            path.as_bytes(),
            flags,
            Mode::empty(),
            resolve,
        )?))
    }
}

impl FileContent for UpperContent {
    fn open<'a>(&'a mut self, entry: &Entry) -> io::Result<Box<dyn Read + 'a>> {
        Ok(Box::new(self.file(&entry.path)?))
    }
}
