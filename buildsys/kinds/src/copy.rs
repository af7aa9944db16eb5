//! COPY, ADD and WORKDIR's folder: layers written from trees, with nothing run.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tbuild_digest::{BlobDigest, Encoder};
use tbuild_dockerfile::{ChmodText, InlineFile, PathSource, Unpack};
use tbuild_graph::KeyManifest;
use tbuild_realise::OpError;
use tbuild_tree::{Tree, TreePath};

use crate::content::{read_in_layers, store_layer};
use crate::facts::{self, Facts, Folder, Found};
use crate::fill::{self, Chosen, Filled};
use crate::kept::Question;
use crate::paste::Ownership;
use crate::unpack::Below;
use crate::{LayerRef, StateValue, TreeValue, World, resemble};

/// The store's space for what a copy met inside its destination.
const MET: &str = "copy-met";

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
    pub(super) copy: Copy,
    /// None where the digest of what is taken was known without looking.
    pub(super) chosen: Option<Chosen>,
    pub(super) filled: Filled,
    pub(super) facts: Facts,
    pub(super) led: Vec<Folder>,
    pub(super) own: Ownership,
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
    let mut manifest = KeyManifest::new("step.copy/2")
        .list("destination", facts.lines())
        .text("destination as written", &copy.dest)
        .text(
            "owner",
            own.owner
                .map_or("as it is".to_owned(), |(uid, gid)| format!("{uid}:{gid}")),
        );
    if let Some(chmod) = &copy.chmod {
        let exact = chmod.chmod.exact().map(|mode| format!("{mode:o}"));
        manifest = manifest.text("mode", exact.unwrap_or_else(|| chmod.text.clone()));
    }
    let mut chosen = None;
    let mut led = Vec::new();
    // What the archives among it are unpacked over has to be known as well.
    let mut about = Encoder::new();
    if !copy.paths().is_empty() {
        let (digest, through) = fill::taken(world, &copy, &mut chosen)?;
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
        filled: Filled::NotYet,
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
        let seen: Vec<String> =
            question.answer(world, || fill::meet(world, below, &mut prepared))?;
        if !seen.is_empty() {
            manifest = manifest.list("unpacked", seen);
        }
    }
    Ok((manifest, prepared))
}

/// Writes the layer of a copy; none if it takes nothing.
pub(crate) fn run(
    world: &World,
    parent: &StateValue,
    mut prepared: Prepared,
) -> Result<Option<LayerRef>, OpError> {
    let name = resemble::name(world, &prepared.copy);
    let layer = match std::mem::replace(&mut prepared.filled, Filled::NotYet) {
        Filled::With(layer) => Some(*layer),
        Filled::Nothing => None,
        Filled::NotYet => {
            let layers: &[LayerRef] = if prepared.copy.link {
                &[]
            } else {
                &parent.layers
            };
            let view = world.rootfs(layers)?;
            let get = |path: &TreePath| view.get(path);
            fill::fill(world, &mut prepared, &mut Below::new(&get))?
        }
    };
    let Some((tree, written)) = layer else {
        return Ok(None);
    };
    let contents = fill::contents(world, &prepared.copy, written)?;
    let layer = store_layer(world, &tree, contents)?;
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
        // A group alone leaves the files root's.
        Some(("", group)) => ("root", Some(group)),
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
