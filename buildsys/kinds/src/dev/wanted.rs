//! The files of a tree or of an image that go into containers.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;

use tbuild_digest::BlobDigest;
use tbuild_realise::{OpError, Output};
use tbuild_tree::{Entry, Node, Rootfs, Tree, TreePath};

use super::there::{Is, Todo};
use crate::content::{open, origin, origin_in_layers};
use crate::select::missing;
use crate::{Built, LayerRef, Place, TreeValue, World};

/// What lies in folders that people edit files in, and is none of these.
const BESIDE: [&[u8]; 3] = [b"__pycache__", b".git", b"node_modules"];

/// A file that is to be in a container.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct File {
    pub is: Is,
    mode: u32,
    size: u64,
    /// Where it is in the whole.
    source: TreePath,
}

/// Files that are to be in containers, by absolute path there.
pub(super) struct Wanted {
    pub files: BTreeMap<String, File>,
    whole: Whole,
}

/// What files are a part of.
enum Whole {
    Tree(Place),
    Image(Vec<LayerRef>, Rootfs),
}

/// The files that lie at the first of each pair of `paths`, which go to the second; of a folder where files are
/// edited only those.
pub(super) fn of(
    world: &World,
    output: &Output,
    paths: &[(String, String)],
    (what, edited): (&str, bool),
) -> Result<Wanted, OpError> {
    if let Some(value) = output.get::<TreeValue>() {
        let view = Rootfs::new(vec![Arc::clone(&value.tree)]);
        return Ok(Wanted {
            files: files(&value.tree, &view, paths, (what, edited))?,
            whole: Whole::Tree(value.place.clone()),
        });
    }
    let image = Built::of(output).and_then(|built| built.here(world));
    let image = image.ok_or_else(|| {
        OpError::usage(format!("{what} has no image for this machine's platform"))
    })?;
    let layers = image.state.layers.clone();
    let view = world.rootfs(&layers)?;
    let tree = view.flatten().map_err(|error| OpError::internal(&error))?;
    Ok(Wanted {
        files: files(&tree, &view, paths, (what, edited))?,
        whole: Whole::Image(layers, view),
    })
}

fn files(
    tree: &Tree,
    view: &Rootfs,
    paths: &[(String, String)],
    (what, edited): (&str, bool),
) -> Result<BTreeMap<String, File>, OpError> {
    let mut files = BTreeMap::new();
    for (path, to) in paths {
        let found = view.resolve(&TreePath::clean(path.as_bytes()), true);
        let found = found.ok().filter(|found| found.entry.is_some());
        let top = found.ok_or_else(|| missing(tree, path, what))?.path;
        for entry in tree.below(&top) {
            let below = entry.path.below(&top).unwrap_or_else(TreePath::root);
            if edited && below.components().any(|name| BESIDE.contains(&name)) {
                continue;
            }
            let Some(file) = file(tree, entry)? else {
                continue;
            };
            files.insert(place(to, &below)?, file);
        }
    }
    Ok(files)
}

/// Where a file goes: what is told to containers line by line has to be one.
fn place(to: &str, below: &TreePath) -> Result<String, OpError> {
    let name = std::str::from_utf8(below.as_bytes()).ok();
    let name = name.filter(|name| !name.contains(['\n', '\\']));
    match name {
        Some("") => Ok(to.to_owned()),
        Some(name) => Ok(format!("{to}/{name}")),
        None => Err(OpError::failed_text(format!(
            "{to}/{below}: names with line breaks, backslashes or in another encoding than UTF-8 are not put into pods"
        ))),
    }
}

/// None for a folder.
fn file(tree: &Tree, entry: &Entry) -> Result<Option<File>, OpError> {
    let first = match &entry.node {
        Node::Hardlink { target } => tree.get(target).unwrap_or(entry),
        _ => entry,
    };
    let (is, size) = match &first.node {
        Node::Directory => return Ok(None),
        Node::File { size, digest } => (Is::File(*digest), *size),
        Node::Symlink { target } => (Is::Link(String::from_utf8_lossy(target).into_owned()), 0),
        _ => {
            let path = &entry.path;
            return Err(OpError::failed_text(format!(
                "{path} is no file, folder or link: it cannot be put into pods"
            )));
        }
    };
    Ok(Some(File {
        is,
        mode: first.mode & 0o777,
        size,
        source: first.path.clone(),
    }))
}

/// What an agent takes, and what is in the container then.
pub(super) struct Parcel {
    /// The archive.
    pub bytes: Vec<u8>,
    /// The files that it holds, as they were read.
    pub sent: Vec<(String, Is)>,
}

impl Wanted {
    /// Paths and what is at them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Is)> + Clone {
        self.files.iter().map(|(path, file)| (path, &file.is))
    }

    /// Packs what is to be done: files below `files`, a list of what is to go, and the list to keep.
    pub(super) fn pack(&self, world: &World, todo: &Todo, list: &str) -> Result<Parcel, OpError> {
        let failed = |error: std::io::Error| OpError::failed(&error);
        let mut archive = tar::Builder::new(Vec::new());
        let mut sent = Vec::new();
        for path in &todo.changed {
            let Some(file) = self.files.get(path) else {
                continue;
            };
            if let Is::Link(target) = &file.is {
                link(&mut archive, path, target).map_err(failed)?;
                sent.push((path.clone(), file.is.clone()));
                continue;
            }
            let origin = match &self.whole {
                Whole::Tree(place) => origin(world, place, &file.source, file.size)?,
                Whole::Image(layers, view) => {
                    origin_in_layers(world, layers, view, &file.source, file.size)?
                }
            };
            let mut bytes = Vec::new();
            open(world, &origin)
                .and_then(|mut reader| reader.read_to_end(&mut bytes))
                .map_err(|error| {
                    OpError::failed_text(format!("cannot read {}: {error}", file.source))
                })?;
            append(&mut archive, &format!("files{path}"), file.mode, &bytes).map_err(failed)?;
            // It may have been edited since it was looked at.
            sent.push((path.clone(), Is::File(BlobDigest::of(&bytes).0)));
        }
        let bytes = finish(archive, &todo.gone, list).map_err(failed)?;
        Ok(Parcel { bytes, sent })
    }
}

fn link(archive: &mut tar::Builder<Vec<u8>>, path: &str, target: &str) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    archive.append_link(&mut header, format!("files{path}"), target)
}

/// What comes after the files.
fn finish(
    mut archive: tar::Builder<Vec<u8>>,
    gone: &[String],
    list: &str,
) -> std::io::Result<Vec<u8>> {
    // An archive without files has the folder all the same.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o755);
    header.set_size(0);
    archive.append_data(&mut header, "files/", std::io::empty())?;
    let gone: Vec<u8> = gone
        .iter()
        .flat_map(|path| [path.as_bytes(), b"\0"].concat())
        .collect();
    append(&mut archive, "gone", 0o644, &gone)?;
    append(&mut archive, "list", 0o644, list.as_bytes())?;
    archive.into_inner()
}

fn append(
    archive: &mut tar::Builder<Vec<u8>>,
    name: &str,
    mode: u32,
    bytes: &[u8],
) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    archive.append_data(&mut header, name, bytes)
}

/// An archive of files with this text, or of links, as [`Wanted::pack`] makes them.
#[cfg(test)]
pub(super) fn archive(files: &[(String, String)], gone: &[String], list: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, text) in files {
        match text.strip_prefix("-> ") {
            Some(target) => link(&mut archive, path, target).unwrap(),
            None => append(
                &mut archive,
                &format!("files{path}"),
                0o644,
                text.as_bytes(),
            )
            .unwrap(),
        }
    }
    finish(archive, gone, list).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, node: Node) -> Entry {
        Entry::new(TreePath::clean(path.as_bytes()), 0o644, node)
    }

    fn data(text: &str) -> Node {
        Node::File {
            size: text.len() as u64,
            digest: BlobDigest::of(text.as_bytes()).0,
        }
    }

    fn names(entries: Vec<Entry>, paths: &[(&str, &str)]) -> Result<Vec<String>, OpError> {
        let tree = Arc::new(Tree::new(entries).unwrap());
        let view = Rootfs::new(vec![Arc::clone(&tree)]);
        let paths: Vec<(String, String)> = paths
            .iter()
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
            .collect();
        let found = files(&tree, &view, &paths, ("source site", true))?;
        Ok(found.into_keys().collect())
    }

    fn site() -> Vec<Entry> {
        vec![
            entry("", Node::Directory),
            entry("api", Node::Directory),
            entry("api/main", Node::Directory),
            entry("api/main/x.py", data("x")),
            entry("api/main/__pycache__", Node::Directory),
            entry("api/main/__pycache__/x.pyc", data("made")),
            entry("manage.py", data("manage")),
        ]
    }

    #[test]
    fn folders_and_files_go_where_they_are_said_to() {
        let found = names(site(), &[("api", "/app"), ("manage.py", "/app/manage.py")]);
        assert_eq!(found.unwrap(), ["/app/main/x.py", "/app/manage.py"]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = names(site(), &[("x.py", "/app/x.py")]).unwrap_err();
        assert_eq!(error.to_string(), "x.py: not found in source site");
        assert_eq!(error.hints(), ["there is api/main/x.py"]);
    }

    #[test]
    fn a_name_of_two_lines_is_refused() {
        let mut entries = site();
        entries.push(entry("api/a\nb", data("")));
        let error = names(entries, &[("api", "/app")]).unwrap_err();
        assert!(error.to_string().contains("line breaks"), "{error}");
    }
}
