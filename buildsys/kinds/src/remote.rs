//! Files and repositories that ADD and named contexts take from elsewhere: asked for each time, fetched when
//! they changed, known by what they hold and never by where they came from.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tbuild_digest::{BlobDigest, Encoder, Sha256, TreeDigest};
use tbuild_dockerfile::GitRemote;
use tbuild_fetch::{Checkout, Download, Fresh, Git, GitError, Http, HttpError, Validators, redact};
use tbuild_realise::{Context, OpError};
use tbuild_store::Store;

use crate::git::keep;
use crate::world::driven;
use crate::{LayerRef, Place, TreeValue, World};

/// The store's space for what was had from URLs.
pub(crate) const FILES: &str = "remote-files";
/// The store's space for what was had from repositories.
pub(crate) const TREES: &str = "remote-trees";

/// A file that was had from a URL, and what its server said of it.
#[derive(Debug, Serialize, Deserialize)]
struct Had {
    validators: Validators,
    digest: BlobDigest,
    size: u64,
}

/// The files of a commit.
#[derive(Debug, Serialize, Deserialize)]
struct Fetched {
    layer: LayerRef,
}

/// Why nothing may be asked for, if so.
fn refusal(world: &World, what: &str, hint: &str) -> Option<OpError> {
    let flag = if world.frozen {
        "--frozen"
    } else if world.offline {
        "--offline"
    } else {
        return None;
    };
    Some(OpError::Lock {
        message: format!("{what} is not pinned, and {flag} refuses to ask for it"),
        hints: vec![hint.to_owned()],
    })
}

fn http_failure(error: &HttpError) -> OpError {
    OpError::unreachable(error)
}

/// The file at `url`, in the store: by its digest `sha256:…` where that is given, as its server has it now
/// otherwise. Gives digest and size in bytes.
pub(crate) async fn file(
    world: &Arc<World>,
    cx: &Context,
    url: &str,
    checksum: Option<&str>,
) -> Result<(BlobDigest, u64), OpError> {
    let shown = redact(url);
    if let Some(checksum) = checksum {
        let hex = checksum.strip_prefix("sha256:").unwrap_or(checksum);
        let digest = Sha256::from_hex(&hex.to_ascii_lowercase())
            .map(BlobDigest)
            .map_err(|error| OpError::usage(format!("{shown}: {checksum}: {error}")))?;
        if let Some(size) = world.store.blob_size(&digest)? {
            return Ok((digest, size));
        }
        if world.offline {
            let message = format!("{shown} is not in the store, and --offline refuses to fetch it");
            return Err(OpError::Lock {
                message,
                hints: Vec::new(),
            });
        }
        let download = Download {
            name: shown,
            urls: vec![url.to_owned()],
            sha256: Some(digest),
            size: None,
        };
        let (shared, events) = (Arc::clone(world), cx.clone());
        return driven(move |handle| {
            let http = Http::new(&shared.machine.http).map_err(|error| http_failure(&error))?;
            let store = Arc::clone(&shared.store) as Arc<dyn Store>;
            let progress = |_: &str, done: u64, total: Option<u64>| {
                events.progress("download", done, total, true);
            };
            let got = handle.block_on(http.download(&download, &store, &progress));
            let got = got.map_err(|error| match error {
                HttpError::Digest { .. } => OpError::failed(&error),
                error => http_failure(&error),
            })?;
            Ok((got.digest, got.size))
        })
        .await;
    }
    let name = Sha256::of(url.as_bytes()).hex();
    let kept = world.store.reference(FILES, &name)?;
    let known: Option<Had> = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let known = match known {
        Some(known) if world.store.blob_size(&known.digest)? == Some(known.size) => Some(known),
        _ => None,
    };
    if let Some(refusal) = refusal(world, &shown, "give ADD --checksum=sha256:...") {
        return Err(refusal);
    }
    let (shared, events) = (Arc::clone(world), cx.clone());
    let url = url.to_owned();
    driven(move |handle| {
        let http = Http::new(&shared.machine.http).map_err(|error| http_failure(&error))?;
        let store = Arc::clone(&shared.store) as Arc<dyn Store>;
        let progress =
            |_: &str, done: u64, total: Option<u64>| events.progress("download", done, total, true);
        let validators = known.as_ref().map(|known| &known.validators);
        let fresh = handle
            .block_on(http.refresh(&shown, &url, validators, &store, &progress))
            .map_err(|error| http_failure(&error))?;
        match (fresh, known) {
            (Fresh::New(got, validators), _) => {
                let had = Had {
                    validators,
                    digest: got.digest,
                    size: got.size,
                };
                let bytes = serde_json::to_vec(&had).map_err(|error| OpError::internal(&error))?;
                shared.store.set_reference(FILES, &name, Some(&bytes))?;
                Ok((had.digest, had.size))
            }
            (Fresh::Same, Some(known)) => Ok((known.digest, known.size)),
            (Fresh::Same, None) => Err(OpError::failed_text(format!(
                "{shown}: the server says that nothing changed, though nothing was known"
            ))),
        }
    })
    .await
}

fn git_failure(error: &GitError) -> OpError {
    OpError::unreachable(error)
}

/// Whether `text` is a commit in full.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The commit that `remote` stands for now.
fn commit(world: &World, cx: &Context, git: &Git, remote: &GitRemote) -> Result<String, OpError> {
    let shown = redact(&remote.url);
    let revision = remote.revision.as_deref().unwrap_or("HEAD");
    let checksum = remote.checksum.as_deref();
    if let Some(pinned) = [Some(revision), checksum]
        .into_iter()
        .flatten()
        .find(|text| is_commit(text))
        && (world.offline || world.frozen || pinned == revision)
    {
        return agree(pinned.to_ascii_lowercase(), checksum, &shown);
    }
    if let Some(refusal) = refusal(world, &shown, "give ADD --checksum=COMMIT") {
        return Err(refusal);
    }
    cx.notice(format!("resolving {revision} of {shown}"));
    let commit = git
        .resolve(&remote.url, revision, world.store.as_ref())
        .map_err(|error| git_failure(&error))?;
    agree(commit, checksum, &shown)
}

/// The commit, if it is the one that was promised.
fn agree(commit: String, checksum: Option<&str>, shown: &str) -> Result<String, OpError> {
    match checksum {
        Some(checksum) if !commit.starts_with(&checksum.to_ascii_lowercase()) => {
            Err(OpError::failed_text(format!(
                "{shown} is at commit {commit}, and {checksum} is expected"
            )))
        }
        _ => Ok(commit),
    }
}

/// The files of a revision of a repository. Blocks.
pub(crate) fn tree(world: &World, cx: &Context, remote: &GitRemote) -> Result<TreeValue, OpError> {
    let git = Git::new("git", &world.machine.git_env);
    let commit = commit(world, cx, &git, remote)?;
    let repository = remote.keep_git_dir == Some(true) && remote.folder.is_empty();
    let revision = remote.revision.as_deref().unwrap_or_default();
    let mut encoder = Encoder::new();
    encoder.bytes(remote.url.as_bytes());
    encoder.bytes(commit.as_bytes());
    encoder.bytes(remote.folder.as_bytes());
    encoder.tag(u8::from(remote.skip_submodules));
    // Only what is kept of the repository names the revision.
    encoder.bytes(if repository { revision } else { "" }.as_bytes());
    encoder.tag(u8::from(repository));
    let name = encoder.finish().hex();
    let kept = world.store.reference(TREES, &name)?;
    let kept: Option<Fetched> = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if let Some(kept) = kept
        && world.has_layer(&kept.layer)?
    {
        return value(world, kept.layer);
    }
    if world.offline {
        let message = format!(
            "commit {commit} of {} is not in the store, and --offline refuses to fetch it",
            redact(&remote.url)
        );
        return Err(OpError::Lock {
            message,
            hints: Vec::new(),
        });
    }
    let what = Checkout {
        submodules: !remote.skip_submodules,
        repository,
    };
    // A name in full is on what .git says; the commit is what it stands for now.
    let checkout = git
        .checkout_at(&remote.url, &commit, revision, what, world.store.as_ref())
        .map_err(|error| git_failure(&error))?;
    let missing = || {
        OpError::failed_text(format!(
            "{} has no folder {} at commit {commit}",
            redact(&remote.url),
            remote.folder
        ))
    };
    let root = checkout.folder().canonicalize().map_err(|_| missing())?;
    let folder = root.join(&remote.folder).canonicalize();
    let folder = folder.map_err(|_| missing())?;
    // A link of the repository may lead anywhere.
    if !folder.starts_with(&root) || !folder.is_dir() {
        return Err(missing());
    }
    let (layer, _) = keep(world, &folder)?;
    let bytes =
        serde_json::to_vec(&Fetched { layer }).map_err(|error| OpError::internal(&error))?;
    world.store.set_reference(TREES, &name, Some(&bytes))?;
    value(world, layer)
}

/// A layer as a tree.
fn value(world: &World, layer: LayerRef) -> Result<TreeValue, OpError> {
    let tree = Arc::clone(world.index(&layer.diff_id)?.tree());
    let digest: TreeDigest = tree.digest();
    Ok(TreeValue {
        tree,
        digest,
        place: Place::Layer(layer.diff_id),
        scan: None,
    })
}
