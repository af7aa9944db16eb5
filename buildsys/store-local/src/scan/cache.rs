//! The stat cache's file.
//!
//! Numbers are little-endian. One file for each scanned folder and filter:
//!
//! ```text
//! "tbstat2\n" | checksum u64 of all that follows | filter id [32] | number of folders u32
//! | offset of each folder u32... | folders
//! folder: number of members u32 | digest [32] | members, sorted by name
//! member: name length u16 | kind u8 | flags u8 | name | what the kind says
//!   0 file:    stat key | digest [32]
//!   1 folder:  mode u32 | number of the folder u32
//!   2 symlink: stat key | length of the target u32 | target
//!   3 skipped: nothing
//!   4 pipe:    mode u32
//! stat key: mode u32 | size u64 | mtime i64 | ctime i64 (both in ns) | inode u64
//! ```
//!
//! The scanned folder is folder 0. The file is read in one go and used where it lies: a walk goes through a
//! folder's members and its cached members side by side, and copies what is unchanged.

use std::fs;
use std::path::{Path, PathBuf};

use tbuild_digest::{Encoder, Sha256, TreeDigest};
use tbuild_store::StoreError;

use super::Modes;
use super::file::StatKey;
use crate::{LocalStore, io};

const MAGIC: &[u8; 8] = b"tbstat2\n";
const HEADER: usize = 8 + 8 + 32 + 4;

/// How many filters of one folder are remembered.
const FILTERS: usize = 8;

/// A member's kind, as its record says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File = 0,
    Folder = 1,
    Symlink = 2,
    Skipped = 3,
    Pipe = 4,
}

/// The file may have changed unseen since it was hashed.
pub const RACY: u8 = 1;
/// A folder that is kept only for what is below it.
pub const DESCEND: u8 = 2;
/// Of something skipped: it is a folder.
pub const IS_FOLDER: u8 = 4;

/// Where the caches of one scanned folder are.
pub struct StatCache<'a> {
    store: &'a LocalStore,
    folder: PathBuf,
    filter_id: Sha256,
}

impl<'a> StatCache<'a> {
    /// Filters of one folder learn of each other, whose digests of unchanged folders hold for all; those of other
    /// permissions do not.
    pub fn of(store: &'a LocalStore, root: &Path, modes: Modes, filter_id: &Sha256) -> Self {
        let mut encoder = Encoder::new();
        encoder.bytes(root.as_os_str().as_encoded_bytes());
        if modes == Modes::Git {
            encoder.bytes(b"git");
        }
        let name = encoder.finish().hex();
        Self {
            store,
            folder: store.layout().path("statcache").join(name),
            filter_id: *filter_id,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(self.filter_id.hex())
    }

    /// What is known: under this filter, or else what the last other filter saw, for the digests alone.
    pub fn load(&self) -> Result<CacheFile, StoreError> {
        if let Some(bytes) = io::read(&self.path())?
            && let Some(file) = CacheFile::parse(bytes, &self.filter_id)
        {
            return Ok(file);
        }
        for path in self.by_age()?.into_iter().rev() {
            if let Some(bytes) = io::read(&path)?
                && let Some(file) = CacheFile::parse(bytes, &self.filter_id)
            {
                return Ok(file);
            }
        }
        Ok(CacheFile::empty())
    }

    /// Replaces what is known. `existed`: a file of this filter was there before.
    pub fn save(&self, bytes: &[u8], existed: bool) -> Result<(), StoreError> {
        self.store.replace(&self.path(), bytes)?;
        if !existed {
            let files = self.by_age()?;
            for old in &files[..files.len().saturating_sub(FILTERS)] {
                io::remove_file(old)?;
            }
        }
        Ok(())
    }

    /// The files of all filters, oldest first.
    fn by_age(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut files = Vec::new();
        for name in io::names(&self.folder)? {
            let path = self.folder.join(name);
            if let Ok(modified) = fs::metadata(&path).and_then(|metadata| metadata.modified()) {
                files.push((modified, path));
            }
        }
        files.sort();
        Ok(files.into_iter().map(|(_, path)| path).collect())
    }
}

/// A cache file in memory.
pub struct CacheFile {
    bytes: Vec<u8>,
    folders: usize,
    same_filter: bool,
}

/// A folder in a cache file.
#[derive(Debug, Clone, Copy)]
pub struct CachedFolder {
    /// The digest of the folder's content.
    pub digest: TreeDigest,
    members: usize,
    at: usize,
}

/// A member in a cache file.
#[derive(Debug, Clone, Copy)]
pub struct CachedMember<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// What it is.
    pub kind: Kind,
    /// [`RACY`] and the like.
    pub flags: u8,
    /// Where its record begins.
    pub at: usize,
    /// What its kind says.
    pub body: &'a [u8],
}

impl CacheFile {
    /// Nothing known.
    pub fn empty() -> Self {
        Self {
            bytes: Vec::new(),
            folders: 0,
            same_filter: false,
        }
    }

    /// Takes a file's bytes unless they are damaged.
    fn parse(bytes: Vec<u8>, filter_id: &Sha256) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        if header[..8] != *MAGIC || header[8..16] != checksum(&bytes[16..]).to_le_bytes() {
            return None;
        }
        let folders = number(&header[48..52])? as usize;
        (folders > 0 && bytes.len() >= HEADER + folders * 4).then_some(())?;
        let same_filter = header[16..48] == filter_id.0;
        Some(Self {
            bytes,
            folders,
            same_filter,
        })
    }

    /// Whether the verdicts in it are those of the filter that is asked about.
    pub fn is_ours(&self) -> bool {
        self.same_filter
    }

    /// The folder of this number.
    pub fn folder(&self, id: usize) -> Option<CachedFolder> {
        if id >= self.folders {
            return None;
        }
        let offset = self.bytes.get(HEADER + id * 4..)?.get(..4)?;
        let at = number(offset)? as usize;
        let head = self.bytes.get(at..)?.get(..36)?;
        Some(CachedFolder {
            members: number(&head[..4])? as usize,
            digest: TreeDigest(Sha256(head[4..].try_into().ok()?)),
            at: at + 36,
        })
    }

    /// The members of a folder, in order.
    pub fn members(&self, folder: Option<CachedFolder>) -> Members<'_> {
        Members {
            bytes: &self.bytes,
            left: folder.map_or(0, |folder| folder.members),
            at: folder.map_or(0, |folder| folder.at),
        }
    }

    /// The member whose record begins at `at`.
    pub fn member(&self, at: usize) -> Option<CachedMember<'_>> {
        Members {
            bytes: &self.bytes,
            left: 1,
            at,
        }
        .next()
    }
}

/// Iterates over cached members.
pub struct Members<'a> {
    bytes: &'a [u8],
    left: usize,
    at: usize,
}

impl<'a> Iterator for Members<'a> {
    type Item = CachedMember<'a>;

    fn next(&mut self) -> Option<CachedMember<'a>> {
        self.left = self.left.checked_sub(1)?;
        let record = self.bytes.get(self.at..)?;
        let (head, rest) = record.split_at_checked(4)?;
        let (name, rest) =
            rest.split_at_checked(usize::from(u16::from_le_bytes([head[0], head[1]])))?;
        let (kind, len) = match head[2] {
            0 => (Kind::File, StatKey::LEN + 32),
            1 => (Kind::Folder, 8),
            2 => {
                let len = rest.get(StatKey::LEN..StatKey::LEN + 4)?;
                (Kind::Symlink, StatKey::LEN + 4 + number(len)? as usize)
            }
            3 => (Kind::Skipped, 0),
            4 => (Kind::Pipe, 4),
            _ => return None,
        };
        let member = CachedMember {
            name,
            kind,
            flags: head[3],
            at: self.at,
            body: rest.get(..len)?,
        };
        self.at += 4 + name.len() + len;
        Some(member)
    }
}

impl CachedMember<'_> {
    /// The stat key of a file or a link.
    pub fn key(&self) -> Option<StatKey> {
        matches!(self.kind, Kind::File | Kind::Symlink).then_some(())?;
        StatKey::parse(self.body)
    }

    /// The digest of a file's content.
    pub fn digest(&self) -> Option<Sha256> {
        let digest = self.body.get(StatKey::LEN..StatKey::LEN + 32)?;
        digest.try_into().ok().map(Sha256)
    }

    /// Where a link points.
    pub fn target(&self) -> Option<&[u8]> {
        self.body.get(StatKey::LEN + 4..)
    }

    /// A named pipe's mode.
    pub fn pipe(&self) -> Option<u32> {
        (self.kind == Kind::Pipe).then_some(())?;
        number(self.body)
    }

    /// A folder's mode and number.
    pub fn folder(&self) -> Option<(u32, usize)> {
        (self.kind == Kind::Folder).then_some(())?;
        let mode = number(self.body.get(..4)?)?;
        Some((mode, number(self.body.get(4..8)?)? as usize))
    }
}

/// Collects a new cache file.
pub struct CacheWriter {
    bytes: Vec<u8>,
}

impl CacheWriter {
    /// Starts a file for `folders` folders.
    pub fn new(filter_id: &Sha256, folders: usize, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity + HEADER + folders * 4);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&filter_id.0);
        bytes.extend_from_slice(&(folders as u32).to_le_bytes());
        bytes.resize(HEADER + folders * 4, 0);
        Self { bytes }
    }

    /// Starts the folder of this number.
    pub fn folder(&mut self, id: usize, members: usize, digest: &TreeDigest) {
        let at = (self.bytes.len() as u32).to_le_bytes();
        self.bytes[HEADER + id * 4..][..4].copy_from_slice(&at);
        self.bytes
            .extend_from_slice(&(members as u32).to_le_bytes());
        self.bytes.extend_from_slice(&digest.0.0);
    }

    /// Adds a file.
    pub fn file(&mut self, name: &[u8], flags: u8, key: &StatKey, digest: &Sha256) {
        self.head(name, 0, flags);
        key.write(&mut self.bytes);
        self.bytes.extend_from_slice(&digest.0);
    }

    /// Adds a folder.
    pub fn subfolder(&mut self, name: &[u8], flags: u8, mode: u32, id: usize) {
        self.head(name, 1, flags);
        self.bytes.extend_from_slice(&mode.to_le_bytes());
        self.bytes.extend_from_slice(&(id as u32).to_le_bytes());
    }

    /// Adds a link.
    pub fn symlink(&mut self, name: &[u8], flags: u8, key: &StatKey, target: &[u8]) {
        self.head(name, 2, flags);
        key.write(&mut self.bytes);
        self.bytes
            .extend_from_slice(&(target.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(target);
    }

    /// Adds a named pipe.
    pub fn pipe(&mut self, name: &[u8], mode: u32) {
        self.head(name, 4, 0);
        self.bytes.extend_from_slice(&mode.to_le_bytes());
    }

    /// Adds a member of another cache file that names no folder.
    pub fn copy(&mut self, member: &CachedMember<'_>) {
        self.head(member.name, member.kind as u8, member.flags);
        self.bytes.extend_from_slice(member.body);
    }

    /// Adds what the filter left out.
    pub fn skipped(&mut self, name: &[u8], flags: u8) {
        self.head(name, 3, flags);
    }

    fn head(&mut self, name: &[u8], kind: u8, flags: u8) {
        self.bytes
            .extend_from_slice(&(name.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(&[kind, flags]);
        self.bytes.extend_from_slice(name);
    }

    /// The file; none if it grew past what its offsets can say.
    pub fn finish(mut self) -> Option<Vec<u8>> {
        u32::try_from(self.bytes.len()).ok()?;
        let sum = checksum(&self.bytes[16..]).to_le_bytes();
        self.bytes[8..16].copy_from_slice(&sum);
        Some(self.bytes)
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_le_bytes)
}

/// Tells a file that a crash of the machine damaged; no more than that is asked of it, and it must not take
/// time: four lanes of multiply and rotate.
fn checksum(bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x9E37_79B1_85EB_CA87;
    let mix = |state: u64, word: u64| (state ^ word).wrapping_mul(PRIME).rotate_left(29);
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    let mut lanes = [1, 2, 3, bytes.len() as u64];
    let mut blocks = bytes.chunks_exact(32);
    for block in &mut blocks {
        for (lane, part) in lanes.iter_mut().zip(block.chunks_exact(8)) {
            *lane = mix(*lane, word(part));
        }
    }
    let tail = blocks.remainder().chunks(8).map(word);
    tail.chain(lanes).fold(0, mix)
}
