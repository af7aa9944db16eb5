//! A captured upper folder: opened below it without following any link, however deep.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use tbuild_oci::FileContent;
use tbuild_tree::{Entry, TreePath};

/// How much of a path the kernel is given at once, in bytes: less than `PATH_MAX`, which is 4,096.
const PIECE: usize = 4000;

/// The contents of an upper folder.
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

    /// Opens what is at `path` with `flags`.
    pub(crate) fn open(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let open = |folder: BorrowedFd<'_>, path: &[u8], flags: OFlags| {
            let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let resolve =
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            rustix::fs::openat2(folder, path, flags, Mode::empty(), resolve)
        };
        let (mut rest, mut folder): (_, Option<OwnedFd>) = (path, None);
        loop {
            let from = folder.as_ref().unwrap_or(&self.root).as_fd();
            if rest.is_empty() {
                return Ok(open(from, b".", flags)?);
            }
            let Some(end) = piece(rest) else {
                return Ok(open(from, rest, flags)?);
            };
            folder = Some(open(from, &rest[..end], OFlags::PATH | OFlags::DIRECTORY)?);
            rest = &rest[end + 1..];
        }
    }

    /// Opens one regular file.
    pub(crate) fn file(&self, path: &TreePath) -> io::Result<File> {
        let fd = self.open(path.as_bytes(), OFlags::RDONLY | OFlags::NONBLOCK)?;
        Ok(File::from(fd))
    }

    /// The folders in which paths lie: asked in tree order, each is opened once.
    pub(crate) fn parents(&self) -> Parents<'_> {
        Parents {
            content: self,
            last: None,
        }
    }
}

/// Where the first piece of a path that is too long ends.
fn piece(path: &[u8]) -> Option<usize> {
    if path.len() <= PIECE {
        return None;
    }
    path[..PIECE].iter().rposition(|byte| *byte == b'/')
}

/// Folders, the last one kept open.
pub(crate) struct Parents<'a> {
    content: &'a UpperContent,
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl Parents<'_> {
    /// The folder of `path`, and its name in it; the root is `.` in itself.
    pub(crate) fn of<'a>(
        &'a mut self,
        path: &'a TreePath,
    ) -> io::Result<(BorrowedFd<'a>, &'a [u8])> {
        let parent = path.parent_bytes().unwrap_or_default();
        if self.last.as_ref().is_none_or(|(known, _)| known != parent) {
            let fd = self
                .content
                .open(parent, OFlags::PATH | OFlags::DIRECTORY)?;
            self.last = Some((parent.to_vec(), fd));
        }
        match &self.last {
            Some((_, fd)) => Ok((fd.as_fd(), path.name().unwrap_or(b"."))),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl FileContent for UpperContent {
    fn open<'a>(&'a mut self, entry: &Entry) -> io::Result<Box<dyn Read + 'a>> {
        Ok(Box::new(self.file(&entry.path)?))
    }
}
