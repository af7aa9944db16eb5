//! Reading the files that say what is built. They come with the context, which may be a stranger's: one may be a
//! pipe that nobody writes to, a link to a secret whose text would stand in a message, or larger than memory.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// The most bytes of a Dockerfile.
const DOCKERFILE: u64 = 16 << 20;
/// The most bytes of a .dockerignore.
pub(crate) const IGNORE: u64 = 1 << 20;

fn refused(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.into())
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(refused("it is no regular file"))
    }
}

/// Opens a regular file, without waiting where it is a pipe.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = File::options();
    let file = options.read(true).custom_flags(flags.bits().cast_signed());
    regular(file.open(path)?)
}

/// Opens a file of a folder that may be a stranger's: no link leads out of the folder.
fn open_inside(path: &Path) -> io::Result<File> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(refused("it is a folder"));
    };
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(CWD, folder, flags, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let opened = match rustix::fs::openat2(&folder, name, flags, Mode::empty(), resolve) {
        // Filters of system calls that do not know it: no link at all, then.
        Err(Errno::NOSYS | Errno::PERM) => {
            rustix::fs::openat(&folder, name, flags | OFlags::NOFOLLOW, Mode::empty())
        }
        opened => opened,
    };
    match opened {
        Ok(file) => regular(File::from(file)),
        Err(Errno::XDEV) => Err(refused("it is a link that leads out of its folder")),
        Err(errno) => Err(errno.into()),
    }
}

fn text(file: File, limit: u64) -> io::Result<String> {
    let mut text = String::new();
    file.take(limit + 1).read_to_string(&mut text)?;
    if text.len() as u64 > limit {
        return Err(refused(format!("it is larger than {} MiB", limit >> 20)));
    }
    Ok(text)
}

/// The text of a file that the context's author wrote, of at most `limit` bytes. Links may not lead out of its
/// folder.
pub(crate) fn read_inside(path: &Path, limit: u64) -> io::Result<String> {
    text(open_inside(path)?, limit)
}

/// The text of a Dockerfile: one that the user named (`named`), or the context's own.
pub fn dockerfile(path: &Path, named: bool) -> io::Result<String> {
    if named {
        text(File::open(path)?, DOCKERFILE)
    } else {
        read_inside(path, DOCKERFILE)
    }
}
