//! Where what a COPY takes lands: the destination as it fills up, source by source.
//!
//! Source: the behaviour of BuildKit's file operations; the Dockerfile reference says less. Folders are merged
//! and what is in them replaces what is there; a file never replaces a folder, nor a folder a file. The
//! destination's links are followed, those inside it are not.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tbuild_digest::{BlobDigest, Sha256};
use tbuild_dockerfile::Chmod;
use tbuild_realise::OpError;
use tbuild_tree::{Entry, Node, SOURCE_DATE_EPOCH, Tree, TreePath};

use crate::facts::{Facts, Folder, Found};
use crate::select::Root;
use crate::unpack::Below;

/// Owner and mode that a COPY asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ownership {
    /// User and group of everything copied; none keeps what each has, which for a build context is root.
    pub owner: Option<(u32, u32)>,
    /// The mode of everything copied; none keeps what each has.
    pub mode: Option<Chmod>,
}

impl Ownership {
    /// Owner and mode of a folder that is made on the way.
    fn of_folder(&self) -> ((u32, u32), u32) {
        let exact = self.mode.as_ref().and_then(Chmod::exact);
        (
            self.owner.unwrap_or_default(),
            exact.map_or(0o755, |mode| mode & 0o777),
        )
    }

    fn apply(&self, entry: &mut Entry) {
        if let Some(owner) = self.owner {
            (entry.uid, entry.gid) = owner;
        }
        if let (Some(mode), false) = (&self.mode, matches!(entry.node, Node::Symlink { .. })) {
            entry.mode = mode.apply(entry.mode, entry.is_directory());
        }
    }
}

/// Where the bytes of a written file come from.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// The file at a path of the tree numbered so.
    Tree(usize, TreePath),
    /// A part of a blob of the store, from a byte on.
    Blob(BlobDigest, u64),
    /// These bytes.
    Inline(Arc<[u8]>),
}

/// One name that is written.
#[derive(Clone)]
pub(crate) struct Written {
    pub entry: Entry,
    pub content: Option<Content>,
    /// Names of one number are one file; 0 is no number.
    pub file: u64,
    /// Whether it replaces whatever layers below have at its place.
    pub replaces: bool,
}

/// A destination.
pub(crate) struct Paste<'a> {
    pub facts: &'a Facts,
    /// The folders of lower layers at paths that are only led through.
    led: &'a [Folder],
    pub own: &'a Ownership,
    /// Whether the destination has to be a folder.
    folder: bool,
    pub written: BTreeMap<TreePath, Written>,
    /// Numbers of files that are taken.
    pub files: u64,
}

/// What is written: the layer's tree, and where its files' bytes are.
pub(crate) type Layer = (Tree, HashMap<TreePath, Content>);

impl<'a> Paste<'a> {
    /// An empty one; `dest` is the destination as it is written in the Dockerfile, made absolute.
    pub(crate) fn new(dest: &str, facts: &'a Facts, led: &'a [Folder], own: &'a Ownership) -> Self {
        Self {
            facts,
            led,
            own,
            folder: dest.ends_with('/') || dest.ends_with("/."),
            written: BTreeMap::new(),
            files: 0,
        }
    }

    /// Whether nothing was written at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// What lies at the destination by now.
    fn found(&self) -> Found {
        match self.written.get(&self.facts.path()) {
            Some(written) if written.entry.is_directory() => Found::Folder,
            Some(_) => Found::Other,
            None => self.facts.found,
        }
    }

    /// Makes the folder `path`, at or above the destination, and those that lead there.
    pub(crate) fn make(&mut self, path: &TreePath, own: &Ownership) -> Result<(), OpError> {
        if *path == self.facts.path() && self.found() == Found::Other {
            return Err(OpError::failed_text(format!("{path} is a file, no folder")));
        }
        let (owner, mode) = own.of_folder();
        for entry in self.facts.lead_to(path, owner, mode) {
            self.written.entry(entry.path.clone()).or_insert(Written {
                entry,
                content: None,
                file: 0,
                replaces: true,
            });
        }
        Ok(())
    }

    /// Where a single file named `name` goes, with the folders made that it needs.
    fn target(&mut self, name: &TreePath) -> Result<TreePath, OpError> {
        let root = self.facts.path();
        let own = self.own;
        if self.folder {
            self.make(&root, own)?;
        }
        if self.found() == Found::Folder {
            self.make(&root, own)?;
            return Ok(root.join_path(name));
        }
        self.make(&root.parent().unwrap_or_default(), own)?;
        Ok(root)
    }

    /// Copies one match of a source. `tree` is the one that it was taken of, by its number.
    pub(crate) fn copy(&mut self, root: &Root, tree: &Tree, number: usize) -> Result<(), OpError> {
        let at = self.facts.path();
        let own = self.own;
        let mut names = Names::of(root, tree);
        match root {
            Root::Single(entry, name) => {
                let target = self.target(name)?;
                self.put(entry, target, (tree, number), &mut names)
            }
            Root::Content(folder) => {
                self.make(&at, own)?;
                for entry in tree.below(folder) {
                    if let Some(rest) = entry.path.below(folder).filter(|rest| !rest.is_root()) {
                        self.put(entry, at.join_path(&rest), (tree, number), &mut names)?;
                    }
                }
                Ok(())
            }
            Root::Part(part) => {
                self.make(&at, own)?;
                for picked in part {
                    let target = at.join_path(&picked.rest);
                    if picked.led {
                        self.lead(&picked.entry, target)?;
                    } else {
                        self.put(&picked.entry, target, (tree, number), &mut names)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// A file of a blob, or of bytes, named `name`.
    pub(crate) fn file(
        &mut self,
        name: &TreePath,
        mode: u32,
        (size, digest): (u64, Sha256),
        content: Content,
    ) -> Result<(), OpError> {
        let target = self.target(name)?;
        let mut entry = Entry::new(target, mode, Node::File { size, digest });
        self.own.apply(&mut entry);
        self.write(Written {
            entry,
            content: Some(content),
            file: 0,
            replaces: false,
        })
    }

    /// A folder that is led through: made as the source has it, or left as it is but for its mode.
    fn lead(&mut self, source: &Entry, target: TreePath) -> Result<(), OpError> {
        let there = self.written.get(&target).map(|written| &written.entry);
        let owner = match there {
            Some(there) if there.is_directory() => Some((there.uid, there.gid)),
            Some(_) => return Err(onto_file(&target)),
            None => self
                .led
                .iter()
                .find(|folder| folder.path.as_bytes() == target.as_bytes())
                .map(|folder| (folder.uid, folder.gid)),
        };
        let mut entry = source.clone();
        entry.path = target;
        entry.mtime = SOURCE_DATE_EPOCH;
        entry.opaque = false;
        match owner {
            Some(owner) => (entry.uid, entry.gid) = owner,
            None => self.own.apply(&mut entry),
        }
        self.write(Written {
            entry,
            content: None,
            file: 0,
            replaces: false,
        })
    }

    fn put(
        &mut self,
        source: &Entry,
        target: TreePath,
        (tree, number): (&Tree, usize),
        names: &mut Names,
    ) -> Result<(), OpError> {
        let mut entry = Entry {
            path: target,
            mtime: SOURCE_DATE_EPOCH,
            opaque: false,
            ..source.clone()
        };
        self.own.apply(&mut entry);
        let (first, linked) = match &source.node {
            Node::Hardlink { target } => (target, true),
            _ => (&source.path, false),
        };
        let mut content = None;
        let mut file = 0;
        if linked || matches!(source.node, Node::File { .. }) {
            let node = if linked {
                let first = tree.get(first).map(|first| first.node.clone());
                first.ok_or_else(|| OpError::Internal {
                    message: format!("{} links to nothing", source.path),
                })?
            } else {
                source.node.clone()
            };
            entry.node = node;
            content = Some(Content::Tree(number, first.clone()));
            file = names.number(first, &mut self.files);
        }
        self.write(Written {
            entry,
            content,
            file,
            replaces: false,
        })
    }

    fn write(&mut self, written: Written) -> Result<(), OpError> {
        let path = &written.entry.path;
        if let Some(there) = self.written.get(path) {
            match (there.entry.is_directory(), written.entry.is_directory()) {
                (true, false) => return Err(onto_folder(path)),
                (false, true) => return Err(onto_file(path)),
                _ => {}
            }
        }
        self.written.insert(path.clone(), written);
        Ok(())
    }

    /// Whether what is written and what the layers below have can stand together: an error names what cannot.
    pub(crate) fn clashes(&self, below: &Below<'_>) -> Result<(), OpError> {
        let root = self.facts.path();
        if self.facts.found != Found::Folder {
            return Ok(());
        }
        // Below what is not there is nothing.
        let mut absent: Option<&TreePath> = None;
        for (path, written) in self.written.range(root.clone()..) {
            if *path == root || absent.is_some_and(|absent| path.lies_below(absent)) {
                continue;
            }
            if !path.lies_below(&root) {
                break;
            }
            let Some(there) = (below.get)(path) else {
                absent = Some(path);
                continue;
            };
            match (there.is_directory(), written.entry.is_directory()) {
                _ if written.replaces => {}
                (true, false) => return Err(onto_folder(path)),
                (false, true) => return Err(onto_file(path)),
                _ => {}
            }
            if !there.is_directory() {
                absent = Some(path);
            }
        }
        Ok(())
    }

    /// The layer.
    pub(crate) fn layer(self) -> Result<Layer, OpError> {
        let mut contents = HashMap::new();
        let mut firsts: HashMap<u64, (TreePath, Sha256)> = HashMap::new();
        let mut entries = Vec::with_capacity(self.written.len());
        for (path, written) in self.written {
            let Written {
                mut entry,
                content,
                file,
                ..
            } = written;
            if let (Node::File { digest, .. }, true) = (&entry.node, file > 0) {
                match firsts.get(&file) {
                    Some((first, same)) if same == digest => {
                        entry.node = Node::Hardlink {
                            target: first.clone(),
                        };
                    }
                    _ => {
                        firsts.insert(file, (path.clone(), *digest));
                    }
                }
            }
            if let (Node::File { .. }, Some(content)) = (&entry.node, content) {
                contents.insert(path, content);
            }
            entries.push(entry);
        }
        let tree = Tree::new(entries).map_err(|error| OpError::internal(&error))?;
        Ok((tree, contents))
    }
}

/// The files of one match of a source that have several names there: second names are those of one match alone,
/// as with BuildKit.
#[derive(Default)]
struct Names(HashMap<TreePath, u64>);

impl Names {
    fn of(root: &Root, tree: &Tree) -> Self {
        fn first(entry: &Entry) -> Option<(TreePath, u64)> {
            match &entry.node {
                Node::Hardlink { target } => Some((target.clone(), 0)),
                _ => None,
            }
        }
        Self(match root {
            Root::Single(..) => HashMap::new(),
            Root::Content(folder) => tree.below(folder).iter().filter_map(first).collect(),
            Root::Part(part) => part
                .iter()
                .filter_map(|picked| first(&picked.entry))
                .collect(),
        })
    }

    /// The number of the file whose first name is `first`: 0 if it has no other.
    fn number(&mut self, first: &TreePath, numbers: &mut u64) -> u64 {
        match self.0.get_mut(first) {
            None => 0,
            Some(known) => {
                if *known == 0 {
                    *numbers += 1;
                    *known = *numbers;
                }
                *known
            }
        }
    }
}

/// The error for a file where a folder is.
fn onto_folder(path: &TreePath) -> OpError {
    OpError::failed_text(format!("cannot copy a file onto the folder {path}"))
}

/// The error for a folder where something else is.
fn onto_file(path: &TreePath) -> OpError {
    OpError::failed_text(format!("cannot copy a folder onto {path}, which is none"))
}
