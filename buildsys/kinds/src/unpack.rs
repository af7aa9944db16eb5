//! ADD of archives: what a tar holds, unpacked at the destination without any file being written.
//!
//! The rules are those of BuildKit, which unpacks with the destination as the root: `..` and absolute paths stay
//! in it, links are followed inside it, folders are merged, and everything else replaces what is there.

use std::collections::BTreeMap;

use tbuild_realise::OpError;
use tbuild_store_local::means_else;
use tbuild_tree::{Entry, Node, SOURCE_DATE_EPOCH, TreePath};

use crate::archive::{Archive, Member};
use crate::paste::{Content, Ownership, Paste, Written};

/// How many links a path may lead through (Linux: `MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// What layers below the destination hold, and what of it mattered.
pub(crate) struct Below<'a> {
    /// The entry at a path, links not followed.
    pub get: &'a dyn Fn(&TreePath) -> Option<Entry>,
    /// Archives that were unpacked.
    archives: Vec<String>,
    /// What was found where: it decides what is written.
    seen: BTreeMap<TreePath, String>,
}

impl<'a> Below<'a> {
    /// What `get` shows, with nothing looked at yet.
    pub(crate) fn new(get: &'a dyn Fn(&TreePath) -> Option<Entry>) -> Self {
        Self {
            get,
            archives: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    /// All that decided what was written, as lines of a key.
    pub(crate) fn lines(self) -> Vec<String> {
        self.archives
            .into_iter()
            .chain(self.seen.into_values())
            .collect()
    }

    fn look(&mut self, path: &TreePath) -> Option<Entry> {
        let found = (self.get)(path);
        self.seen.entry(path.clone()).or_insert_with(|| {
            let what = match &found {
                None => "nothing".to_owned(),
                Some(entry) => match &entry.node {
                    Node::Directory => format!("{:o} {}:{}", entry.mode, entry.uid, entry.gid),
                    Node::Symlink { target } => format!("-> {}", String::from_utf8_lossy(target)),
                    _ => "a file".to_owned(),
                },
            };
            format!("{path} {what}")
        });
        found
    }
}

impl Paste<'_> {
    /// Unpacks `archive` at the destination.
    pub(crate) fn unpack(
        &mut self,
        archive: &Archive,
        below: &mut Below<'_>,
    ) -> Result<(), OpError> {
        below.archives.push(format!("{} unpacked", archive.name));
        let root = self.facts.path();
        let own = Ownership {
            owner: self.own.owner,
            mode: None,
        };
        self.make(&root, &own)?;
        for member in &archive.members {
            self.member(archive, member, below).map_err(|problem| {
                OpError::failed_text(format!(
                    "{}: {}: {problem}",
                    archive.name, member.entry.path
                ))
            })?;
        }
        Ok(())
    }

    fn member(
        &mut self,
        archive: &Archive,
        member: &Member,
        below: &mut Below<'_>,
    ) -> Result<(), String> {
        let entry = &member.entry;
        let Some(name) = entry.path.name() else {
            // The destination itself stays as it is.
            return if entry.is_directory() {
                Ok(())
            } else {
                Err("it stands for the root and is no folder".to_owned())
            };
        };
        if let Some(why) = means_else(entry) {
            return Err(format!("it {why}"));
        }
        let folder = self.folder_for(&entry.path.parent().unwrap_or_default(), below)?;
        let target = folder.join(name);
        let mut written = Written {
            entry: Entry {
                path: target.clone(),
                mtime: SOURCE_DATE_EPOCH,
                ..entry.clone()
            },
            content: None,
            file: 0,
            replaces: true,
        };
        match &entry.node {
            Node::Directory => {
                if self
                    .written
                    .get(&target)
                    .is_some_and(|there| !there.entry.is_directory())
                {
                    // What it replaces had replaced all that lay here before.
                    written.entry.opaque = true;
                } else if let Some(there) = self.written.get(&target) {
                    written.entry.opaque = there.entry.opaque;
                }
            }
            Node::File { .. } => {
                written.content = Some(Content::Blob(archive.tar, member.offset));
                self.files += 1;
                written.file = self.files;
            }
            Node::Hardlink { target: first } => {
                let at = self.folder_of(first, below)?;
                let there = self
                    .written
                    .get(&at)
                    .filter(|there| !there.entry.is_directory());
                let there =
                    there.ok_or_else(|| format!("it links to {first}, which it does not hold"))?;
                if at == target {
                    return Ok(());
                }
                written = there.clone();
                written.entry.path.clone_from(&target);
            }
            _ => {}
        }
        if let Some(owner) = self.own.owner {
            (written.entry.uid, written.entry.gid) = owner;
        }
        if !written.entry.is_directory() {
            self.remove_below(&target);
        }
        self.written.insert(target, written);
        Ok(())
    }

    fn remove_below(&mut self, path: &TreePath) {
        let below = self.written.range(path.clone()..).map(|(at, _)| at);
        let gone: Vec<TreePath> = below
            .take_while(|at| at.lies_below(path))
            .cloned()
            .collect();
        for at in gone {
            self.written.remove(&at);
        }
    }

    /// What is at `path`: written by now, or in the layers below.
    fn at(&self, path: &TreePath, below: &mut Below<'_>) -> Option<Entry> {
        if let Some(written) = self.written.get(path) {
            return Some(written.entry.clone());
        }
        let mut above = path.parent();
        while let Some(folder) = above {
            if let Some(written) = self.written.get(&folder)
                && (written.entry.opaque || !written.entry.is_directory())
            {
                return None;
            }
            above = folder.parent();
        }
        below.look(path)
    }

    /// Where `path` of an archive is, links on the way followed and not itself; nothing is made.
    fn folder_of(&mut self, path: &TreePath, below: &mut Below<'_>) -> Result<TreePath, String> {
        let parent = self.folder_for(&path.parent().unwrap_or_default(), below)?;
        Ok(parent.join(path.name().unwrap_or_default()))
    }

    /// The folder at `path` of an archive, links followed with the destination as their root; it is made, with
    /// what leads to it, where it is missing.
    fn folder_for(&mut self, path: &TreePath, below: &mut Below<'_>) -> Result<TreePath, String> {
        let root = self.facts.path();
        // Parts still to go, the next one last, and whether a link said so.
        let mut todo: Vec<(Vec<u8>, bool)> = path
            .components()
            .map(|part| (part.to_vec(), false))
            .collect();
        todo.reverse();
        let mut at = root.clone();
        let mut links = 0;
        while let Some((part, linked)) = todo.pop() {
            if part == b".." {
                if at != root {
                    at = at.parent().unwrap_or_default();
                }
                continue;
            }
            let next = at.join(&part);
            match self.at(&next, below) {
                Some(Entry {
                    node: Node::Symlink { target },
                    ..
                }) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err("too many levels of symbolic links".to_owned());
                    }
                    if target.starts_with(b"/") {
                        at = root.clone();
                    }
                    let parts = target.rsplit(|byte| *byte == b'/');
                    let parts = parts.filter(|part| !part.is_empty() && *part != b".");
                    todo.extend(parts.map(|part| (part.to_vec(), true)));
                }
                Some(entry) if entry.is_directory() => {
                    self.repeat(entry);
                    at = next;
                }
                Some(_) => return Err(format!("{next} is no folder")),
                None if linked => {
                    return Err(format!(
                        "a link on its way leads to {next}, which is not there"
                    ));
                }
                None => {
                    let made = Entry::new(next.clone(), 0o755, Node::Directory);
                    self.repeat(made);
                    at = next;
                }
            }
        }
        Ok(at)
    }

    /// Writes a folder that something is put into, if it is not written yet: as it is.
    fn repeat(&mut self, entry: Entry) {
        self.written
            .entry(entry.path.clone())
            .or_insert_with(|| Written {
                entry: Entry {
                    mtime: SOURCE_DATE_EPOCH,
                    ..entry
                },
                content: None,
                file: 0,
                replaces: true,
            });
    }
}
