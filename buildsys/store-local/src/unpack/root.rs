//! The folder that a layer is unpacked into, and places in it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::io::Errno;
use tbuild_tree::{Entry, SOURCE_DATE_EPOCH, TreePath};

use super::{UnpackError, failed, gid, owner_failed, refused, times, uid};

/// How often a resolution that lost a race against a rename elsewhere on the machine is tried again.
const TRIES: usize = 128;

/// How much of a path the kernel is given at once, in bytes: less than `PATH_MAX`, which is 4,096.
const PIECE: usize = 4000;

/// Where the first piece of a path that is too long ends.
fn piece(path: &[u8]) -> Option<usize> {
    if path.len() <= PIECE {
        return None;
    }
    path[..PIECE].iter().rposition(|byte| *byte == b'/')
}

/// Opens the folder at `path` below `folder`, as `resolve` allows.
fn open_in(
    folder: &OwnedFd,
    path: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        match rustix::fs::openat2(folder, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

/// The root of a layer.
pub struct Root {
    fd: Rc<OwnedFd>,
    /// The folder used last: members of one folder follow each other.
    last: Option<(TreePath, Rc<OwnedFd>)>,
    /// Modes and times that folders get in the end.
    later: BTreeMap<TreePath, (u32, i64)>,
}

/// A name in a folder.
pub struct Place<'a> {
    last: &'a mut Option<(TreePath, Rc<OwnedFd>)>,
    parent: Rc<OwnedFd>,
    name: &'a [u8],
    path: &'a TreePath,
}

impl Root {
    /// Opens the root itself.
    pub fn open(upper: &Path) -> Result<Self, UnpackError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, upper, flags, Mode::empty())
            .map_err(|errno| failed("open", &TreePath::root(), errno))?;
        Ok(Self {
            fd: Rc::new(fd),
            last: None,
            later: BTreeMap::new(),
        })
    }

    /// Opens the folder `path`; makes it where the archive does not name it, owned by root with mode 0755.
    pub fn folder(&mut self, path: &TreePath) -> Result<Rc<OwnedFd>, UnpackError> {
        if path.is_root() {
            return Ok(Rc::clone(&self.fd));
        }
        if let Some((known, fd)) = &self.last
            && known == path
        {
            return Ok(Rc::clone(fd));
        }
        let opened = match self.resolve(path, OFlags::empty()) {
            Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => {
                self.imply(path, errno)?;
                self.resolve(path, OFlags::empty())
            }
            opened => opened,
        };
        let fd = Rc::new(opened.map_err(|errno| failed("open folder", path, errno))?);
        self.last = Some((path.clone(), Rc::clone(&fd)));
        Ok(fd)
    }

    fn resolve(&self, path: &TreePath, flags: OFlags) -> Result<OwnedFd, Errno> {
        let bytes = path.as_bytes();
        let Some(mut end) = piece(bytes) else {
            return open_in(&self.fd, bytes, flags, ResolveFlags::IN_ROOT);
        };
        // More than the kernel takes at once: step by step, and through no link, for a link would lead to
        // where the step began instead of to the root.
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let mut folder = open_in(&self.fd, &bytes[..end], flags, beneath)?;
        let mut rest = &bytes[end + 1..];
        loop {
            end = piece(rest).unwrap_or(rest.len());
            folder = open_in(&folder, &rest[..end], flags, beneath)?;
            match rest.get(end + 1..) {
                Some(more) => rest = more,
                None => return Ok(folder),
            }
        }
    }

    /// Makes the folders up to `path` that the archive only implies. `errno` is why it cannot be opened.
    fn imply(&mut self, path: &TreePath, errno: Errno) -> Result<(), UnpackError> {
        let mut at = TreePath::root();
        for part in path.components() {
            at = at.join(part);
            match self.resolve(&at, OFlags::empty()) {
                Err(Errno::NOENT | Errno::NOTDIR) => self.imply_one(&at, errno)?,
                Ok(_) => {}
                Err(errno) => return Err(failed("open folder", &at, errno)),
            }
        }
        Ok(())
    }

    /// Makes a folder whose parent is there.
    fn imply_one(&mut self, path: &TreePath, errno: Errno) -> Result<(), UnpackError> {
        let mut place = self.place(path)?;
        let opaque = place.is_whiteout()?;
        match rustix::fs::statat(&place.parent, place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Ok(_) if opaque => {}
            // A link that leads nowhere, or a file: nothing can be in it.
            Ok(_) => return Err(failed("open folder", path, errno)),
            Err(errno) => return Err(failed("inspect", path, errno)),
        }
        place.make_folder()?;
        self.later(path, 0o755, SOURCE_DATE_EPOCH);
        if opaque {
            let folder = self.folder(path)?;
            self.set_opaque(folder.as_fd(), path)?;
        }
        Ok(())
    }

    /// The place of `path`, which is not the root.
    pub fn place<'a>(&'a mut self, path: &'a TreePath) -> Result<Place<'a>, UnpackError> {
        let Some(name) = path.name() else {
            return Err(refused(path, "stands for the root and is no folder"));
        };
        let parent = self.folder(&path.parent().unwrap_or_default())?;
        Ok(Place {
            last: &mut self.last,
            parent,
            name,
            path,
        })
    }

    /// Hides what lower layers hold in a folder.
    #[expect(clippy::unused_self, reason = "only folders of a root are made opaque")]
    pub fn set_opaque(&self, folder: BorrowedFd<'_>, path: &TreePath) -> Result<(), UnpackError> {
        rustix::fs::fsetxattr(
            folder,
            crate::owners::opaque_mark(),
            b"y",
            XattrFlags::empty(),
        )
        .map_err(|errno| failed("make opaque", path, errno))
    }

    /// Says what mode and time a folder has in the end.
    pub fn later(&mut self, path: &TreePath, mode: u32, mtime: i64) {
        self.later.insert(path.clone(), (mode, mtime));
    }

    /// Sets modes and times of folders. One that is none any more is left out.
    pub fn finish(self) -> Result<(), UnpackError> {
        for (path, (mode, mtime)) in &self.later {
            let opened = if path.is_root() {
                self.fd
                    .try_clone()
                    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            } else {
                self.resolve(path, OFlags::NOFOLLOW)
            };
            let folder = match opened {
                Ok(folder) => folder,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(errno) => return Err(failed("open folder", path, errno)),
            };
            rustix::fs::fchmod(&folder, Mode::from_raw_mode(*mode))
                .map_err(|errno| failed("set the mode of", path, errno))?;
            rustix::fs::futimens(&folder, &times(*mtime))
                .map_err(|errno| failed("set the time of", path, errno))?;
        }
        Ok(())
    }
}

impl Place<'_> {
    /// Makes something here by `make`; what was here before goes, whatever it was.
    pub fn make(
        &mut self,
        what: &'static str,
        mut make: impl FnMut(BorrowedFd<'_>, &[u8]) -> Result<(), Errno>,
    ) -> Result<(), UnpackError> {
        match make(self.parent.as_fd(), self.name) {
            Err(Errno::EXIST) => {
                // The folder used last may be among what goes.
                *self.last = None;
                crate::remove::remove_at(self.parent.as_fd(), self.name)
                    .map_err(|errno| failed("replace", self.path, errno))?;
                make(self.parent.as_fd(), self.name)
            }
            result => result,
        }
        .map_err(|errno| failed(what, self.path, errno))
    }

    /// Makes a folder here, or keeps the one that is here.
    pub fn make_folder(&mut self) -> Result<(), UnpackError> {
        if self.is_folder()? {
            return Ok(());
        }
        self.make("make folder", |parent, name| {
            rustix::fs::mkdirat(parent, name, Mode::RWXU)
        })
    }

    /// Makes a whiteout here unless something is here.
    pub fn make_whiteout(&self) -> Result<(), Errno> {
        let device = rustix::fs::makedev(0, 0);
        let mode = Mode::empty();
        rustix::fs::mknodat(
            &self.parent,
            self.name,
            FileType::CharacterDevice,
            mode,
            device,
        )
    }

    fn stat(&self) -> Result<Option<(FileType, u64)>, UnpackError> {
        match rustix::fs::statat(&self.parent, self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some((FileType::from_raw_mode(stat.st_mode), stat.st_rdev))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed("inspect", self.path, errno)),
        }
    }

    /// Whether a folder is here; a link to one is none.
    pub fn is_folder(&self) -> Result<bool, UnpackError> {
        Ok(matches!(self.stat()?, Some((FileType::Directory, _))))
    }

    /// Whether a whiteout is here.
    pub fn is_whiteout(&self) -> Result<bool, UnpackError> {
        Ok(self.stat()? == Some((FileType::CharacterDevice, rustix::fs::makedev(0, 0))))
    }

    /// Sets the owner of what is here.
    pub fn own(&self, entry: &Entry) -> Result<(), UnpackError> {
        let (owner, group) = (Some(uid(entry)), Some(gid(entry)));
        rustix::fs::chownat(
            &self.parent,
            self.name,
            owner,
            group,
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(|errno| owner_failed(entry, errno))
    }

    /// Sets the mode of what is here, which is no link.
    pub fn mode(&self, entry: &Entry) -> Result<(), UnpackError> {
        let mode = Mode::from_raw_mode(entry.mode);
        rustix::fs::chmodat(&self.parent, self.name, mode, AtFlags::empty())
            .map_err(|errno| failed("set the mode of", self.path, errno))
    }

    /// Sets the time of what is here.
    pub fn times(&self, entry: &Entry) -> Result<(), UnpackError> {
        let times = times(entry.mtime);
        rustix::fs::utimensat(&self.parent, self.name, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed("set the time of", self.path, errno))
    }

    /// Sets the xattrs of what is here and cannot be opened: a link, a device.
    pub fn xattrs(&self, entry: &Entry) -> Result<(), UnpackError> {
        if entry.xattrs.is_empty() {
            return Ok(());
        }
        // There is no call that takes a folder and a name: the folder's own link in /proc stands for it.
        let mut path = format!("/proc/self/fd/{}/", self.parent.as_raw_fd()).into_bytes();
        path.extend_from_slice(self.name);
        for (name, value) in &entry.xattrs {
            rustix::fs::lsetxattr(path.as_slice(), name.as_slice(), value, XattrFlags::empty())
                .map_err(|errno| failed("set an extended attribute of", self.path, errno))?;
        }
        Ok(())
    }
}
