//! COPY, ADD of local files, and WORKDIR's folder: layers written from trees, with nothing run.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tbuild_digest::Sha256;
use tbuild_graph::KeyManifest;
use tbuild_realise::OpError;
use tbuild_tree::{Entry, Node, Tree, TreePath};

use crate::content::{Contents, Origin, origin, origin_in_layers, read_in_layers, store_layer};
use crate::facts::{self, Facts, Found};
use crate::kept::Question;
use crate::select::{Ownership, Selection, place, select};
use crate::{LayerRef, StateValue, TreeValue, World, listing, resemble};

/// Where a COPY takes from.
pub(crate) enum From {
    /// A context, a source, an artifact.
    Tree(Arc<TreeValue>),
    /// A stage or an image: what its layers show.
    State(Arc<StateValue>),
}

/// A COPY with everything known.
pub(crate) struct Copy {
    pub from: From,
    pub sources: Vec<String>,
    /// Here-documents: name and bytes.
    pub inline: Vec<(String, Vec<u8>)>,
    /// Absolute.
    pub dest: String,
    pub chown: Option<String>,
    pub chmod: Option<String>,
    /// Whether local archives among the sources are unpacked (ADD).
    pub unpack: bool,
    /// What the source is to the user.
    pub what: String,
}

/// What [`prepare`] worked out.
pub(crate) struct Prepared {
    copy: Copy,
    /// None where the digest of what is taken was known without looking.
    chosen: Option<Chosen>,
    facts: Facts,
    own: Ownership,
}

/// What is taken, and the tree that it is taken of.
struct Chosen {
    tree: Arc<Tree>,
    selection: Selection,
}

/// The store's space for digests of what is copied from layers.
const COPIED: &str = "copied";

/// Looks at what a copy takes.
fn choose(world: &World, copy: &Copy) -> Result<Chosen, OpError> {
    let (tree, scanned) = match &copy.from {
        From::Tree(value) => (Arc::clone(&value.tree), Some(value)),
        From::State(state) => {
            let tree = world
                .rootfs(&state.layers)?
                .flatten()
                .map_err(|error| OpError::internal(&error))?;
            (Arc::new(tree), None)
        }
    };
    if copy.unpack {
        refuse_archives(&tree, &copy.sources)?;
    }
    if copy.sources.is_empty() {
        return Ok(Chosen {
            tree,
            selection: Selection::nothing(),
        });
    }
    let digest_at = |path: &TreePath| {
        scanned.map_or_else(|| tree.digest_at(path), |value| value.digest_at(path))
    };
    let selection = select(&tree, &digest_at, &copy.sources, &copy.what)?;
    if !listing::is_kept(world.store.as_ref(), &selection.digest)? {
        listing::keep(
            world.store.as_ref(),
            &selection.digest,
            &selection.tree(&tree)?,
        )?;
    }
    Ok(Chosen { tree, selection })
}

/// Works out the key of a copy, and what running it needs.
pub(crate) fn prepare(
    world: &World,
    parent: &StateValue,
    copy: Copy,
) -> Result<(KeyManifest, Prepared), OpError> {
    let dest = TreePath::clean(copy.dest.as_bytes());
    let facts = facts::destination(world, &parent.layers, &dest)?;
    let own = Ownership {
        owner: copy
            .chown
            .as_deref()
            .map(|chown| owner(world, parent, chown))
            .transpose()?,
        mode: copy.chmod.as_deref().map(mode).transpose()?,
    };
    let mut manifest = KeyManifest::new("step.copy/1")
        .list("destination", facts.lines())
        .text("destination as written", &copy.dest)
        .text(
            "owner",
            own.owner
                .map_or("as it is".to_owned(), |(uid, gid)| format!("{uid}:{gid}")),
        );
    if let Some(mode) = own.mode {
        manifest = manifest.text("mode", format!("{mode:o}"));
    }
    let mut chosen = None;
    if !copy.sources.is_empty() {
        let digest = match &copy.from {
            From::Tree(_) => chosen.insert(choose(world, &copy)?).selection.digest,
            From::State(state) => {
                let question = Question::of_layers(COPIED, &state.layers)
                    .about(&[u8::from(copy.unpack)])
                    .about(copy.sources.join("\0").as_bytes());
                question.answer(world, || {
                    Ok(chosen.insert(choose(world, &copy)?).selection.digest)
                })?
            }
        };
        manifest = manifest.files(
            format!("{} from {}", copy.sources.join(" "), copy.what),
            digest,
        );
    }
    for (name, bytes) in &copy.inline {
        manifest = manifest.text(
            format!("here-document {name}"),
            String::from_utf8_lossy(bytes),
        );
    }
    Ok((
        manifest,
        Prepared {
            copy,
            chosen,
            facts,
            own,
        },
    ))
}

/// Writes the layer of a copy.
pub(crate) fn run(world: &World, prepared: Prepared) -> Result<LayerRef, OpError> {
    let Prepared {
        copy,
        chosen,
        facts,
        own,
    } = prepared;
    let Chosen { tree, selection } = chosen.map_or_else(|| choose(world, &copy), Ok)?;
    let name = resemble::name(world, &copy);
    let Copy {
        from, inline, dest, ..
    } = copy;
    let root = facts.path();
    let (layer, sources) = place(&selection, &tree, &dest, &facts, own, inline.len())?;
    let mut origins = HashMap::with_capacity(sources.len());
    match &from {
        From::Tree(value) => {
            for (path, (source, size)) in sources {
                origins.insert(path, origin(world, &value.place, &source, size)?);
            }
        }
        From::State(state) => {
            let view = world.rootfs(&state.layers)?;
            for (path, (source, size)) in sources {
                let from = origin_in_layers(world, &state.layers, &view, &source, size)?;
                origins.insert(path, from);
            }
        }
    }
    let mut entries = layer.into_entries();
    let to_folder = dest.ends_with('/') || facts.found == Found::Folder || inline.len() > 1;
    for (name, bytes) in inline {
        let path = if to_folder {
            root.join(name.as_bytes())
        } else {
            root.clone()
        };
        let node = Node::File {
            size: bytes.len() as u64,
            digest: Sha256::of(&bytes),
        };
        let mut entry = Entry::new(path.clone(), own.mode.unwrap_or(0o644), node);
        (entry.uid, entry.gid) = own.owner.unwrap_or_default();
        entries.retain(|other| other.path != path);
        entries.push(entry);
        origins.insert(path, Origin::Bytes(bytes.into()));
    }
    let layer = Tree::new(entries).map_err(|error| OpError::internal(&error))?;
    let layer = store_layer(world, &layer, &mut Contents::new(world, origins))?;
    resemble::note(world, &name, &layer.diff_id)?;
    Ok(layer)
}

/// ADD unpacks archives; that is not there yet, and must not pass for a copy.
fn refuse_archives(tree: &Tree, sources: &[String]) -> Result<(), OpError> {
    const ENDINGS: [&str; 8] = [
        ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst",
    ];
    let is_file = |source: &str| {
        tree.get(&TreePath::clean(source.as_bytes()))
            .is_some_and(|entry| matches!(entry.node, Node::File { .. }))
    };
    match sources
        .iter()
        .find(|source| ENDINGS.iter().any(|end| source.ends_with(end)) && is_file(source))
    {
        Some(archive) => Err(OpError::usage(format!(
            "ADD {archive}: unpacking archives is not supported yet"
        ))
        .hint("unpack it in a RUN, or COPY it as it is")),
        None => Ok(()),
    }
}

/// The layer that makes the folder `path`, owned by `user`; none if it is there.
pub(crate) fn folder(
    world: &World,
    parent: &StateValue,
    path: &str,
) -> Result<Option<(KeyManifest, Tree)>, OpError> {
    let at = TreePath::clean(path.as_bytes());
    let facts = facts::destination(world, &parent.layers, &at)?;
    match facts.found {
        Found::Folder => return Ok(None),
        Found::Other => return Err(OpError::failed_text(format!("{path} is no folder"))),
        Found::Nothing => {}
    }
    let user = parent
        .config
        .config
        .user
        .clone()
        .filter(|user| !user.is_empty());
    let (uid, gid) = user
        .map(|user| owner(world, parent, &user))
        .transpose()?
        .unwrap_or_default();
    let manifest = KeyManifest::new("step.folder/1")
        .list("destination", facts.lines())
        .text("owner", format!("{uid}:{gid}"));
    let entries = facts.lead_to(&facts.path(), (uid, gid));
    let tree = Tree::new(entries).map_err(|error| OpError::internal(&error))?;
    Ok(Some((manifest, tree)))
}

/// The mode of `--chmod`: octal.
fn mode(text: &str) -> Result<u32, OpError> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| {
            OpError::usage(format!(
                "--chmod={text}: an octal mode is expected, such as 0755"
            ))
        })
}

/// The owner of `--chown`: `USER[:GROUP]`, by number or by name of the image's /etc/passwd and /etc/group.
fn owner(world: &World, parent: &StateValue, chown: &str) -> Result<(u32, u32), OpError> {
    // Numbers alone need nothing of the image.
    if let Some((Ok(uid), Ok(gid))) = chown
        .split_once(':')
        .map(|(uid, gid)| (uid.parse(), gid.parse()))
    {
        return Ok((uid, gid));
    }
    let user = user(world, parent, chown)?;
    Ok((user.uid, user.gid))
}

/// The store's space for accounts.
const ACCOUNTS: &str = "accounts";

/// Who a user is in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub home: String,
}

/// Looks `USER[:GROUP]` up in the image. A number without an account is itself, in group 0 as Docker has it
/// for USER, in its own group for --chown.
pub(crate) fn user(world: &World, parent: &StateValue, text: &str) -> Result<Account, OpError> {
    let question = Question::of_layers(ACCOUNTS, &parent.layers).about(text.as_bytes());
    question.answer(world, || find_user(world, parent, text))
}

fn find_user(world: &World, parent: &StateValue, text: &str) -> Result<Account, OpError> {
    let (name, group) = text
        .split_once(':')
        .map_or((text, None), |(name, group)| (name, Some(group)));
    let needs_files =
        name.parse::<u32>().is_err() || group.is_some_and(|group| group.parse::<u32>().is_err());
    let view = world.rootfs(&parent.layers)?;
    let read = |path: &str| -> Result<String, OpError> {
        let bytes = read_in_layers(world, &parent.layers, &view, &path.into())?;
        Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
    };
    let (passwd, groups) = (read("etc/passwd")?, read("etc/group")?);
    let lines = |text: &str| -> Vec<Vec<String>> {
        text.lines()
            .map(|line| line.split(':').map(str::to_owned).collect())
            .collect()
    };
    let (passwd, groups) = (lines(&passwd), lines(&groups));
    let account = passwd.iter().find(|line| {
        line.first().is_some_and(|first| first == name)
            || line.get(2).is_some_and(|uid| uid == name)
    });
    let number =
        |line: &Vec<String>, at: usize| line.get(at).and_then(|text| text.parse::<u32>().ok());
    let known = account.and_then(|line| number(line, 2));
    let Some(uid) = known.or_else(|| name.parse().ok()) else {
        let what = if needs_files && passwd.is_empty() {
            " (it has no /etc/passwd)"
        } else {
            ""
        };
        return Err(OpError::failed_text(format!(
            "user {name} is not in the image{what}"
        )));
    };
    let gid = match group {
        None => account
            .and_then(|line| number(line, 3))
            .unwrap_or(if account.is_some() { 0 } else { uid }),
        Some(group) => match groups
            .iter()
            .find(|line| line.first().is_some_and(|first| first == group))
        {
            Some(line) => number(line, 2).unwrap_or(0),
            None => group
                .parse()
                .map_err(|_| OpError::failed_text(format!("group {group} is not in the image")))?,
        },
    };
    let account_name = account
        .and_then(|line| line.first().cloned())
        .unwrap_or_default();
    let supplementary = groups
        .iter()
        .filter(|line| {
            line.get(3)
                .is_some_and(|members| members.split(',').any(|member| member == account_name))
        })
        .filter_map(|line| number(line, 2))
        .filter(|other| *other != gid && !account_name.is_empty())
        .collect();
    let home = account
        .and_then(|line| line.get(5).cloned())
        .filter(|home| !home.is_empty());
    let groups = if group.is_some() {
        Vec::new()
    } else {
        supplementary
    };
    Ok(Account {
        uid,
        gid,
        groups,
        home: home.unwrap_or_else(|| "/".to_owned()),
    })
}
