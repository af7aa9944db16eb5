//! A folder that stands for a root file system: no name in it, whatever links it holds, leads outside.
//!
//! Every path is resolved by the kernel with the folder as `/` (openat2(2), RESOLVE_IN_ROOT), so that an
//! absolute link inside points inside.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

/// Owner and permission bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// Called with a path (no leading slash), its kind, and the folder that holds it.
type Visitor<'a> = dyn FnMut(&[u8], FileType, &OwnedFd) -> io::Result<()> + 'a;

/// The folder. Paths given to its methods are inside it; a leading `/` or `./` changes nothing.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    /// Opens `folder`.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(folder, flags, Mode::empty())?))
    }

    fn resolve(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() {
            b".".as_slice()
        } else {
            path
        };
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            // EAGAIN: something was renamed meanwhile (openat2(2)).
            match rustix::fs::openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), how) {
                Err(Errno::AGAIN) => {}
                result => return result,
            }
        }
    }

    /// The folder that holds `path`, made if it is missing, and the last name.
    fn parent<'a>(&self, path: &'a [u8]) -> io::Result<(OwnedFd, &'a OsStr)> {
        let (folder, name) = split(path)?;
        match self.resolve(folder, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(parent) => Ok((parent, name)),
            Err(Errno::NOENT) => {
                self.directory(
                    folder,
                    Attributes {
                        mode: 0o755,
                        uid: 0,
                        gid: 0,
                    },
                )?;
                Ok((
                    self.resolve(folder, OFlags::PATH | OFlags::DIRECTORY)?,
                    name,
                ))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a folder, or takes the one that is there; a link to a folder counts as one and keeps its
    /// attributes (as tar's --keep-directory-symlink does).
    pub fn directory(&self, path: &[u8], attributes: Attributes) -> io::Result<()> {
        if trim(path).is_empty() {
            return set(&self.0, OsStr::new("."), attributes, true);
        }
        let (parent, name) = self.parent(path)?;
        match rustix::fs::mkdirat(&parent, name, Mode::from(0o700)) {
            Err(Errno::EXIST) => {
                let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => {}
                    FileType::Symlink
                        if self
                            .resolve(trim(path), OFlags::PATH | OFlags::DIRECTORY)
                            .is_ok() =>
                    {
                        return Ok(());
                    }
                    _ => {
                        rustix::fs::unlinkat(&parent, name, AtFlags::empty())?;
                        rustix::fs::mkdirat(&parent, name, Mode::from(0o700))?;
                    }
                }
            }
            result => result?,
        }
        set(&parent, name, attributes, true)
    }

    /// Makes a regular file of what `content` holds, in place of whatever had that name.
    pub fn file(
        &self,
        path: &[u8],
        attributes: Attributes,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        let (parent, name) = self.fresh(path)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&parent, name, flags, Mode::from(0o600))?);
        io::copy(content, &mut file)?;
        drop(file);
        set(&parent, name, attributes, true)
    }

    /// Makes a symbolic link, in place of whatever had that name.
    pub fn symlink(&self, path: &[u8], target: &[u8], attributes: Attributes) -> io::Result<()> {
        let (parent, name) = self.fresh(path)?;
        rustix::fs::symlinkat(OsStr::from_bytes(target), &parent, name)?;
        set(&parent, name, attributes, false)
    }

    /// Makes `path` a second name of the file `target`.
    pub fn hardlink(&self, path: &[u8], target: &[u8]) -> io::Result<()> {
        let (from, old) = self.parent(target)?;
        let (parent, name) = self.fresh(path)?;
        Ok(rustix::fs::linkat(
            &from,
            old,
            &parent,
            name,
            AtFlags::empty(),
        )?)
    }

    /// Makes a device or a pipe, in place of whatever had that name.
    pub fn node(
        &self,
        path: &[u8],
        kind: FileType,
        device: u64,
        attributes: Attributes,
    ) -> io::Result<()> {
        let (parent, name) = self.fresh(path)?;
        rustix::fs::mknodat(&parent, name, kind, Mode::from(0o600), device)?;
        set(&parent, name, attributes, true)
    }

    /// The parent of `path` after anything but a folder of that name is gone.
    fn fresh<'a>(&self, path: &'a [u8]) -> io::Result<(OwnedFd, &'a OsStr)> {
        let (parent, name) = self.parent(path)?;
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok((parent, name)),
            Err(Errno::ISDIR) => {
                rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?;
                Ok((parent, name))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The content of a regular file, links followed inside; none if there is none.
    pub fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(mut file) = self.regular(path, OFlags::RDONLY)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Replaces the content of an existing regular file, keeping its attributes; nothing happens if there is
    /// none.
    pub fn rewrite(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let Some(mut file) = self.regular(path, OFlags::WRONLY)? else {
            return Ok(());
        };
        file.set_len(0)?;
        file.write_all(bytes)
    }

    fn regular(&self, path: &str, flags: OFlags) -> io::Result<Option<File>> {
        // A pipe must not be waited for.
        match self.resolve(trim(path.as_bytes()), flags | OFlags::NONBLOCK) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO | Errno::ISDIR) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
            Ok(fd) => Ok(Some(File::from(fd))
                .filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()))),
        }
    }

    /// What `path` is; a link as a link; none if there is nothing.
    pub fn kind(&self, path: &str) -> io::Result<Option<FileType>> {
        match self.resolve(trim(path.as_bytes()), OFlags::PATH | OFlags::NOFOLLOW) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error.into()),
            Ok(fd) => Ok(Some(FileType::from_raw_mode(
                rustix::fs::fstat(&fd)?.st_mode,
            ))),
        }
    }

    /// The names in a folder, sorted; none if there is no such folder.
    pub fn names(&self, path: &str) -> io::Result<Vec<String>> {
        match self.resolve(trim(path.as_bytes()), OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
            Ok(folder) => Ok(listing(&folder)?
                .into_iter()
                .filter_map(|(name, _)| name.into_string().ok())
                .collect()),
        }
    }

    /// Removes whatever `path` is, a folder with all that is in it; a link itself, never what it points to.
    /// Nothing there is no error.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        let (folder, name) = split(path.as_bytes())?;
        match self.resolve(folder, OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(parent) => remove_at(&parent, name),
        }
    }

    /// Calls `visit` for every name below, folders before what is in them.
    pub fn walk(&self, visit: &mut Visitor<'_>) -> io::Result<()> {
        let top = self.resolve(b"", OFlags::RDONLY | OFlags::DIRECTORY)?;
        walk(&top, &mut Vec::new(), visit)
    }
}

/// Removes extended attributes whose name starts with `prefix` from the root and every folder below.
pub(crate) fn strip_xattrs(root: &Root, prefix: &[u8]) -> io::Result<()> {
    let strip = |folder: &OwnedFd| -> io::Result<()> {
        let mut names = Vec::with_capacity(4096);
        let count = match rustix::fs::flistxattr(folder, &mut [0_u8; 0][..]) {
            Err(Errno::NOTSUP) | Ok(0) => return Ok(()),
            result => result?,
        };
        names.resize(count, 0);
        let count = rustix::fs::flistxattr(folder, names.as_mut_slice())?;
        for name in names[..count]
            .split_inclusive(|&byte| byte == 0)
            .filter(|name| name.starts_with(prefix))
        {
            if let Ok(name) = CStr::from_bytes_with_nul(name) {
                rustix::fs::fremovexattr(folder, name)?;
            }
        }
        Ok(())
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    strip(&root.resolve(b"", OFlags::RDONLY | OFlags::DIRECTORY)?)?;
    root.walk(&mut |path, kind, parent| {
        if kind != FileType::Directory {
            return Ok(());
        }
        let (_, name) = split(path)?;
        strip(&rustix::fs::openat(parent, name, flags, Mode::empty())?)
    })
}

/// `path` without what changes nothing at its ends.
fn trim(path: &[u8]) -> &[u8] {
    let mut path = path;
    loop {
        if let Some(rest) = path.strip_prefix(b"/").or_else(|| path.strip_prefix(b"./")) {
            path = rest;
        } else if let Some(rest) = path.strip_suffix(b"/") {
            path = rest;
        } else {
            return if path == b"." { b"" } else { path };
        }
    }
}

/// The folder and the last name of a path.
fn split(path: &[u8]) -> io::Result<(&[u8], &OsStr)> {
    let path = trim(path);
    let (folder, name) = match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"".as_slice(), path),
    };
    if name.is_empty() || name == b".." || path.contains(&0) {
        let message = format!(
            "{:?} names nothing inside a root",
            String::from_utf8_lossy(path)
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok((folder, OsStr::from_bytes(name)))
}

/// Sets owner, then mode (a change of owner takes set-id bits away).
fn set(parent: &OwnedFd, name: &OsStr, attributes: Attributes, mode: bool) -> io::Result<()> {
    let owner = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
    rustix::fs::chownat(
        parent,
        name,
        Some(owner.0),
        Some(owner.1),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    if mode {
        rustix::fs::chmodat(parent, name, Mode::from(attributes.mode), AtFlags::empty())?;
    }
    Ok(())
}

fn listing(folder: &OwnedFd) -> io::Result<Vec<(OsString, FileType)>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((OsString::from_vec(name.to_vec()), entry.file_type()));
        }
    }
    names.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(names)
}

fn remove_at(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    for (entry, _) in listing(&folder)? {
        remove_at(&folder, &entry)?;
    }
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

fn walk(folder: &OwnedFd, path: &mut Vec<u8>, visit: &mut Visitor<'_>) -> io::Result<()> {
    let length = path.len();
    for (name, kind) in listing(folder)? {
        if length > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        visit(path, kind, folder)?;
        if kind == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            // The visitor may have removed it.
            match rustix::fs::openat(folder, &name, flags, Mode::empty()) {
                Err(Errno::NOENT) => {}
                result => walk(&result?, path, visit)?,
            }
        }
        path.truncate(length);
    }
    Ok(())
}
