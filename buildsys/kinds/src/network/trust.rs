//! What programs of a recorded step trust by themselves: the bundle and the Java key store of their distribution,
//! and apt's keyrings.
//!
//! Variables tell most programs of the authority; some read the distribution's files and nothing else. So the step
//! runs over one more layer, which has those files with the authority in them. Unlike mounts they may be replaced, as
//! `update-ca-certificates` does. What the step writes of them goes into its own layer without the authority.
//!
//! Where the lock has package indexes that were cut down, keyrings have the key that signed them, in the same way. Who
//! is answered by origins never sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use tbuild_netlock::Authority;
use tbuild_realise::OpError;
use tbuild_reduce::keyring::with_key;
use tbuild_reduce::openpgp::Key;
use tbuild_tree::{Entry, Node, Rootfs, TreePath};

use super::form::{FILES, Form};
use crate::content::read_in_layers;
use crate::{LayerRef, World};

/// Where keyrings of apt are: folders, and how their names end.
const KEYRINGS: [&str; 3] = [
    "etc/apt/keyrings",
    "etc/apt/trusted.gpg.d",
    "usr/share/keyrings",
];
const KEYRING_ENDS: [&str; 3] = [".asc", ".gpg", ".pgp"];
/// The oldest one.
const KEYRING: &str = "etc/apt/trusted.gpg";

/// The layer, and what to look for in what the step writes.
pub(crate) struct Trust {
    folder: PathBuf,
    files: Vec<(TreePath, Form)>,
    authority: Arc<Authority>,
    keyrings: Vec<Keyring>,
}

/// A keyring as it is and as the step sees it.
struct Keyring {
    path: TreePath,
    own: Vec<u8>,
    shown: Vec<u8>,
}

impl Trust {
    /// Makes the layer in `folder`, which is not there yet, over an image's; none where the image has nothing of the
    /// kind. Keyrings are in it if `is_reduced`.
    pub(super) fn over(
        world: &World,
        layers: &[LayerRef],
        folder: PathBuf,
        authority: &Arc<Authority>,
        is_reduced: bool,
    ) -> Result<Option<Self>, OpError> {
        let view = world.rootfs(layers)?;
        let mut files: Vec<(TreePath, Form)> = Vec::new();
        for (file, form) in FILES {
            let found = view.resolve(&file.into(), true);
            let Some(entry) = found.ok().and_then(|found| found.entry) else {
                continue;
            };
            let is_known = files.iter().any(|(path, _)| *path == entry.path);
            if !matches!(entry.node, Node::File { .. }) || is_known {
                continue;
            }
            let Some(bytes) = read_in_layers(world, layers, &view, &entry.path)? else {
                continue;
            };
            let Some(bytes) = form.with(&bytes, authority) else {
                continue;
            };
            write(&folder, &view, &entry, &bytes).map_err(|error| OpError::internal(&error))?;
            files.push((entry.path, form));
        }
        let mut keyrings: Vec<Keyring> = Vec::new();
        if is_reduced {
            let key = Key::well_known().map_err(|error| OpError::failed_text(error.to_string()))?;
            let key = key.public();
            for entry in entries_of_keyrings(&view) {
                let Some(own) = read_in_layers(world, layers, &view, &entry.path)? else {
                    continue;
                };
                let shown = with_key(&own, &key);
                write(&folder, &view, &entry, &shown).map_err(|error| OpError::internal(&error))?;
                let path = entry.path;
                keyrings.push(Keyring { path, own, shown });
            }
        }
        Ok((!files.is_empty() || !keyrings.is_empty()).then(|| Self {
            folder,
            files,
            authority: Arc::clone(authority),
            keyrings,
        }))
    }

    /// Whether Java trusts the authority by it.
    pub(crate) fn is_for_java(&self) -> bool {
        self.files.iter().any(|(_, form)| *form == Form::Java)
    }

    /// The layer, in overlayfs form.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes the authority out of the files that a step has written.
    pub(crate) fn take_out(&self, upper: &Path) -> Result<(), OpError> {
        let files = self.files.iter();
        let done = files
            .map(|(path, form)| rewrite(upper, path, |bytes| form.without(bytes, &self.authority)))
            .chain(self.keyrings.iter().map(|keyring| {
                rewrite(upper, &keyring.path, |bytes| {
                    (bytes == keyring.shown).then(|| keyring.own.clone())
                })
            }))
            .collect::<io::Result<()>>();
        done.map_err(|error| OpError::internal(&error))
    }
}

/// The files of keyrings in an image, links followed.
fn entries_of_keyrings(view: &Rootfs) -> Vec<Entry> {
    let mut paths = BTreeSet::from([TreePath::from(KEYRING)]);
    for layer in view.layers() {
        let in_folders = layer.entries().iter().filter(|entry| {
            let path = entry.path.as_bytes();
            let is_in = |folder: &str| {
                let rest = path.strip_prefix(folder.as_bytes());
                let name = rest.and_then(|rest| rest.strip_prefix(b"/"));
                name.is_some_and(|name| !name.contains(&b'/'))
            };
            KEYRINGS.iter().any(|folder| is_in(folder))
                && KEYRING_ENDS
                    .iter()
                    .any(|end| path.ends_with(end.as_bytes()))
        });
        paths.extend(in_folders.map(|entry| entry.path.clone()));
    }
    let found = paths
        .iter()
        .filter_map(|path| view.resolve(path, true).ok()?.entry);
    let files = found.filter(|entry| matches!(entry.node, Node::File { .. }));
    // Several names may lead to one file.
    let files: BTreeMap<TreePath, Entry> = files.map(|entry| (entry.path.clone(), entry)).collect();
    files.into_values().collect()
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

/// Puts what `change` makes of a file below `upper` into its place, if it is a file and there is something to change.
/// The step made what is there: no link is followed, and nothing but a regular file is looked into.
fn rewrite(
    upper: &Path,
    path: &TreePath,
    change: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(upper, flags, Mode::empty())?;
    let opened = rustix::fs::openat2(
        &root,
        path.as_bytes(),
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
    let Some(kept) = change(&bytes) else {
        return Ok(());
    };
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_is_taken_out_of_files_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a/bundle");
        let bundle = TreePath::from("a/bundle");
        let take_out = |upper: &Path| {
            rewrite(upper, &bundle, |bytes| {
                let text = String::from_utf8_lossy(bytes).replace("own\n", "");
                (text.len() < bytes.len()).then(|| text.into())
            })
        };
        take_out(folder.path()).expect("nothing there");
        std::fs::create_dir(folder.path().join("a")).expect("made");
        std::fs::write(&file, "one\nown\ntwo\nown\n").expect("written");
        take_out(folder.path()).expect("taken out");
        let read = || std::fs::read_to_string(&file).expect("read");
        assert_eq!(read(), "one\ntwo\n");
        // What a step links to is not its own.
        let outside = tempfile::tempdir().expect("a folder");
        std::fs::write(outside.path().join("bundle"), "own\n").expect("written");
        std::fs::remove_dir_all(folder.path().join("a")).expect("removed");
        std::os::unix::fs::symlink(outside.path(), folder.path().join("a")).expect("linked");
        take_out(folder.path()).expect("left alone");
        assert_eq!(read(), "own\n");
    }
}
