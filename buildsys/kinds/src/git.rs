//! Git sources: a revision's files, kept as a layer by commit.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tbuild_digest::Sha256;
use tbuild_fetch::Git;
use tbuild_graph::KeyManifest;
use tbuild_lock::{GitLock, Kind, file_name};
use tbuild_realise::{Context, Op, OpError, Output, Prepared, Work};
use tbuild_store_local::{Modes, Verdict, scan};

use crate::content::{contents_at, store_layer};
use crate::filter::Filter;
use crate::world::{blocking, today};
use crate::{LayerRef, Place, TreeValue, World};

/// A git revision.
pub(crate) struct Checkout {
    pub world: Arc<World>,
    pub name: String,
    pub url: String,
    pub rev: String,
    pub filter: Filter,
    /// Resolve again although there is a lock.
    pub update: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Fetched {
    layer: LayerRef,
}

impl Checkout {
    fn lock_path(&self) -> PathBuf {
        self.world
            .project
            .join("lockfiles")
            .join(file_name(Kind::Git, &self.name))
    }

    /// The lock, if it is there and is of what tbuild.toml says.
    fn locked(&self) -> Result<Option<GitLock>, OpError> {
        let path = self.lock_path();
        let Ok(text) = std::fs::read_to_string(&path) else {
            return Ok(None);
        };
        let lock =
            GitLock::parse(&path.display().to_string(), &text).map_err(|error| OpError::Lock {
                message: error.to_string(),
                hints: Vec::new(),
            })?;
        Ok(Some(lock).filter(|lock| lock.url == self.url && lock.rev == self.rev))
    }

    /// Locks a commit, with what is known of it by now or was before.
    fn lock(&self, commit: &str, tree: Option<tbuild_digest::TreeDigest>) -> Result<(), OpError> {
        let before = self.locked().ok().flatten();
        let before = before.filter(|lock| lock.commit == commit);
        let (when, known) = before.map_or((None, None), |lock| (lock.when, lock.tree));
        let lock = GitLock {
            url: self.url.clone(),
            rev: self.rev.clone(),
            commit: commit.to_owned(),
            when: when.or_else(|| Some(today())),
            tree: tree.or(known),
        };
        crate::base::write(&self.lock_path(), lock.to_text())
    }

    /// The commit: as locked, or as the revision names it now, which is locked then.
    fn commit(&self, cx: &Context) -> Result<String, OpError> {
        if !self.update
            && let Some(lock) = self.locked()?
        {
            return Ok(lock.commit);
        }
        let refusal = if self.world.frozen {
            Some("--frozen")
        } else {
            self.world.offline.then_some("--offline")
        };
        if let Some(flag) = refusal {
            let message = format!(
                "source {} is not locked, and {flag} refuses to resolve it",
                self.name
            );
            return Err(OpError::Lock {
                message,
                hints: Vec::new(),
            });
        }
        cx.notice(format!("resolving {} of {}", self.rev, self.url));
        let git = Git::new("git", &self.world.machine.git_env).started_by(&self.world.as_user);
        let commit = git
            .resolve(&self.url, &self.rev, self.world.store.as_ref())
            .map_err(|error| self.failure(&error))?;
        self.lock(&commit, None)?;
        Ok(commit)
    }

    /// The commit that is locked and the one that the revision names now, if that is another. Blocks.
    pub(crate) fn outdated(&self) -> Result<Option<(String, String)>, OpError> {
        let Some(lock) = self.locked()? else {
            return Ok(None);
        };
        let git = Git::new("git", &self.world.machine.git_env).started_by(&self.world.as_user);
        let now = git.named(&self.url, &self.rev, self.world.store.as_ref());
        let now = now.map_err(|error| self.failure(&error))?;
        Ok(now
            .filter(|now| *now != lock.commit)
            .map(|now| (lock.commit, now)))
    }

    fn failure(&self, error: &dyn std::error::Error) -> OpError {
        OpError::unreachable(error).hint(format!(
            "take a folder instead: --source {}=PATH",
            self.name
        ))
    }
}

/// Keeps the files of a checkout as a layer.
pub(crate) fn keep(
    world: &World,
    folder: &std::path::Path,
) -> Result<(LayerRef, tbuild_digest::TreeDigest), OpError> {
    let all = |_: &tbuild_tree::TreePath, _: bool| Verdict::Keep;
    let scan = scan(
        &world.store,
        folder,
        &Sha256::of(b"git"),
        &all,
        Modes::Kept,
        1,
    )
    .map_err(|error| OpError::failed(&error))?;
    let folder = folder
        .canonicalize()
        .map_err(|error| OpError::internal(&error))?;
    let place = Place::Folder(folder);
    let layer = store_layer(world, &scan.tree, contents_at(world, &place))?;
    Ok((layer, scan.digest))
}

#[async_trait]
impl Op for Checkout {
    fn title(&self) -> String {
        format!("fetch {} of {}", self.rev, self.url)
    }

    async fn prepare(&self, cx: &Context, _: &[Output]) -> Result<Prepared, OpError> {
        let commit = tokio::task::block_in_place(|| self.commit(cx))?;
        let manifest = KeyManifest::new("source.git/1")
            .text("url", &self.url)
            .text("commit", &commit);
        Ok(Prepared::Action(Work {
            manifest,
            impure: Vec::new(),
            force: false,
            state: Box::new(commit),
        }))
    }

    async fn run(
        &self,
        _: &Context,
        _: &[Output],
        state: Box<dyn Any + Send + Sync>,
    ) -> Result<serde_json::Value, OpError> {
        let commit = *state.downcast::<String>().map_err(|_| OpError::Internal {
            message: "a source's state is another's".to_owned(),
        })?;
        let (world, url) = (Arc::clone(&self.world), self.url.clone());
        let git = Git::new("git", &self.world.machine.git_env).started_by(&self.world.as_user);
        let asked = commit.clone();
        let name = self.name.clone();
        let (layer, tree) = blocking(move || {
            let checkout = git
                .fetch(&url, &asked, world.store.as_ref())
                .map_err(|error| {
                    OpError::unreachable(&error)
                        .hint(format!("take a folder instead: --source {name}=PATH"))
                })?;
            keep(&world, checkout.folder())
        })
        .await?;
        if !self.world.frozen {
            self.lock(&commit, Some(tree))?;
        }
        serde_json::to_value(Fetched { layer }).map_err(|error| OpError::internal(&error))
    }

    async fn complete(
        &self,
        _: &Context,
        _: &[Output],
        result: &serde_json::Value,
    ) -> Result<Option<Output>, OpError> {
        let Ok(fetched) = Fetched::deserialize(result) else {
            return Ok(None);
        };
        if !self.world.has_layer(&fetched.layer)? {
            return Ok(None);
        }
        let index = self.world.index(&fetched.layer.diff_id)?;
        let tree = if self.filter.is_all() {
            Arc::clone(index.tree())
        } else {
            Arc::new(self.filter.apply(index.tree())?)
        };
        let digest = tree.digest();
        Ok(Some(Output::new(TreeValue {
            tree,
            digest,
            place: Place::Layer(fetched.layer.diff_id),
            scan: None,
        })))
    }
}
