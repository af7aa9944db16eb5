//! Looking at one member of a folder: is it as it was, and what is it?

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::FileType;
use rustix::io::Errno;
use tbuild_digest::Sha256;
use tbuild_tree::{Entry, Node, TreePath};

use super::cache::{CachedMember, DESCEND, IS_FOLDER, Kind, RACY};
use super::file::{self, Hashed, StatKey};
use super::walk::{
    Folder, FolderItem, Item, LARGE, Late, Member, NOWHERE, PIECE, Piece, Task, Worker,
};
use super::{ScanError, Verdict};

impl Worker<'_> {
    pub fn member(
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
            FileType::Fifo => {
                pipe(
                    path,
                    self.walk.modes.of(key.mode, false),
                    cached.as_ref(),
                    piece,
                );
                Ok(())
            }
            FileType::Socket => Ok(()),
            other => Err(ScanError::Special {
                path: self.walk.absolute(&path),
                kind: match other {
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
        let mode = self.walk.modes.of(mode, true);
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
                .push(Entry::new(path, self.walk.modes.of(key.mode, false), node));
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
                .push(Entry::new(path, self.walk.modes.of(key.mode, false), node));
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
            .push(Entry::new(path, self.walk.modes.of(key.mode, false), node));
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

    pub fn hash_late(
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
}

/// A named pipe: a mode is all there is to it.
fn pipe(path: TreePath, mode: u32, cached: Option<&CachedMember<'_>>, piece: &mut Piece) {
    let same = cached.filter(|cached| cached.pipe() == Some(mode));
    piece.items.push(if let Some(cached) = same {
        Item::Same(cached.at as u32)
    } else {
        piece.changed = true;
        Item::Pipe { mode }
    });
    piece.entries.push(Entry::new(path, mode, Node::Fifo));
}

impl Piece {
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
