//! Where things lie in the store's folder.
//!
//! ```text
//! oci-layout, index.json     OCI image layout 1.0.0
//! blobs/sha256/<hex>         blobs, read-only files
//! actions/<2 hex>/<hex>      action results, one record each
//! refs/<space>/<name>        references, one record each; the name is escaped
//! snapshots/<diff id hex>/   layers unpacked; the owner alone may look inside, so that a set-uid file
//!                            of an image is no set-uid file for the other users of this machine
//! snapshots-<map>/           the same, unpacked in a user namespace with this map of owners
//! snapshots/<hex>.over.<hex> what of the first layer differs from the second, to lie over its snapshot
//! memory/                    empty, unless layers are unpacked in memory: then a tmpfs of this process's own, with
//!                            `snapshots/` and `tmp/` for them
//! statcache/<root>/<filter>  what the scanner knows of the user's folders
//! scratch/<purpose>/         folders that live and die with the store
//! locks/<name>               files to lock, empty
//! tmp/<pid>-<random>/        what a live process is writing; its owner holds a lock on it
//! quarantine/                blobs whose bytes were not those of their name
//! boot, boot-<map>           which run of the machine the snapshots have been looked after in
//! version                    the number of this layout; written last, so that its presence says "complete"
//! ```

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tbuild_store::StoreError;

use crate::{io, owners};

/// The folder of layers that are unpacked in memory. [`crate::needs_memory`] says when there is need of it; whoever
/// opens the store mounts a tmpfs there first, in a mount namespace of its own.
pub const MEMORY: &str = "memory";

/// Numbers of file systems (statfs(2)).
const TMPFS: rustix::fs::FsWord = 0x0102_1994;
const OVERLAYFS: rustix::fs::FsWord = 0x794c_7630;
const NFS: rustix::fs::FsWord = 0x6969;

/// Whether the file system of a folder, or of the folder that it would be made in, can hold no unpacked layers:
/// the kernel's overlayfs takes no upper folder on it, and whiteouts cannot be made there.
pub fn needs_memory(folder: &Path) -> bool {
    folder
        .ancestors()
        .find_map(|folder| rustix::fs::statfs(folder).ok())
        .is_some_and(|fs| matches!(fs.f_type, OVERLAYFS | NFS))
}

/// The version of the layout. Another one is refused: a store is a cache, and a new folder is cheaper than a
/// migration that is wrong.
pub const VERSION: u32 = 1;

/// Names in the store's folder, the folder that marks a store under creation first.
const FOLDERS: &[(&str, u32)] = &[
    ("tmp", 0o700),
    ("blobs", 0o777),
    ("blobs/sha256", 0o777),
    ("actions", 0o777),
    ("refs", 0o777),
    ("snapshots", 0o700),
    ("statcache", 0o700),
    ("scratch", 0o700),
    ("locks", 0o777),
    ("quarantine", 0o700),
];

/// OCI image spec, "Image Layout": the `oci-layout` file.
const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// OCI image spec, "Image Index", with nothing in it.
const EMPTY_INDEX: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// The store's folder, and the paths in it.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
    /// The folder that layers are unpacked below: the root, or memory.
    unpacked: PathBuf,
    /// The folder of snapshots.
    snapshots: PathBuf,
}

impl Layout {
    /// Opens the layout at `root`, which is made where it is not there or empty. One small read when the
    /// store is already there.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let root = std::path::absolute(root).map_err(|source| io::fail("locate", root, source))?;
        let memory = root.join(MEMORY);
        let is_mounted = rustix::fs::statfs(&memory).is_ok_and(|fs| fs.f_type == TMPFS)
            && rustix::fs::statfs(&root).is_ok_and(|fs| fs.f_type != TMPFS);
        let unpacked = if is_mounted { memory } else { root.clone() };
        let layout = Self {
            snapshots: unpacked.join(owners::snapshots_name()),
            unpacked,
            root,
        };
        let version = layout.path("version");
        match io::read(&version)? {
            Some(found) => layout.check_version(&found)?,
            None => layout.create()?,
        }
        if is_mounted {
            io::make_folder(&layout.unpacked.join("tmp"), 0o700)?;
        }
        if is_mounted || owners::is_mapped() {
            io::make_folder(&layout.snapshots, 0o700)?;
        }
        Ok(layout)
    }

    /// The path of `name` in the store.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The file that says which run of the machine the snapshots have been looked after in.
    pub fn boot(&self) -> PathBuf {
        let map = self
            .snapshots
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix("snapshots"));
        self.path(&format!("boot{}", map.unwrap_or_default()))
    }

    /// The folder of the layers that are unpacked with the owners that this process sees.
    pub fn snapshots(&self) -> &Path {
        &self.snapshots
    }

    /// The folder below which this process writes what is to be a snapshot.
    pub fn stages(&self) -> PathBuf {
        self.unpacked.join("tmp")
    }

    /// The store's folder, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn check_version(&self, found: &[u8]) -> Result<(), StoreError> {
        if found == format!("{VERSION}\n").as_bytes() {
            return Ok(());
        }
        let found = String::from_utf8_lossy(found);
        Err(StoreError::Format {
            path: self.root.clone(),
            why: format!(
                "its version is {:?}, this tbuild reads {VERSION}",
                found.trim_end()
            ),
        })
    }

    /// Makes the layout. Several processes may do so at once, and one that died halfway is completed.
    fn create(&self) -> Result<(), StoreError> {
        std::fs::create_dir_all(&self.root)
            .map_err(|source| io::fail("create folder", &self.root, source))?;
        let names = io::names(&self.root)?;
        // A folder of someone else's is never turned into a store: it is either empty, or what is left of
        // a process that died here.
        if !names.is_empty() && !names.iter().any(|name| name == "tmp" || name == "version") {
            return Err(StoreError::Format {
                path: self.root.clone(),
                why: "it is neither empty nor a store".to_owned(),
            });
        }
        for (name, mode) in FOLDERS {
            io::make_folder(&self.path(name), *mode)?;
        }
        self.write_once("oci-layout", OCI_LAYOUT)?;
        self.write_once("index.json", EMPTY_INDEX)?;
        self.write_once("version", format!("{VERSION}\n").as_bytes())
    }

    fn write_once(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let target = self.path(name);
        if target.exists() {
            return Ok(());
        }
        // Beside the sessions' folders: a process that dies here leaves a file that the next session sweeps.
        let temporary = self
            .path("tmp")
            .join(format!("{name}-{:016x}", rand_u64()?));
        let mut file = io::create(&temporary, 0o666)?;
        file.write_all(bytes)
            .map_err(|source| io::fail("write", &temporary, source))?;
        io::rename(&temporary, &target)
    }
}

/// Eight random bytes, for names that no other process picks.
pub fn rand_u64() -> Result<u64, StoreError> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| StoreError::io("get random bytes", errno.into()))?;
    Ok(u64::from_le_bytes(bytes))
}
