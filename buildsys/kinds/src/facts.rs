//! What COPY and WORKDIR need to know of the layers below: a few facts about one path, never all of them.
//!
//! The facts are in the step's key instead of the layers, so that a rebuilt layer below which leaves them as
//! they were does not rebuild the copy. They are kept by layers and path: an unchanged build reads no index.

use serde::{Deserialize, Serialize};
use tbuild_realise::OpError;
use tbuild_tree::{Entry, Node, TreePath};

use crate::kept::Question;
use crate::{LayerRef, World};

/// The store's space for facts.
const FACTS: &str = "facts";

/// The store's space for folders.
const FOLDERS: &str = "facts-folders";

/// One folder that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Folder {
    /// Its path.
    pub path: String,
    /// Its mode.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl Folder {
    /// The folder as a line of a key.
    pub(crate) fn line(&self) -> String {
        format!("/{} {:o} {}:{}", self.path, self.mode, self.uid, self.gid)
    }
}

/// What lies at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// A folder.
    Folder,
    /// Something else.
    Other,
}

/// The facts about one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The path with links followed.
    pub path: String,
    /// What is there.
    pub found: Found,
    /// The folders on the way that are there, from the top; the last one is the destination itself if it is a
    /// folder.
    pub folders: Vec<Folder>,
}

/// The facts about `path` in `layers`.
pub(crate) fn destination(
    world: &World,
    layers: &[LayerRef],
    path: &TreePath,
) -> Result<Facts, OpError> {
    Question::of_layers(FACTS, layers)
        .about(path.as_bytes())
        .answer(world, || look(world, layers, path))
}

fn look(world: &World, layers: &[LayerRef], path: &TreePath) -> Result<Facts, OpError> {
    let view = world.rootfs(layers)?;
    let resolved = view
        .resolve(path, true)
        .map_err(|error| OpError::failed(&error))?;
    let found = match &resolved.entry {
        None => Found::Nothing,
        Some(entry) if entry.is_directory() => Found::Folder,
        Some(_) => Found::Other,
    };
    let mut folders = Vec::new();
    let mut at = TreePath::root();
    for part in resolved.path.components() {
        at = at.join(part);
        match view.get(&at) {
            Some(entry) if entry.is_directory() => folders.push(folder(&entry)?),
            _ => break,
        }
    }
    Ok(Facts {
        path: text(&resolved.path)?,
        found,
        folders,
    })
}

/// The folders of `layers` among `paths`, which no link is followed to.
pub(crate) fn folders(
    world: &World,
    layers: &[LayerRef],
    paths: &[TreePath],
) -> Result<Vec<Folder>, OpError> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let question = paths
        .iter()
        .fold(Question::of_layers(FOLDERS, layers), |question, path| {
            question.about(path.as_bytes())
        });
    question.answer(world, || {
        let view = world.rootfs(layers)?;
        let there = paths.iter().filter_map(|path| view.get(path));
        there
            .filter(Entry::is_directory)
            .map(|entry| folder(&entry))
            .collect()
    })
}

fn folder(entry: &Entry) -> Result<Folder, OpError> {
    Ok(Folder {
        path: text(&entry.path)?,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
    })
}

fn text(path: &TreePath) -> Result<String, OpError> {
    String::from_utf8(path.as_bytes().to_vec())
        .map_err(|_| OpError::usage(format!("the destination {path} is not UTF-8")))
}

impl Facts {
    /// The resolved destination.
    pub(crate) fn path(&self) -> TreePath {
        TreePath::clean(self.path.as_bytes())
    }

    /// The facts as lines of a key.
    pub(crate) fn lines(&self) -> Vec<String> {
        let found = match self.found {
            Found::Nothing => "nothing there",
            Found::Folder => "a folder",
            Found::Other => "a file",
        };
        let mut lines = vec![format!("/{} {found}", self.path)];
        lines.extend(self.folders.iter().map(Folder::line));
        lines
    }

    /// Entries for the folders that lead to `path`: those that are there as they are (a layer has to repeat
    /// them, or unpacking it alone would change them), those that are not as `mode` owned by `owner`.
    pub(crate) fn lead_to(&self, path: &TreePath, owner: (u32, u32), mode: u32) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut at = TreePath::root();
        for part in path.components() {
            at = at.join(part);
            let there = self
                .folders
                .iter()
                .find(|folder| folder.path.as_bytes() == at.as_bytes());
            let mut entry = Entry::new(at.clone(), mode, Node::Directory);
            (entry.uid, entry.gid) = owner;
            if let Some(folder) = there {
                (entry.mode, entry.uid, entry.gid) = (folder.mode, folder.uid, folder.gid);
            }
            entries.push(entry);
        }
        entries
    }
}
