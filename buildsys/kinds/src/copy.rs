//! COPY, ADD and WORKDIR's folder: layers written from trees, with nothing run.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tbuild_digest::{BlobDigest, DiffId, Encoder, Sha256, TreeDigest};
use tbuild_dockerfile::{ChmodText, InlineFile, PathSource, Unpack};
use tbuild_graph::KeyManifest;
use tbuild_realise::OpError;
use tbuild_tree::{Entry, Node, Tree, TreePath};

use crate::archive::{self, LIMITS};
use crate::content::{
    Contents, Origin, open, origin, origin_in_layers, read_in_layers, store_layer,
};
use crate::facts::{self, Facts, Folder, Found};
use crate::kept::Question;
use crate::paste::{Content, Layer, Ownership, Paste};
use crate::select::{Root, Selection, select};
use crate::unpack::Below;
use crate::{LayerRef, StateValue, TreeValue, World, listing, resemble};

/// Where a COPY takes from.
pub(crate) enum From {
    /// A context, a source, an artifact.
    Tree(Arc<TreeValue>),
    /// A stage or an image: what its layers show.
    State(Arc<StateValue>),
}

/// One source, with all that is remote fetched.
pub(crate) enum Part {
    /// A path below [`Copy::from`].
    Path(PathSource),
    /// A file of the store.
    File {
        name: String,
        digest: BlobDigest,
        size: u64,
    },
    /// The whole of a tree.
    Tree(Arc<TreeValue>),
}

/// A COPY or ADD with everything known.
pub(crate) struct Copy {
    pub from: From,
    pub parts: Vec<Part>,
    pub inline: Vec<InlineFile>,
    /// Absolute.
    pub dest: String,
    pub chown: Option<String>,
    pub chmod: Option<ChmodText>,
    /// Whether the layers below do not count.
    pub link: bool,
    pub exclude: Vec<String>,
    pub unpack: Unpack,
    /// What the source is to the user.
    pub what: String,
}

impl Copy {
    /// The sources that are paths.
    pub(crate) fn paths(&self) -> Vec<&PathSource> {
        let path = |part: &'_ Part| matches!(part, Part::Path(_));
        let paths = self.parts.iter().filter(|part| path(part));
        paths
            .filter_map(|part| match part {
                Part::Path(path) => Some(path),
                _ => None,
            })
            .collect()
    }

    /// The paths as they are written, but made absolute.
    pub(crate) fn path_texts(&self) -> Vec<String> {
        let text = |source: &&PathSource| match &source.below {
            None => source.path.clone(),
            Some(below) => format!("{}/./{below}", source.path.trim_end_matches('/')),
        };
        self.paths().iter().map(text).collect()
    }
}

/// What [`prepare`] worked out.
pub(crate) struct Prepared {
    copy: Copy,
    /// None where the digest of what is taken was known without looking.
    chosen: Option<Chosen>,
    /// None where nothing had to be looked at inside the destination; then none where nothing is written.
    #[expect(clippy::option_option, reason = "not looked at, nothing, something")]
    layer: Option<Option<Layer>>,
    facts: Facts,
    led: Vec<Folder>,
    own: Ownership,
}

/// What is taken, and the tree that it is taken of.
struct Chosen {
    tree: Arc<Tree>,
    selection: Selection,
}

/// What is kept of a choice.
#[derive(Serialize, Deserialize)]
struct Taken {
    digest: String,
    /// Folders that are led through, below the destination, as bytes.
    led: Vec<Vec<u8>>,
}

/// The store's space for digests of what is copied from layers.
const COPIED: &str = "copied";
/// The store's space for what a copy met inside its destination.
const MET: &str = "copy-met";

/// Looks at what a copy takes by paths.
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
    let digest_at = |path: &TreePath| {
        scanned.map_or_else(|| tree.digest_at(path), |value| value.digest_at(path))
    };
    let selection = select(&tree, &digest_at, &copy.paths(), &copy.exclude, &copy.what)?;
    if !listing::is_kept(world.store.as_ref(), &selection.digest)? {
        listing::keep(
            world.store.as_ref(),
            &selection.digest,
            &selection.tree(&tree)?,
        )?;
    }
    Ok(Chosen { tree, selection })
}

/// The digest of what is taken by paths, and the folders led through; `chosen` is filled where it had to be
/// looked at.
fn taken(
    world: &World,
    copy: &Copy,
    chosen: &mut Option<Chosen>,
) -> Result<(TreeDigest, Vec<TreePath>), OpError> {
    let mut look = || -> Result<(TreeDigest, Vec<TreePath>), OpError> {
        let selection = &chosen.insert(choose(world, copy)?).selection;
        Ok((selection.digest, selection.led.clone()))
    };
    let From::State(state) = &copy.from else {
        return look();
    };
    let mut question = Question::of_layers(COPIED, &state.layers)
        .about(&[u8::from(copy.unpack.paths)])
        .about(copy.path_texts().join("\0").as_bytes());
    for pattern in &copy.exclude {
        question = question.about(pattern.as_bytes());
    }
    let found = question.answer(world, || {
        let (digest, led) = look()?;
        Ok(Taken {
            digest: digest.hex(),
            led: led.iter().map(|path| path.as_bytes().to_vec()).collect(),
        })
    })?;
    let digest = Sha256::from_hex(&found.digest).map_err(|error| OpError::internal(&error))?;
    let led = found.led.iter().map(|path| TreePath::clean(path)).collect();
    Ok((TreeDigest(digest), led))
}

/// Works out the key of a copy, and what running it needs.
pub(crate) fn prepare(
    world: &World,
    parent: &StateValue,
    copy: Copy,
) -> Result<(KeyManifest, Prepared), OpError> {
    let below: &[LayerRef] = if copy.link { &[] } else { &parent.layers };
    let dest = TreePath::clean(copy.dest.as_bytes());
    let facts = facts::destination(world, below, &dest)?;
    let own = Ownership {
        owner: copy
            .chown
            .as_deref()
            .map(|chown| owner(world, parent, chown, copy.link))
            .transpose()?,
        mode: copy.chmod.as_ref().map(|chmod| chmod.chmod.clone()),
    };
    let mut manifest = KeyManifest::new("step.copy/1")
        .list("destination", facts.lines())
        .text("destination as written", &copy.dest)
        .text(
            "owner",
            own.owner
                .map_or("as it is".to_owned(), |(uid, gid)| format!("{uid}:{gid}")),
        );
    if let Some(chmod) = &copy.chmod {
        let exact = chmod.chmod.exact().map(|mode| format!("{mode:o}"));
        manifest = manifest.text("permissions", exact.unwrap_or_else(|| chmod.text.clone()));
    }
    let mut chosen = None;
    let mut led = Vec::new();
    // What the archives among it are unpacked over has to be known as well.
    let mut about = Encoder::new();
    if !copy.paths().is_empty() {
        let (digest, through) = taken(world, &copy, &mut chosen)?;
        about.bytes(digest.hex().as_bytes());
        let texts = copy.path_texts().join(" ");
        manifest = manifest.files(format!("{texts} from {}", copy.what), digest);
        let through: Vec<TreePath> = through
            .iter()
            .map(|rest| facts.path().join_path(rest))
            .collect();
        led = facts::folders(world, below, &through)?;
        if !led.is_empty() {
            manifest = manifest.list("folders led through", led.iter().map(Folder::line));
        }
    }
    for part in &copy.parts {
        match part {
            Part::Path(_) => {}
            Part::File { name, digest, .. } => {
                about.bytes(digest.hex().as_bytes());
                manifest = manifest.text(format!("remote file {name}"), digest);
            }
            Part::Tree(value) => {
                about.bytes(value.digest.hex().as_bytes());
                manifest = manifest.files("remote files", value.digest);
                if !copy.exclude.is_empty() {
                    manifest = manifest.list("left out", &copy.exclude);
                }
            }
        }
    }
    if copy.parts.len() > 1 && copy.parts.len() != copy.paths().len() {
        // Files and paths are told apart above, and not which comes first.
        let order = copy.parts.iter().map(|part| matches!(part, Part::Path(_)));
        let order: Vec<String> = order.map(|path| u8::from(path).to_string()).collect();
        manifest = manifest.text("order", order.join(""));
    }
    for file in &copy.inline {
        manifest = manifest.text(
            format!("here-document {}", file.name),
            String::from_utf8_lossy(&file.bytes),
        );
    }
    let mut prepared = Prepared {
        copy,
        chosen,
        layer: None,
        facts,
        led,
        own,
    };
    let may_unpack = prepared.copy.unpack.paths || prepared.copy.unpack.urls;
    if may_unpack || (prepared.facts.found == Found::Folder && !prepared.copy.link) {
        let mut question = Question::of_layers(MET, below).about(about.finish().hex().as_bytes());
        question = question.about(format!("{:?}", prepared.own.owner).as_bytes());
        question = question.about(format!("{:?}", prepared.copy.unpack).as_bytes());
        question = question.about(prepared.copy.dest.as_bytes());
        for file in &prepared.copy.inline {
            question = question.about(file.name.as_bytes());
        }
        let seen: Vec<String> = question.answer(world, || meet(world, below, &mut prepared))?;
        if !seen.is_empty() {
            manifest = manifest.list("unpacked", seen);
        }
    }
    Ok((manifest, prepared))
}

/// Copies in mind, to see what of the layers below decides how it ends: gives that, or an error where it cannot.
fn meet(
    world: &World,
    below: &[LayerRef],
    prepared: &mut Prepared,
) -> Result<Vec<String>, OpError> {
    let view = world.rootfs(below)?;
    let get = |path: &TreePath| view.get(path);
    let mut below = Below::new(&get);
    let layer = fill(world, prepared, &mut below)?;
    prepared.layer = Some(layer);
    Ok(below.lines())
}

/// Fills the destination; none if nothing is written.
fn fill(
    world: &World,
    prepared: &mut Prepared,
    below: &mut Below<'_>,
) -> Result<Option<Layer>, OpError> {
    let Prepared {
        copy,
        chosen,
        facts,
        led,
        own,
        ..
    } = prepared;
    if chosen.is_none() && !copy.paths().is_empty() {
        *chosen = Some(choose(world, copy)?);
    }
    let mut paste = Paste::new(&copy.dest, facts, led, own);
    let mut roots = chosen.iter().flat_map(|chosen| &chosen.selection.roots);
    for (number, part) in copy.parts.iter().enumerate() {
        match part {
            Part::Path(_) => {
                let Some(chosen) = chosen.as_ref() else {
                    continue;
                };
                for root in roots.next().into_iter().flatten() {
                    let tar = match root {
                        Root::Single(entry, name) if copy.unpack.paths => {
                            tar_of(world, copy, entry)?.map(|tar| (tar, name))
                        }
                        _ => None,
                    };
                    match tar {
                        None => paste.copy(root, &chosen.tree, FROM)?,
                        Some((tar, name)) => {
                            let name = name.to_string();
                            let name = name.trim_start_matches('/');
                            paste.unpack(&archive::read(world, name, tar, LIMITS)?, below)?;
                        }
                    }
                }
            }
            Part::File {
                name, digest, size, ..
            } => {
                let open = || open_blob(world, *digest);
                let file = archive::File {
                    name,
                    digest: *digest,
                    open: &open,
                };
                let tar = copy
                    .unpack
                    .urls
                    .then(|| archive::tar_of(world, &file, LIMITS));
                if let Some(tar) = tar.transpose()?.flatten() {
                    paste.unpack(&archive::read(world, name, tar, LIMITS)?, below)?;
                } else {
                    let content = Content::Blob(*digest, 0);
                    let name = TreePath::clean(name.as_bytes());
                    paste.file(&name, 0o600, (*size, digest.0), content)?;
                }
            }
            Part::Tree(value) => {
                let root = if copy.exclude.is_empty() {
                    Root::Content(TreePath::root())
                } else {
                    {
                        let all = PathSource {
                            path: "/".to_owned(),
                            below: None,
                        };
                        let digest_at = |path: &TreePath| value.digest_at(path);
                        let part = select(&value.tree, &digest_at, &[&all], &copy.exclude, "it")?;
                        let mut roots = part.roots.into_iter().flatten();
                        roots.next().unwrap_or(Root::Part(Vec::new()))
                    }
                };
                paste.copy(&root, &value.tree, number)?;
            }
        }
    }
    for file in &copy.inline {
        let bytes: Arc<[u8]> = file.bytes.as_slice().into();
        let content = (bytes.len() as u64, Sha256::of(&bytes));
        let name = TreePath::clean(file.name.as_bytes());
        paste.file(&name, 0o644, content, Content::Inline(bytes))?;
    }
    if paste.is_empty() {
        return Ok(None);
    }
    paste.clashes(below)?;
    paste.layer().map(Some)
}
/// The number of the tree that paths are taken of.
const FROM: usize = usize::MAX;

fn open_blob(world: &World, digest: BlobDigest) -> Result<Box<dyn Read>, OpError> {
    let origin = Origin::Layer {
        diff_id: DiffId(digest.0),
        offset: 0,
        size: u64::MAX,
    };
    open(world, &origin).map_err(|error| OpError::internal(&error))
}

/// The uncompressed tar of a file of the context; none if it is no archive.
fn tar_of(world: &World, copy: &Copy, entry: &Entry) -> Result<Option<BlobDigest>, OpError> {
    let (From::Tree(value), Node::File { size, digest }) = (&copy.from, &entry.node) else {
        return Ok(None);
    };
    let name = String::from_utf8_lossy(entry.path.as_bytes()).into_owned();
    let open = || {
        let origin = origin(world, &value.place, &entry.path, *size)?;
        open(world, &origin).map_err(|error| OpError::failed_text(format!("{name}: {error}")))
    };
    let file = archive::File {
        name: &name,
        digest: BlobDigest(*digest),
        open: &open,
    };
    archive::tar_of(world, &file, LIMITS)
}

/// Writes the layer of a copy; none if it takes nothing.
pub(crate) fn run(
    world: &World,
    parent: &StateValue,
    mut prepared: Prepared,
) -> Result<Option<LayerRef>, OpError> {
    let name = resemble::name(world, &prepared.copy);
    let layer = if let Some(layer) = prepared.layer.take() {
        layer
    } else {
        let layers: &[LayerRef] = if prepared.copy.link {
            &[]
        } else {
            &parent.layers
        };
        let view = world.rootfs(layers)?;
        let get = |path: &TreePath| view.get(path);
        fill(world, &mut prepared, &mut Below::new(&get))?
    };
    let Some((tree, contents)) = layer else {
        return Ok(None);
    };
    let copy = &prepared.copy;
    let view = match &copy.from {
        From::State(state) => Some((state, world.rootfs(&state.layers)?)),
        From::Tree(_) => None,
    };
    let mut origins = HashMap::with_capacity(contents.len());
    for (path, content) in contents {
        let size = match tree.get(&path).map(|entry| &entry.node) {
            Some(Node::File { size, .. }) => *size,
            _ => 0,
        };
        let from = match content {
            Content::Inline(bytes) => Origin::Bytes(bytes),
            Content::Blob(digest, offset) => Origin::Layer {
                diff_id: DiffId(digest.0),
                offset,
                size,
            },
            Content::Tree(number, source) => match (copy.parts.get(number), &copy.from, &view) {
                (Some(Part::Tree(value)), ..) | (_, From::Tree(value), _) => {
                    origin(world, &value.place, &source, size)?
                }
                (_, _, Some((state, view))) => {
                    origin_in_layers(world, &state.layers, view, &source, size)?
                }
                (_, From::State(_), None) => {
                    return Err(OpError::Internal {
                        message: format!("{path} comes from nowhere"),
                    });
                }
            },
        };
        origins.insert(path, from);
    }
    let layer = store_layer(world, &tree, &mut Contents::new(world, origins))?;
    resemble::note(world, &name, &layer.diff_id)?;
    Ok(Some(layer))
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
        .map(|user| owner(world, parent, &user, false))
        .transpose()?
        .unwrap_or_default();
    let manifest = KeyManifest::new("step.folder/1")
        .list("destination", facts.lines())
        .text("owner", format!("{uid}:{gid}"));
    let entries = facts.lead_to(&facts.path(), (uid, gid), 0o755);
    let tree = Tree::new(entries).map_err(|error| OpError::internal(&error))?;
    Ok(Some((manifest, tree)))
}

/// The owner of `--chown`: `USER[:GROUP]`, by number or by name of the image's /etc/passwd and /etc/group. A
/// number is nobody's but its own: its group has the same, whatever the image says.
fn owner(
    world: &World,
    parent: &StateValue,
    chown: &str,
    link: bool,
) -> Result<(u32, u32), OpError> {
    let (name, group) = match chown.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (chown, None),
    };
    let number = |text: &str| match text {
        "root" => Some(0),
        text => text.parse::<u32>().ok(),
    };
    let named = number(name).is_none() || group.is_some_and(|group| number(group).is_none());
    if named && link {
        let message = format!("--chown={chown} with --link: names mean nothing without an image");
        return Err(OpError::usage(message).hint("give numbers"));
    }
    let (uid, gid) = if let Some(uid) = number(name) {
        (uid, uid)
    } else {
        let account = user(world, parent, name)?;
        (account.uid, account.gid)
    };
    let gid = match group.map(|group| number(group).ok_or(group)) {
        None => gid,
        Some(Ok(gid)) => gid,
        Some(Err(group)) => user(world, parent, &format!("0:{group}"))?.gid,
    };
    Ok((uid, gid))
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

/// Who a process of `USER[:GROUP]` is in the image: its own group is among its groups, as runtimes have it.
pub(crate) fn user(world: &World, parent: &StateValue, text: &str) -> Result<Account, OpError> {
    let mut account = account(world, parent, text)?;
    if !account.groups.contains(&account.gid) {
        account.groups.insert(0, account.gid);
    }
    Ok(account)
}

/// Looks `USER[:GROUP]` up in the image.
fn account(world: &World, parent: &StateValue, text: &str) -> Result<Account, OpError> {
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
        None => account.and_then(|line| number(line, 3)).unwrap_or(0),
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
