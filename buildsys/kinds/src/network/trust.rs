//! What programs of a recorded step trust by themselves: the bundle of their distribution.
//!
//! Variables tell most programs of the authority; some read the distribution's bundle and nothing else. So the step
//! runs over one more layer, which has that bundle with the authority in it. Unlike a mount it may be replaced, as
//! `update-ca-certificates` does. What the step writes of it goes into its own layer without the authority.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use tbuild_realise::OpError;
use tbuild_tree::{Entry, Node, Rootfs, TreePath};

use crate::content::read_in_layers;
use crate::{LayerRef, World};

/// Where distributions keep it: Debian and Alpine; Fedora; Alpine again, for OpenSSL.
const BUNDLES: [&str; 3] = [
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "etc/ssl/cert.pem",
];

/// The layer, and what to look for in what the step writes.
pub(crate) struct Trust {
    folder: PathBuf,
    bundles: Vec<TreePath>,
    authority: String,
}

impl Trust {
    /// Makes the layer in `folder`, which is not there yet, over an image's; none where the image has no bundle.
    pub(super) fn over(
        world: &World,
        layers: &[LayerRef],
        folder: PathBuf,
        authority: &str,
    ) -> Result<Option<Self>, OpError> {
        let view = world.rootfs(layers)?;
        let mut bundles = Vec::new();
        for bundle in BUNDLES {
            let found = view.resolve(&bundle.into(), true);
            let Some(entry) = found.ok().and_then(|found| found.entry) else {
                continue;
            };
            if !matches!(entry.node, Node::File { .. }) || bundles.contains(&entry.path) {
                continue;
            }
            let Some(bytes) = read_in_layers(world, layers, &view, &entry.path)? else {
                continue;
            };
            let bytes = tbuild_netlock::bundle(&bytes, authority);
            write(&folder, &view, &entry, &bytes).map_err(|error| OpError::internal(&error))?;
            bundles.push(entry.path);
        }
        Ok((!bundles.is_empty()).then(|| Self {
            folder,
            bundles,
            authority: authority.to_owned(),
        }))
    }

    /// The layer, in overlayfs form.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes the authority out of the bundles that a step has written.
    pub(crate) fn take_out(&self, upper: &Path) -> Result<(), OpError> {
        let done = self
            .bundles
            .iter()
            .try_for_each(|bundle| take_out(upper, bundle, self.authority.as_bytes()));
        done.map_err(|error| OpError::internal(&error))
    }
}

/// Writes a file with all that leads to it, as `view` has it: overlayfs shows of a folder what the topmost layer says.
fn write(folder: &Path, view: &Rootfs, entry: &Entry, bytes: &[u8]) -> io::Result<()> {
    let mut parents = vec![TreePath::root()];
    for part in entry.path.components() {
        let next = parents.last().cloned().unwrap_or_default().join(part);
        parents.push(next);
    }
    parents.pop();
    let folders: Vec<Entry> = parents
        .iter()
        .map(|path| {
            let found = view.get(path);
            found.unwrap_or_else(|| Entry::new(path.clone(), 0o755, Node::Directory))
        })
        .collect();
    for parent in &folders {
        std::fs::create_dir_all(place(folder, &parent.path))?;
    }
    std::fs::write(place(folder, &entry.path), bytes)?;
    for entry in folders.iter().rev().chain([entry]) {
        dress(&place(folder, &entry.path), entry)?;
    }
    // The file's own time is set last, and so are its folders', the innermost first.
    for entry in [entry].into_iter().chain(folders.iter().rev()) {
        let time = Timespec {
            tv_sec: entry.mtime,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        let path = place(folder, &entry.path);
        rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

fn place(folder: &Path, path: &TreePath) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    folder.join(std::ffi::OsStr::from_bytes(path.as_bytes()))
}

/// Owner, mode and attributes.
fn dress(path: &Path, entry: &Entry) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    rustix::fs::chown(path, Some(uid), Some(gid))?;
    rustix::fs::chmod(path, Mode::from_raw_mode(entry.mode))?;
    for (name, value) in &entry.xattrs {
        rustix::fs::lsetxattr(path, name.as_slice(), value, XattrFlags::empty())?;
    }
    Ok(())
}

/// Takes `authority` out of a file below `upper`, if it is one and has it. The step made what is there: no link is
/// followed, and nothing but a regular file is looked into.
fn take_out(upper: &Path, bundle: &TreePath, authority: &[u8]) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(upper, flags, Mode::empty())?;
    let opened = rustix::fs::openat2(
        &root,
        bundle.as_bytes(),
        OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    );
    // It wrote none, or made something else of it.
    let Ok(opened) = opened else { return Ok(()) };
    let mut file = File::from(opened);
    if !file.metadata()?.is_file() {
        return Ok(());
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let Some(kept) = without(&bytes, authority) else {
        return Ok(());
    };
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&kept)
}

/// The bytes without `part`, as often as it is there; none where it is not.
fn without(bytes: &[u8], part: &[u8]) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    let mut rest = bytes;
    let find = |bytes: &[u8]| bytes.windows(part.len()).position(|at| at == part);
    while let Some(at) = find(rest) {
        kept.extend_from_slice(&rest[..at]);
        rest = &rest[at + part.len()..];
    }
    (rest.len() < bytes.len()).then(|| {
        kept.extend_from_slice(rest);
        kept
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_is_taken_out_of_files_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a/bundle");
        let bundle = TreePath::from("a/bundle");
        take_out(folder.path(), &bundle, b"own\n").expect("nothing there");
        std::fs::create_dir(folder.path().join("a")).expect("made");
        std::fs::write(&file, "one\nown\ntwo\nown\n").expect("written");
        take_out(folder.path(), &bundle, b"own\n").expect("taken out");
        let read = || std::fs::read_to_string(&file).expect("read");
        assert_eq!(read(), "one\ntwo\n");
        // What a step links to is not its own.
        let outside = tempfile::tempdir().expect("a folder");
        std::fs::write(outside.path().join("bundle"), "own\n").expect("written");
        std::fs::remove_dir_all(folder.path().join("a")).expect("removed");
        std::os::unix::fs::symlink(outside.path(), folder.path().join("a")).expect("linked");
        take_out(folder.path(), &bundle, b"own\n").expect("left alone");
        assert_eq!(read(), "own\n");
    }
}
