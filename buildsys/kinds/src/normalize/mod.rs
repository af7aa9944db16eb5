//! Putting right what tools write differently from run to run, where a step declares it
//! (`# tbuild: normalize=...` above a RUN; [`tbuild_dockerfile::Normalizer`] says what each does).
//!
//! Run once a step has ended, over the folder that it wrote: on paths that a capture found there, opened below
//! that folder without following a link, since an image may hold any link. Headers are changed in place; no
//! file is read into memory but a key store.

mod ar;
mod gzip;
mod java;
mod pyc;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, XattrFlags};
use tbuild_dockerfile::Normalizer;
use tbuild_realise::OpError;
use tbuild_tree::{Entry, Node, Rootfs, Tree, TreePath};

/// Files that apt and dpkg write and that no package owns: a path itself, or what lies below one with a slash.
const APT: [&str; 7] = [
    "var/log/apt/",
    "var/log/dpkg.log",
    "var/log/alternatives.log",
    "var/lib/apt/lists/",
    "var/cache/apt/archives/",
    "var/cache/apt/pkgcache.bin",
    "var/cache/apt/srcpkgcache.bin",
];
const JAVA: &str = "etc/ssl/certs/java/cacerts";
const LDCONFIG: &str = "var/cache/ldconfig/aux-cache";
const MACHINE_ID: &str = "etc/machine-id";
const DBUS_ID: &str = "var/lib/dbus/machine-id";
/// Where packages put compressed documents.
const DOCUMENTS: [&str; 3] = ["usr/share/doc/", "usr/share/man/", "usr/share/info/"];

/// What is to be done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    Remove,
    Empty,
    Ar,
    Gzip,
    Java,
    /// Its header says this time of its source.
    Pyc(u32),
    PycUnchecked,
}

/// Puts right what the folder `upper` holds, whose captured entries are `tree`, over layers that show `lower`.
/// True if something changed: then the folder has to be captured again.
pub(crate) fn apply(
    upper: &Path,
    tree: &Tree,
    lower: &Rootfs,
    wanted: &[Normalizer],
) -> Result<bool, OpError> {
    if wanted.is_empty() {
        return Ok(false);
    }
    let failed = |path: &TreePath| {
        let path = path.clone();
        move |error: io::Error| OpError::failed_text(format!("cannot normalize {path}: {error}"))
    };
    let folder = Folder::open(upper).map_err(failed(&TreePath::root()))?;
    let mut changed = false;
    for entry in tree.entries() {
        let edits = wanted
            .iter()
            .filter_map(|one| edit(*one, entry, tree, lower));
        for edit in edits {
            changed |= folder.edit(entry, edit).map_err(failed(&entry.path))?;
            if edit == Edit::Remove {
                break;
            }
        }
    }
    if wanted.contains(&Normalizer::PycRemove) {
        for entry in tree.entries().iter().rev() {
            if entry.is_directory() && entry.path.name() == Some(b"__pycache__".as_slice()) {
                changed |= folder
                    .remove_empty(&entry.path)
                    .map_err(failed(&entry.path))?;
            }
        }
    }
    Ok(changed)
}

/// The normalizer that is for a path, if there is one: for hints.
pub fn normalizer_for(path: &str) -> Option<Normalizer> {
    let path = TreePath::from(path);
    let node = Node::File {
        size: 1,
        digest: tbuild_digest::Sha256([0; 32]),
    };
    let entry = Entry::new(path, 0o644, node);
    let (tree, lower) = (Tree::default(), Rootfs::default());
    Normalizer::ALL
        .into_iter()
        .find(|one| edit(*one, &entry, &tree, &lower).is_some())
}

fn edit(normalizer: Normalizer, entry: &Entry, tree: &Tree, lower: &Rootfs) -> Option<Edit> {
    // Further names of a file are changed with the first; what is removed goes by each name.
    let (is_file, is_name) = match entry.node {
        Node::File { .. } => (true, true),
        Node::Hardlink { .. } => (false, true),
        _ => (false, false),
    };
    let path = entry.path.as_bytes();
    let ends = |end: &str| path.ends_with(end.as_bytes());
    let (fits, edit) = match normalizer {
        Normalizer::Apt => (
            is_name && APT.iter().any(|one| at_or_below(path, one)),
            Edit::Remove,
        ),
        Normalizer::Java => (is_file && path == JAVA.as_bytes(), Edit::Java),
        Normalizer::Ldconfig => (is_name && path == LDCONFIG.as_bytes(), Edit::Remove),
        Normalizer::MachineId if path == MACHINE_ID.as_bytes() => (is_file, Edit::Empty),
        Normalizer::MachineId => (is_name && path == DBUS_ID.as_bytes(), Edit::Remove),
        Normalizer::Ar => (is_file && ends(".a"), Edit::Ar),
        Normalizer::Gzip => {
            let document = DOCUMENTS.iter().any(|one| path.starts_with(one.as_bytes()));
            (is_file && document && ends(".gz"), Edit::Gzip)
        }
        Normalizer::Pyc if is_file && ends(".pyc") => {
            (true, Edit::Pyc(pyc::source_time(&entry.path, tree, lower)))
        }
        Normalizer::Pyc => return None,
        Normalizer::PycUnchecked => (is_file && ends(".pyc"), Edit::PycUnchecked),
        Normalizer::PycRemove => (is_name && ends(".pyc"), Edit::Remove),
    };
    fits.then_some(edit)
}

fn at_or_below(path: &[u8], place: &str) -> bool {
    if place.ends_with('/') {
        path.starts_with(place.as_bytes())
    } else {
        path == place.as_bytes()
    }
}

/// A folder that is worked in without leaving it.
struct Folder(OwnedFd);

impl Folder {
    fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    fn below(&self, path: &TreePath, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = if path.is_root() {
            b"."
        } else {
            path.as_bytes()
        };
        Ok(rustix::fs::openat2(
            &self.0,
            name,
            flags,
            Mode::empty(),
            resolve,
        )?)
    }

    /// Does it; false if there was nothing to do.
    fn edit(&self, entry: &Entry, edit: Edit) -> io::Result<bool> {
        if edit == Edit::Remove {
            self.unlink(&entry.path, AtFlags::empty())?;
            return Ok(true);
        }
        let mut file = File::from(self.below(&entry.path, OFlags::RDWR)?);
        let changed = match edit {
            Edit::Ar => ar::normalize(&mut file)?,
            Edit::Gzip => gzip::normalize(&mut file)?,
            Edit::Java => java::normalize(&mut file)?,
            Edit::Pyc(time) => pyc::set_time(&mut file, time)?,
            Edit::PycUnchecked => pyc::uncheck(&mut file)?,
            Edit::Empty => {
                let full = file.metadata()?.len() > 0;
                file.set_len(0)?;
                full
            }
            Edit::Remove => false,
        };
        if changed {
            file.flush()?;
            restore(&file, entry)?;
        }
        Ok(changed)
    }

    fn unlink(&self, path: &TreePath, flags: AtFlags) -> io::Result<()> {
        let parent = self.below(
            &path.parent().unwrap_or_default(),
            OFlags::PATH | OFlags::DIRECTORY,
        )?;
        let name = path.name().unwrap_or_default();
        Ok(rustix::fs::unlinkat(&parent, name, flags)?)
    }

    /// Removes a folder if nothing is left in it.
    fn remove_empty(&self, path: &TreePath) -> io::Result<bool> {
        match self.unlink(path, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Gives back what the kernel takes from a file that is written to: set-id bits and capabilities.
fn restore(file: &File, entry: &Entry) -> io::Result<()> {
    rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode))?;
    for (name, value) in &entry.xattrs {
        rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty())?;
    }
    Ok(())
}

/// Writes `new` at `offset` if something else stands there.
fn replace(file: &File, offset: u64, old: &[u8], new: &[u8]) -> io::Result<bool> {
    use std::os::unix::fs::FileExt as _;
    if old == new {
        return Ok(false);
    }
    file.write_all_at(new, offset)?;
    Ok(true)
}

/// The first `N` bytes from `offset`; none if the file ends before.
fn bytes_at<const N: usize>(file: &File, offset: u64) -> io::Result<Option<[u8; N]>> {
    use std::os::unix::fs::FileExt as _;
    let mut bytes = [0; N];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
