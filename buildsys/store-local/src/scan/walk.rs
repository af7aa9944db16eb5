//! Walking a folder with several threads.
//!
//! A task is a folder to list, a piece of a large folder to look at, or a large file to hash. Paths are never
//! resolved: everything is opened relative to the folder that it is in. What comes out is pieces of folders
//! in no order; `assemble` puts them in order.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;
use tbuild_digest::Sha256;
use tbuild_tree::{Entry, Node, TreePath};

use super::cache::{CacheFile, CachedFolder};
use super::file::{self, StatKey};
use super::queue::Queue;
use super::{Filter, Modes, ScanError, ScanStats};

/// Members of a folder looked at in one go; larger folders are shared between threads.
pub(super) const PIECE: usize = 256;

/// Files from this many bytes on are hashed as tasks of their own.
pub(super) const LARGE: u64 = 256 * 1024;

/// No record in the cache.
pub(super) const NOWHERE: u32 = u32::MAX;

/// What a walk found.
pub struct Walked {
    /// By number; the scanned folder is 0, and a folder's number is lower than those of the folders in it.
    pub folders: Vec<WalkedFolder>,
    pub stats: ScanStats,
}

/// A folder that was walked.
#[derive(Default)]
pub struct WalkedFolder {
    /// Its members in order, in pieces.
    pub pieces: Vec<Piece>,
    /// What was known of it.
    pub cached: Option<CachedFolder>,
    /// Something in it is not as the cache says, folders in it aside.
    pub changed: bool,
}

/// Some consecutive members of a folder.
pub struct Piece {
    folder: u32,
    index: u32,
    cached: Option<CachedFolder>,
    pub changed: bool,
    /// All members.
    pub items: Vec<Item>,
    /// Those that are part of the tree, in the same order.
    pub entries: Vec<Entry>,
}

/// A member, for the next cache.
pub enum Item {
    /// A file, link or pipe for which the record at this place still holds.
    Same(u32),
    /// Something skipped, for which the record at this place still holds. Has no entry, as all skipped.
    SameSkipped(u32),
    /// Something skipped.
    Skipped { name: Box<[u8]>, folder: bool },
    /// A file.
    File { key: Box<StatKey>, racy: bool },
    /// A link.
    Symlink { key: Box<StatKey>, racy: bool },
    /// A named pipe.
    Pipe { mode: u32 },
    /// A folder.
    Folder(Box<FolderItem>),
}

/// A folder as a member of another.
pub struct FolderItem {
    pub name: Box<[u8]>,
    pub mode: u32,
    /// Its number.
    pub child: u32,
    /// Whether it is there only for what is below it.
    pub descend: bool,
}

pub(super) enum Task {
    /// List the member `index` of `parent`, or the scanned folder itself.
    Folder {
        parent: Option<(Arc<Folder>, usize)>,
        id: u32,
        path: TreePath,
        cached: Option<CachedFolder>,
    },
    /// Look at a piece of a folder.
    Piece(Arc<Folder>, usize),
    /// Hash a large file, whose entry and item are at these places of its piece.
    Hash {
        folder: Arc<Folder>,
        member: usize,
        item: usize,
        entry: usize,
    },
}

/// A folder that was listed.
pub(super) struct Folder {
    pub id: u32,
    pub fd: OwnedFd,
    pub path: TreePath,
    pub cached: Option<CachedFolder>,
    /// All names, each ended by NUL.
    pub names: Vec<u8>,
    pub members: Vec<Member>,
    /// The cache knows members that are not there any more.
    pub shrunk: bool,
}

pub(super) struct Member {
    pub at: u32,
    pub len: u16,
    pub kind: FileType,
    /// Where its record is in the cache.
    pub cached: u32,
}

impl Folder {
    pub fn name(&self, member: &Member) -> &[u8] {
        &self.names[member.at as usize..][..usize::from(member.len)]
    }

    pub fn c_name(&self, member: &Member) -> &CStr {
        let bytes = &self.names[member.at as usize..][..=usize::from(member.len)];
        CStr::from_bytes_with_nul(bytes).unwrap_or_default()
    }
}

/// A large file that was hashed after its piece was done.
pub(super) struct Late {
    pub folder: u32,
    pub piece: usize,
    pub item: usize,
    pub entry: usize,
    pub digest: Sha256,
    pub key: StatKey,
    pub racy: bool,
}

pub(super) struct Walk<'a> {
    pub root: &'a Path,
    pub filter: &'a Filter<'a>,
    pub modes: Modes,
    pub known: &'a CacheFile,
    pub start: i64,
    pub next: AtomicU32,
    pub queue: Queue<Task>,
    pub failed: Mutex<Option<ScanError>>,
}

/// One thread's own.
pub(super) struct Worker<'a> {
    pub walk: &'a Walk<'a>,
    pub listing: Vec<u8>,
    pub buffer: Vec<u8>,
    pub more: Vec<Task>,
    pub pieces: Vec<Piece>,
    pub late: Vec<Late>,
    pub stats: ScanStats,
}

/// Walks `root`.
pub fn walk(
    root: &Path,
    filter: &Filter<'_>,
    modes: Modes,
    known: &CacheFile,
    threads: usize,
) -> Result<Walked, ScanError> {
    let first = Task::Folder {
        parent: None,
        id: 0,
        path: TreePath::root(),
        cached: known.folder(0),
    };
    let walk = Walk {
        root,
        filter,
        modes,
        known,
        start: file::now(),
        next: AtomicU32::new(1),
        queue: Queue::new(first),
        failed: Mutex::new(None),
    };
    let workers: Vec<Worker<'_>> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|_| scope.spawn(|| Worker::new(&walk).work()))
            .collect();
        let own = Worker::new(&walk).work();
        let others = others.into_iter().filter_map(|other| other.join().ok());
        std::iter::once(own).chain(others).collect()
    });
    let failed = walk
        .failed
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(error) = failed {
        return Err(error);
    }
    let count = walk.next.load(Ordering::Relaxed) as usize;
    Ok(gather(workers, modes, count))
}

/// Sorts the workers' pieces by folder.
fn gather(workers: Vec<Worker<'_>>, modes: Modes, count: usize) -> Walked {
    let mut folders: Vec<WalkedFolder> = Vec::new();
    folders.resize_with(count, WalkedFolder::default);
    let mut stats = ScanStats::default();
    let mut late = Vec::new();
    for worker in workers {
        stats.files += worker.stats.files;
        stats.hashed += worker.stats.hashed;
        stats.bytes_hashed += worker.stats.bytes_hashed;
        late.extend(worker.late);
        for piece in worker.pieces {
            let folder = &mut folders[piece.folder as usize];
            folder.cached = piece.cached;
            folder.changed |= piece.changed;
            folder.pieces.push(piece);
        }
    }
    for folder in &mut folders {
        folder.pieces.sort_by_key(|piece| piece.index);
    }
    for late in late {
        let piece = &mut folders[late.folder as usize].pieces[late.piece];
        piece.entries[late.entry].mode = modes.of(late.key.mode, false);
        piece.entries[late.entry].node = Node::File {
            size: late.key.size,
            digest: late.digest,
        };
        if let Item::File { key, racy } = &mut piece.items[late.item] {
            **key = late.key;
            *racy = late.racy;
        }
    }
    Walked { folders, stats }
}

impl<'a> Worker<'a> {
    fn new(walk: &'a Walk<'a>) -> Self {
        Self {
            walk,
            listing: Vec::new(),
            buffer: Vec::new(),
            more: Vec::new(),
            pieces: Vec::new(),
            late: Vec::new(),
            stats: ScanStats::default(),
        }
    }

    fn work(mut self) -> Self {
        while let Some(task) = self.walk.queue.take() {
            let result = match task {
                Task::Folder {
                    parent,
                    id,
                    path,
                    cached,
                } => self.folder(parent, id, path, cached),
                Task::Piece(folder, index) => self.piece(&folder, index),
                Task::Hash {
                    folder,
                    member,
                    item,
                    entry,
                } => self.hash_late(&folder, member, item, entry),
            };
            if let Err(error) = result {
                let mut failed = self
                    .walk
                    .failed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert(error);
                self.walk.queue.stop();
                break;
            }
            self.walk.queue.done(&mut self.more);
        }
        self
    }

    /// Lists a folder and looks at its first piece.
    fn folder(
        &mut self,
        parent: Option<(Arc<Folder>, usize)>,
        id: u32,
        path: TreePath,
        cached: Option<CachedFolder>,
    ) -> Result<(), ScanError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = match &parent {
            None => rustix::fs::openat(CWD, self.walk.root, flags, Mode::empty()),
            Some((parent, index)) => {
                let name = parent.c_name(&parent.members[*index]);
                rustix::fs::openat(&parent.fd, name, flags | OFlags::NOFOLLOW, Mode::empty())
            }
        };
        drop(parent);
        let fd = match opened {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if id != 0 => {
                // Gone since it was listed: the same as emptied. The next scan sees that it is gone.
                self.pieces.push(Piece::new(id, 0, cached, true));
                return Ok(());
            }
            Err(errno) => return Err(self.fail("open folder", &path, errno)),
        };
        let mut folder = Folder {
            id,
            fd,
            path,
            cached,
            names: Vec::new(),
            members: Vec::new(),
            shrunk: false,
        };
        self.list(&mut folder)?;
        let folder = Arc::new(folder);
        let pieces = folder.members.len().div_ceil(PIECE);
        let others = (1..pieces).rev();
        self.more
            .extend(others.map(|index| Task::Piece(Arc::clone(&folder), index)));
        self.piece(&folder, 0)
    }

    /// Reads the names of a folder, and finds what the cache knows of each.
    fn list(&mut self, folder: &mut Folder) -> Result<(), ScanError> {
        self.listing.reserve(64 * 1024);
        let mut entries = RawDir::new(&folder.fd, self.listing.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                // An already removed folder has nothing in it.
                Err(Errno::NOENT) => break,
                Err(errno) => return Err(self.walk.fail("list", &folder.path, errno)),
            };
            let name = entry.file_name().to_bytes_with_nul();
            let kind = entry.file_type();
            if matches!(name, b".\0" | b"..\0") || kind == FileType::Socket {
                continue;
            }
            folder.members.push(Member {
                at: folder.names.len() as u32,
                len: (name.len() - 1) as u16,
                kind,
                cached: NOWHERE,
            });
            folder.names.extend_from_slice(name);
        }
        let names = &folder.names;
        let name = |member: &Member| &names[member.at as usize..][..usize::from(member.len)];
        folder.members.sort_unstable_by(|a, b| name(a).cmp(name(b)));
        let mut members = folder.members.iter_mut().peekable();
        for cached in self.walk.known.members(folder.cached) {
            while members
                .next_if(|member| name(member) < cached.name)
                .is_some()
            {}
            match members.next_if(|member| name(member) == cached.name) {
                Some(member) => member.cached = cached.at as u32,
                None => folder.shrunk = true,
            }
        }
        Ok(())
    }

    /// Looks at one piece of a folder's members.
    fn piece(&mut self, folder: &Arc<Folder>, index: usize) -> Result<(), ScanError> {
        let mut piece = Piece::new(folder.id, index as u32, folder.cached, folder.shrunk);
        // Without a known folder there is nothing that could be as it was.
        piece.changed |= folder.cached.is_none();
        let first = index * PIECE;
        let members = folder.members.len().min(first + PIECE) - first;
        piece.items.reserve_exact(members);
        piece.entries.reserve_exact(members);
        for at in first..first + members {
            self.member(folder, at, &mut piece)?;
        }
        self.pieces.push(piece);
        Ok(())
    }

    pub fn fail(&self, what: &'static str, path: &TreePath, errno: Errno) -> ScanError {
        self.walk.fail(what, path, errno)
    }
}

impl Walk<'_> {
    pub fn absolute(&self, path: &TreePath) -> PathBuf {
        self.root.join(std::ffi::OsStr::from_bytes(path.as_bytes()))
    }

    pub fn fail(&self, what: &'static str, path: &TreePath, errno: Errno) -> ScanError {
        ScanError::Io {
            what,
            path: self.absolute(path),
            source: errno.into(),
        }
    }
}

impl Piece {
    fn new(folder: u32, index: u32, cached: Option<CachedFolder>, changed: bool) -> Self {
        Self {
            folder,
            index,
            cached,
            changed,
            items: Vec::new(),
            entries: Vec::new(),
        }
    }
}
