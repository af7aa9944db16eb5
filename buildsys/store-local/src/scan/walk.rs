//! Walking a folder with several threads.
//!
//! A task is a folder to list, a piece of a large folder to look at, or a large file to hash. Paths are never
//! resolved: everything is opened relative to the folder that it is in. What comes out is pieces of folders
//! in no order; `assemble` puts them in order.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;
use tbuild_digest::Sha256;
use tbuild_tree::{Entry, Node, TreePath};

use super::cache::{CacheFile, CachedFolder, CachedMember, DESCEND, IS_FOLDER, Kind, RACY};
use super::file::{self, Hashed, StatKey};
use super::queue::Queue;
use super::{Filter, ScanError, ScanStats, Verdict};

/// Members of a folder looked at in one go; larger folders are shared between threads.
const PIECE: usize = 256;

/// Files from this many bytes on are hashed as tasks of their own.
const LARGE: u64 = 256 * 1024;

/// No record in the cache.
const NOWHERE: u32 = u32::MAX;

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
    changed: bool,
    /// All members.
    pub items: Vec<Item>,
    /// Those that are part of the tree, in the same order.
    pub entries: Vec<Entry>,
}

/// A member, for the next cache.
pub enum Item {
    /// A file or link for which the record at this place still holds.
    Same(u32),
    /// Something skipped, for which the record at this place still holds. Has no entry, as all skipped.
    SameSkipped(u32),
    /// Something skipped.
    Skipped { name: Box<[u8]>, folder: bool },
    /// A file.
    File { key: Box<StatKey>, racy: bool },
    /// A link.
    Symlink { key: Box<StatKey>, racy: bool },
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

enum Task {
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
struct Folder {
    id: u32,
    fd: OwnedFd,
    path: TreePath,
    cached: Option<CachedFolder>,
    /// All names, each ended by NUL.
    names: Vec<u8>,
    members: Vec<Member>,
    /// The cache knows members that are not there any more.
    shrunk: bool,
}

struct Member {
    at: u32,
    len: u16,
    kind: FileType,
    /// Where its record is in the cache.
    cached: u32,
}

impl Folder {
    fn name(&self, member: &Member) -> &[u8] {
        &self.names[member.at as usize..][..usize::from(member.len)]
    }

    fn c_name(&self, member: &Member) -> &CStr {
        let bytes = &self.names[member.at as usize..][..=usize::from(member.len)];
        CStr::from_bytes_with_nul(bytes).unwrap_or_default()
    }
}

/// A large file that was hashed after its piece was done.
struct Late {
    folder: u32,
    piece: usize,
    item: usize,
    entry: usize,
    digest: Sha256,
    key: StatKey,
    racy: bool,
}

struct Walk<'a> {
    root: &'a Path,
    filter: &'a Filter<'a>,
    known: &'a CacheFile,
    start: i64,
    next: AtomicU32,
    queue: Queue<Task>,
    failed: Mutex<Option<ScanError>>,
}

/// One thread's own.
struct Worker<'a> {
    walk: &'a Walk<'a>,
    listing: Vec<u8>,
    buffer: Vec<u8>,
    more: Vec<Task>,
    pieces: Vec<Piece>,
    late: Vec<Late>,
    stats: ScanStats,
}

/// Walks `root`.
pub fn walk(
    root: &Path,
    filter: &Filter<'_>,
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
    Ok(gather(workers, count))
}

/// Sorts the workers' pieces by folder.
fn gather(workers: Vec<Worker<'_>>, count: usize) -> Walked {
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
        piece.entries[late.entry].mode = late.key.mode & 0o7777;
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

    fn member(
        &mut self,
        folder: &Arc<Folder>,
        at: usize,
        piece: &mut Piece,
    ) -> Result<(), ScanError> {
        let member = &folder.members[at];
        let name = folder.name(member);
        let cached = (member.cached != NOWHERE)
            .then(|| self.walk.known.member(member.cached as usize))
            .flatten();
        let mut key = None;
        let mut is_folder = member.kind == FileType::Directory;
        if member.kind == FileType::Unknown {
            key = self.stat(folder, member)?;
            let Some(key) = key else {
                piece.changed = true;
                return Ok(());
            };
            is_folder = key.file_type() == FileType::Directory;
        }
        let path = folder.path.join(name);
        let mut verdict = self.verdict(&path, is_folder, cached.as_ref());
        if verdict == Verdict::Skip {
            piece.skip(name, is_folder, cached.as_ref());
            return Ok(());
        }
        if key.is_none() {
            key = self.stat(folder, member)?;
        }
        let Some(key) = key else {
            piece.changed = true;
            return Ok(());
        };
        if is_folder != (key.file_type() == FileType::Directory) {
            is_folder = !is_folder;
            verdict = self.verdict(&path, is_folder, None);
            if verdict == Verdict::Skip {
                piece.skip(name, is_folder, None);
                return Ok(());
            }
        }
        match key.file_type() {
            FileType::Directory => {
                let descend = verdict == Verdict::Descend;
                self.subfolder(folder, at, path, key.mode, descend, cached.as_ref(), piece);
                Ok(())
            }
            FileType::RegularFile => self.file(folder, at, path, key, cached.as_ref(), piece),
            FileType::Symlink => self.symlink(folder, at, path, key, cached.as_ref(), piece),
            FileType::Socket => Ok(()),
            other => Err(ScanError::Special {
                path: self.walk.absolute(&path),
                kind: match other {
                    FileType::Fifo => "named pipe",
                    FileType::BlockDevice => "block device",
                    FileType::CharacterDevice => "character device",
                    _ => "file of unknown type",
                },
            }),
        }
    }

    fn stat(&self, folder: &Folder, member: &Member) -> Result<Option<StatKey>, ScanError> {
        file::stat(folder.fd.as_fd(), folder.c_name(member))
            .map_err(|errno| self.fail("inspect", &folder.path.join(folder.name(member)), errno))
    }

    /// What the filter says, or said of the same path.
    fn verdict(
        &self,
        path: &TreePath,
        is_folder: bool,
        cached: Option<&CachedMember<'_>>,
    ) -> Verdict {
        if let Some(cached) = cached
            && self.walk.known.is_ours()
        {
            let was_folder = cached.kind == Kind::Folder || cached.flags & IS_FOLDER != 0;
            if was_folder == is_folder {
                return match cached.kind {
                    Kind::Skipped => Verdict::Skip,
                    _ if cached.flags & DESCEND != 0 => Verdict::Descend,
                    _ => Verdict::Keep,
                };
            }
        }
        match (self.walk.filter)(path, is_folder) {
            Verdict::Descend if !is_folder => Verdict::Skip,
            verdict => verdict,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all that is known of one folder")]
    fn subfolder(
        &mut self,
        folder: &Arc<Folder>,
        at: usize,
        path: TreePath,
        mode: u32,
        descend: bool,
        cached: Option<&CachedMember<'_>>,
        piece: &mut Piece,
    ) {
        let mode = mode & 0o7777;
        let known = cached.and_then(CachedMember::folder);
        let same = cached.is_some_and(|cached| (cached.flags & DESCEND != 0) == descend)
            && known.is_some_and(|(known, _)| known == mode);
        piece.changed |= !same;
        let child = self.walk.next.fetch_add(1, Ordering::Relaxed);
        piece.items.push(Item::Folder(Box::new(FolderItem {
            name: folder.name(&folder.members[at]).into(),
            mode,
            child,
            descend,
        })));
        piece
            .entries
            .push(Entry::new(path.clone(), mode, Node::Directory));
        self.more.push(Task::Folder {
            parent: Some((Arc::clone(folder), at)),
            id: child,
            path,
            cached: known.and_then(|(_, id)| self.walk.known.folder(id)),
        });
    }

    fn file(
        &mut self,
        folder: &Arc<Folder>,
        at: usize,
        path: TreePath,
        key: StatKey,
        cached: Option<&CachedMember<'_>>,
        piece: &mut Piece,
    ) -> Result<(), ScanError> {
        self.stats.files += 1;
        let cached = cached.filter(|cached| cached.kind == Kind::File && cached.key() == Some(key));
        if let Some(cached) = cached
            && cached.flags & RACY == 0
            && let Some(digest) = cached.digest()
        {
            piece.items.push(Item::Same(cached.at as u32));
            let node = Node::File {
                size: key.size,
                digest,
            };
            piece
                .entries
                .push(Entry::new(path, key.mode & 0o7777, node));
            return Ok(());
        }
        if key.size >= LARGE {
            piece.changed = true;
            self.more.push(Task::Hash {
                folder: Arc::clone(folder),
                member: at,
                item: piece.items.len(),
                entry: piece.entries.len(),
            });
            let racy = key.is_racy(self.walk.start);
            piece.items.push(Item::File {
                key: Box::new(key),
                racy,
            });
            let node = Node::File {
                size: key.size,
                digest: Sha256([0; 32]),
            };
            piece
                .entries
                .push(Entry::new(path, key.mode & 0o7777, node));
            return Ok(());
        }
        let Some((digest, key)) = self.hash(folder, at)? else {
            self.stats.files -= 1;
            piece.changed = true;
            return Ok(());
        };
        let racy = key.is_racy(self.walk.start);
        let same = cached
            .filter(|cached| racy && cached.key() == Some(key) && cached.digest() == Some(digest));
        piece.items.push(if let Some(cached) = same {
            Item::Same(cached.at as u32)
        } else {
            piece.changed = true;
            Item::File {
                key: Box::new(key),
                racy,
            }
        });
        let node = Node::File {
            size: key.size,
            digest,
        };
        piece
            .entries
            .push(Entry::new(path, key.mode & 0o7777, node));
        Ok(())
    }

    fn hash(&mut self, folder: &Folder, at: usize) -> Result<Option<(Sha256, StatKey)>, ScanError> {
        const BUFFER: usize = 256 * 1024 + 1;
        self.buffer.resize(BUFFER, 0);
        let name = folder.c_name(&folder.members[at]);
        let path = || folder.path.join(folder.name(&folder.members[at]));
        match file::hash(folder.fd.as_fd(), name, &mut self.buffer) {
            Ok(Hashed::Content(digest, key)) => {
                self.stats.hashed += 1;
                self.stats.bytes_hashed += key.size;
                Ok(Some((digest, key)))
            }
            Ok(Hashed::Gone) => Ok(None),
            Ok(Hashed::Unstable) => Err(ScanError::Unstable(self.walk.absolute(&path()))),
            Err(errno) => Err(self.fail("read", &path(), errno)),
        }
    }

    fn hash_late(
        &mut self,
        folder: &Arc<Folder>,
        member: usize,
        item: usize,
        entry: usize,
    ) -> Result<(), ScanError> {
        let Some((digest, key)) = self.hash(folder, member)? else {
            let path = folder.path.join(folder.name(&folder.members[member]));
            return Err(ScanError::Unstable(self.walk.absolute(&path)));
        };
        self.late.push(Late {
            folder: folder.id,
            piece: member / PIECE,
            item,
            entry,
            digest,
            key,
            racy: key.is_racy(self.walk.start),
        });
        Ok(())
    }

    fn symlink(
        &mut self,
        folder: &Arc<Folder>,
        at: usize,
        path: TreePath,
        key: StatKey,
        cached: Option<&CachedMember<'_>>,
        piece: &mut Piece,
    ) -> Result<(), ScanError> {
        let cached =
            cached.filter(|cached| cached.kind == Kind::Symlink && cached.key() == Some(key));
        if let Some(cached) = cached
            && cached.flags & RACY == 0
            && let Some(target) = cached.target()
        {
            piece.items.push(Item::Same(cached.at as u32));
            let node = Node::Symlink {
                target: target.to_vec(),
            };
            piece.entries.push(Entry::new(path, 0o777, node));
            return Ok(());
        }
        let name = folder.c_name(&folder.members[at]);
        let target = match rustix::fs::readlinkat(&folder.fd, name, Vec::new()) {
            Ok(target) => target.into_bytes(),
            Err(Errno::NOENT | Errno::INVAL) => {
                piece.changed = true;
                return Ok(());
            }
            Err(errno) => return Err(self.fail("read link", &path, errno)),
        };
        let racy = key.is_racy(self.walk.start);
        let same = cached.filter(|cached| racy && cached.target() == Some(target.as_slice()));
        piece.items.push(if let Some(cached) = same {
            Item::Same(cached.at as u32)
        } else {
            piece.changed = true;
            Item::Symlink {
                key: Box::new(key),
                racy,
            }
        });
        piece
            .entries
            .push(Entry::new(path, 0o777, Node::Symlink { target }));
        Ok(())
    }

    fn fail(&self, what: &'static str, path: &TreePath, errno: Errno) -> ScanError {
        self.walk.fail(what, path, errno)
    }
}

impl Walk<'_> {
    fn absolute(&self, path: &TreePath) -> PathBuf {
        self.root.join(std::ffi::OsStr::from_bytes(path.as_bytes()))
    }

    fn fail(&self, what: &'static str, path: &TreePath, errno: Errno) -> ScanError {
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

    fn skip(&mut self, name: &[u8], folder: bool, cached: Option<&CachedMember<'_>>) {
        let same = cached.filter(|cached| {
            cached.kind == Kind::Skipped && (cached.flags & IS_FOLDER != 0) == folder
        });
        self.items.push(if let Some(cached) = same {
            Item::SameSkipped(cached.at as u32)
        } else {
            self.changed = true;
            Item::Skipped {
                name: name.into(),
                folder,
            }
        });
    }
}
