//! From pieces of folders to a tree, its digests, and the next cache.

use std::sync::Arc;

use tbuild_digest::{Sha256, TreeDigest};
use tbuild_tree::{Entry, Node, Tree, TreeError, folder_digest};

use super::Scan;
use super::cache::{CacheFile, CacheWriter, DESCEND, IS_FOLDER, RACY};
use super::walk::{Item, Walked, WalkedFolder};

/// A finished scan.
pub struct Assembled {
    pub scan: Scan,
    /// The next cache file, where the known one does not hold.
    pub rewritten: Option<Vec<u8>>,
}

/// A folder whose members are being put in order.
struct Frame {
    id: u32,
    pieces: std::vec::IntoIter<Open>,
    open: Option<Open>,
    /// Items that are done, kept for the cache.
    items: Vec<Item>,
    /// Where its own members begin on the stack of members.
    members: usize,
    /// Where it stands among the folders with digests; none for the scanned folder.
    place: Option<usize>,
    /// It is there only for what is below it.
    descend: bool,
    changed: bool,
    cached: Option<TreeDigest>,
}

struct Open {
    items: std::vec::IntoIter<Item>,
    entries: std::vec::IntoIter<Entry>,
}

/// A member that is part of the tree: the index of its entry, and its number where it is a folder.
type Member = (u32, Option<u32>);

struct Assembly<'a> {
    walked: Vec<WalkedFolder>,
    known: &'a CacheFile,
    writer: Option<CacheWriter>,
    entries: Vec<Entry>,
    members: Vec<Member>,
    digests: Vec<TreeDigest>,
    folders: Vec<(u32, TreeDigest)>,
}

/// Puts what was walked in order. Depth first on a list of its own: how deep folders go is not ours to say.
pub fn assemble(
    walked: Walked,
    known: &CacheFile,
    filter_id: &Sha256,
) -> Result<Assembled, TreeError> {
    let stats = walked.stats;
    let count = walked.folders.len();
    let rewrite = !known.is_ours() || walked.folders.iter().any(|folder| folder.changed);
    let pieces = walked.folders.iter().flat_map(|folder| &folder.pieces);
    let entries = pieces.map(|piece| piece.entries.len()).sum();
    let mut assembly = Assembly {
        walked: walked.folders,
        known,
        writer: rewrite.then(|| CacheWriter::new(filter_id, count, entries * 112)),
        entries: Vec::with_capacity(entries),
        members: Vec::new(),
        digests: vec![TreeDigest(Sha256([0; 32])); count],
        folders: Vec::with_capacity(count),
    };
    assembly.run();
    let digest = assembly.digests[0];
    let Assembly {
        entries,
        folders,
        writer,
        ..
    } = assembly;
    Ok(Assembled {
        scan: Scan {
            tree: Arc::new(Tree::new(entries)?),
            digest,
            stats,
            folders,
        },
        rewritten: writer.and_then(CacheWriter::finish),
    })
}

impl Assembly<'_> {
    fn run(&mut self) {
        let mut frames = vec![self.frame(0, None, false)];
        while let Some(frame) = frames.last_mut() {
            if let Some((child, descend)) = self.advance(frame) {
                let place = self.folders.len();
                let index = (self.entries.len() - 1) as u32;
                self.folders.push((index, TreeDigest(Sha256([0; 32]))));
                let next = self.frame(child, Some(place), descend);
                frames.push(next);
                continue;
            }
            let Some(done) = frames.pop() else { break };
            let changed = self.finish(&done);
            if let Some(parent) = frames.last_mut() {
                parent.changed |= changed;
            }
        }
    }

    fn frame(&mut self, id: u32, place: Option<usize>, descend: bool) -> Frame {
        let folder = std::mem::take(&mut self.walked[id as usize]);
        let pieces: Vec<Open> = folder
            .pieces
            .into_iter()
            .map(|piece| Open {
                items: piece.items.into_iter(),
                entries: piece.entries.into_iter(),
            })
            .collect();
        Frame {
            id,
            pieces: pieces.into_iter(),
            open: None,
            items: Vec::new(),
            members: self.members.len(),
            place,
            descend,
            changed: folder.changed,
            cached: folder.cached.map(|cached| cached.digest),
        }
    }

    /// Takes members up to the next folder, whose number it returns; none at the end.
    fn advance(&mut self, frame: &mut Frame) -> Option<(u32, bool)> {
        loop {
            let Some(open) = &mut frame.open else {
                frame.open = Some(frame.pieces.next()?);
                continue;
            };
            let Some(item) = open.items.next() else {
                frame.open = None;
                continue;
            };
            let mut child = None;
            let has_entry = !matches!(item, Item::SameSkipped(_) | Item::Skipped { .. });
            if has_entry && let Some(entry) = open.entries.next() {
                if let Item::Folder(folder) = &item {
                    child = Some((folder.child, folder.descend));
                }
                let number = child.map(|(number, _)| number);
                self.members.push((self.entries.len() as u32, number));
                self.entries.push(entry);
            }
            if self.writer.is_some() {
                frame.items.push(item);
            }
            if child.is_some() {
                return child;
            }
        }
    }

    /// Everything in the folder is in place: its digest, its cache record. Says whether its content changed.
    fn finish(&mut self, frame: &Frame) -> bool {
        let own = &self.members[frame.members..];
        let digest = match frame.cached {
            Some(cached) if !frame.changed => cached,
            _ => folder_digest(own.iter().map(|(index, child)| {
                let child = child.map(|child| self.digests[child as usize]);
                (&self.entries[*index as usize], child)
            })),
        };
        self.digests[frame.id as usize] = digest;
        if let Some(writer) = &mut self.writer {
            write_folder(writer, self.known, frame, digest, own, &self.entries);
        }
        self.members.truncate(frame.members);
        if let Some(place) = frame.place {
            let index = self.folders[place].0 as usize;
            if frame.descend && index + 1 == self.entries.len() {
                // Nothing below it was kept, so it is not kept either.
                self.entries.pop();
                self.folders.pop();
                self.members.pop();
            } else {
                self.folders[place].1 = digest;
            }
        }
        frame.changed
    }
}

fn write_folder(
    writer: &mut CacheWriter,
    known: &CacheFile,
    frame: &Frame,
    digest: TreeDigest,
    members: &[Member],
    entries: &[Entry],
) {
    writer.folder(frame.id as usize, frame.items.len(), &digest);
    // Folders that were dropped again are not among the members, and need no entry here.
    let mut entries = members
        .iter()
        .map(|(index, _)| &entries[*index as usize])
        .filter(|entry| !entry.is_directory());
    let racy_flag = |racy: bool| if racy { RACY } else { 0 };
    for item in &frame.items {
        match item {
            Item::Same(at) => {
                entries.next();
                copy(writer, known, *at);
            }
            Item::SameSkipped(at) => copy(writer, known, *at),
            Item::Skipped { name, folder } => {
                writer.skipped(name, if *folder { IS_FOLDER } else { 0 });
            }
            Item::Folder(folder) => {
                let flags = if folder.descend { DESCEND } else { 0 };
                writer.subfolder(&folder.name, flags, folder.mode, folder.child as usize);
            }
            Item::File { key, racy } => {
                if let Some(entry) = entries.next()
                    && let Node::File { digest, .. } = &entry.node
                {
                    let name = entry.path.name().unwrap_or_default();
                    writer.file(name, racy_flag(*racy), key, digest);
                }
            }
            Item::Pipe { mode } => {
                if let Some(entry) = entries.next() {
                    writer.pipe(entry.path.name().unwrap_or_default(), *mode);
                }
            }
            Item::Symlink { key, racy } => {
                if let Some(entry) = entries.next()
                    && let Node::Symlink { target } = &entry.node
                {
                    let name = entry.path.name().unwrap_or_default();
                    writer.symlink(name, racy_flag(*racy), key, target);
                }
            }
        }
    }
}

fn copy(writer: &mut CacheWriter, known: &CacheFile, at: u32) {
    if let Some(member) = known.member(at as usize) {
        writer.copy(&member);
    }
}
