//! Bases: images to start from.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tbuild_dockerfile::Platform;
use tbuild_exec::Stream;
use tbuild_fetch::{
    AptError, BaseSpec, BuildBaseError, Fetcher, Http, Progress, Quiet, Verifier, build_base,
};
use tbuild_graph::KeyManifest;
use tbuild_lock::{BaseLock, Kind, file_name};
use tbuild_oci::ImageConfig;
use tbuild_realise::{Context, Op, OpError, Output, Prepared, Work};
use tbuild_store::Store as _;
use tbuild_tree::Rootfs;

use crate::run::keep;
use crate::world::{blocking, driven, unix_now};
use crate::{LayerRef, StateValue, World};

/// Nothing at all: FROM scratch.
pub(crate) struct Scratch {
    pub platform: Platform,
}

/// The config of an image that is made from nothing. As with BuildKit, its folder is `/` and said to be.
pub(crate) fn empty_config(platform: &Platform) -> ImageConfig {
    let mut config = ImageConfig::scratch(&platform.os, &platform.architecture);
    config.variant = Some(platform.variant.clone()).filter(|variant| !variant.is_empty());
    "/".clone_into(&mut config.config.working_dir);
    config
}

#[async_trait]
impl Op for Scratch {
    fn title(&self) -> String {
        "start from nothing".to_owned()
    }

    async fn prepare(&self, _: &Context, _: &[Output]) -> Result<Prepared, OpError> {
        Ok(Prepared::Ready(Output::new(StateValue {
            layers: Vec::new(),
            config: empty_config(&self.platform),
            scope: None,
            packages: None,
        })))
    }
}

/// A distribution's packages, unpacked and configured.
pub(crate) struct Packages {
    pub world: Arc<World>,
    /// `debian:bookworm`.
    pub name: String,
    pub spec: BaseSpec,
    pub architecture: String,
    pub variant: Option<String>,
    /// Its node, for messages.
    pub node: String,
    pub keyring: PathBuf,
    /// Resolve again although there is a lock.
    pub update: bool,
}

/// What is locked, and what is offered now.
pub(crate) type Versions = (Option<String>, Option<String>);

#[derive(Debug, Serialize, Deserialize)]
struct Built {
    layer: LayerRef,
}

/// The lock of the default architecture is called after the base alone, another's after both.
pub(crate) fn lock_path(world: &World, name: &str, architecture: &str) -> PathBuf {
    if architecture == Platform::default().architecture {
        lock_called(world, name)
    } else {
        lock_called(world, &format!("{name} {architecture}"))
    }
}

fn lock_called(world: &World, name: &str) -> PathBuf {
    let folder = world.project.join("lockfiles");
    folder.join(file_name(Kind::Base, name))
}

impl Packages {
    /// The config of the image that the packages become.
    pub(crate) fn config(&self) -> ImageConfig {
        let mut config = ImageConfig::scratch("linux", &self.architecture);
        config.variant.clone_from(&self.variant);
        config
            .config
            .set_env("PATH", tbuild_dockerfile::DEFAULT_PATH);
        config.config.cmd = vec!["bash".to_owned()];
        config.history.push(tbuild_oci::HistoryEntry {
            created_by: Some(format!("packages of {}", self.name)),
            ..tbuild_oci::HistoryEntry::default()
        });
        config
    }

    fn lock_path(&self) -> PathBuf {
        lock_path(&self.world, &self.name, &self.spec.architecture)
    }

    fn fetcher(&self) -> Result<Fetcher, OpError> {
        Ok(Fetcher {
            http: Http::new(&self.world.machine.http)
                .map_err(|error| OpError::unreachable(&error))?,
            origins: self.world.machine.origins.clone(),
            store: Arc::clone(&self.world.store) as Arc<dyn tbuild_store::Store>,
        })
    }

    /// The lock, if it is there and is of what tbuild.toml says. One that is called after the base alone counts
    /// whatever its architecture.
    fn read_lock(&self) -> Result<Option<BaseLock>, OpError> {
        match self.read_lock_of(&self.lock_path())? {
            Some(lock) => Ok(Some(lock)),
            None => self.read_lock_of(&lock_called(&self.world, &self.name)),
        }
    }

    fn read_lock_of(&self, path: &Path) -> Result<Option<BaseLock>, OpError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(OpError::usage(format!(
                    "cannot read {}: {error}",
                    path.display()
                )));
            }
        };
        let lock =
            BaseLock::parse(&path.display().to_string(), &text).map_err(|error| OpError::Lock {
                message: error.to_string(),
                hints: Vec::new(),
            })?;
        let spec = BaseSpec {
            distribution: lock.origin.clone(),
            suite: lock.suite.clone(),
            extra_suites: lock.extra_suites.clone(),
            components: lock.components.clone(),
            include: lock.include.clone(),
            architecture: lock.architecture.clone(),
        };
        Ok((spec == self.spec).then_some(lock))
    }

    /// What it resolves to now.
    async fn resolve(&self, progress: impl Progress + 'static) -> Result<BaseLock, OpError> {
        let verifier = Verifier {
            gpgv: PathBuf::from("gpgv"),
            keyring: self.keyring.clone(),
        };
        let (fetcher, spec) = (self.fetcher()?, self.spec.clone());
        driven(move |handle| {
            let resolved = fetcher.resolve_base(&spec, &verifier, unix_now(), &progress);
            let resolved = handle.block_on(resolved);
            resolved.map_err(|error| failure(&error))
        })
        .await
    }

    /// What would change if it was resolved again: by package, what is locked and what is offered.
    pub(crate) async fn outdated(&self) -> Result<Option<BTreeMap<String, Versions>>, OpError> {
        let Some(locked) = self.read_lock()? else {
            return Ok(None);
        };
        let now = self.resolve(Quiet).await?;
        let mut found: BTreeMap<String, Versions> = BTreeMap::new();
        for package in locked.packages {
            found.entry(package.name).or_default().0 = Some(package.version);
        }
        for package in now.packages {
            found.entry(package.name).or_default().1 = Some(package.version);
        }
        found.retain(|_, (locked, now)| locked != now);
        Ok(Some(found))
    }

    async fn lock(&self, cx: &Context) -> Result<BaseLock, OpError> {
        if !self.update
            && let Some(lock) = self.read_lock()?
        {
            return Ok(lock);
        }
        let message = |why: &str| format!("base {} is not locked, and {why}", self.name);
        if self.world.frozen {
            return Err(OpError::Lock {
                message: message("--frozen refuses to lock it"),
                hints: Vec::new(),
            }
            .hint(format!("run `tbuild lock '{}'`", self.node)));
        }
        if self.world.offline {
            return Err(OpError::Lock {
                message: message("--offline refuses to resolve it"),
                hints: Vec::new(),
            });
        }
        cx.notice("resolving its packages: there is no lock yet");
        let events = cx.clone();
        let progress = move |_: &str, done: u64, total: Option<u64>| {
            events.progress("read indexes", done, total, true);
        };
        let lock = self.resolve(progress).await?;
        let lock = match self.read_lock_of(&self.lock_path()) {
            Ok(Some(before)) => lock.dated_as(&before),
            // What is there may be the reason to resolve it again.
            Ok(None) | Err(_) => lock,
        };
        write(&self.lock_path(), lock.to_text())?;
        Ok(lock)
    }
}

/// Writes a lockfile: whole, or not at all.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), OpError> {
    let failed =
        |error: std::io::Error| OpError::usage(format!("cannot write {}: {error}", path.display()));
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    std::fs::write(file.path(), content).map_err(failed)?;
    rustix::fs::chmod(file.path(), rustix::fs::Mode::from_raw_mode(0o644))
        .map_err(|error| failed(error.into()))?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

pub(crate) fn failure(error: &AptError) -> OpError {
    match error {
        AptError::Http { .. }
        | AptError::Origin(_)
        | AptError::Gpgv { .. }
        | AptError::Keyring { .. } => OpError::unreachable(error),
        _ => OpError::failed(error),
    }
}

#[async_trait]
impl Op for Packages {
    fn title(&self) -> String {
        format!("unpack and configure the packages of {}", self.name)
    }

    async fn prepare(&self, cx: &Context, _: &[Output]) -> Result<Prepared, OpError> {
        let lock = self.lock(cx).await?;
        let package = |package: &tbuild_lock::PackageLock| {
            let role = if package.bootstrap {
                "bootstrap"
            } else {
                "include"
            };
            format!(
                "{} {} {} {role} {}",
                package.name, package.version, package.architecture, package.sha256
            )
        };
        let manifest = KeyManifest::new("base.packages/1")
            .text("distribution", &lock.origin)
            .text("architecture", &lock.architecture)
            .text("policy", crate::run::POLICY)
            .list("package", lock.packages.iter().map(package));
        Ok(Prepared::Action(Work {
            manifest,
            impure: Vec::new(),
            force: false,
            state: Box::new(lock),
        }))
    }

    async fn run(
        &self,
        cx: &Context,
        _: &[Output],
        state: Box<dyn Any + Send + Sync>,
    ) -> Result<serde_json::Value, OpError> {
        let lock = *state
            .downcast::<BaseLock>()
            .map_err(|_| OpError::Internal {
                message: "a base's state is another's".to_owned(),
            })?;
        let lock = if self.world.offline {
            lock
        } else {
            let (fetcher, cx) = (self.fetcher()?, cx.clone());
            driven(move |handle| {
                let total = lock.total_size();
                let done = std::sync::Mutex::new(std::collections::HashMap::<String, u64>::new());
                let progress = |name: &str, bytes: u64, _: Option<u64>| {
                    if let Ok(mut done) = done.lock() {
                        done.insert(name.to_owned(), bytes);
                        cx.progress("download", done.values().sum(), Some(total), true);
                    }
                };
                handle
                    .block_on(fetcher.fetch_base(&lock, &progress))
                    .map_err(|error| failure(&error))?;
                Ok(lock)
            })
            .await?
        };
        let platform = Platform {
            os: "linux".to_owned(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone().unwrap_or_default(),
        };
        let (world, cx) = (Arc::clone(&self.world), cx.clone());
        let layer = blocking(move || {
            let executor = world.executor_for(&platform)?;
            let staging = world.store.stage()?;
            let mut sink = |stream: Stream, bytes: &[u8]| cx.output(stream, bytes);
            build_base(
                &lock,
                world.store.as_ref(),
                executor.as_ref(),
                staging.as_ref(),
                &mut sink,
                &cx.cancel,
            )
            .map_err(|error| match error {
                BuildBaseError::Missing { .. } if world.offline => OpError::Lock {
                    message: format!("{error}, and --offline refuses to fetch it"),
                    hints: Vec::new(),
                }
                .hint("build it once with a connection, or load a bundle (tbuild bundle load)"),
                error => OpError::failed(&error),
            })?;
            let captured = tbuild_sandbox::capture(staging.upper(), &Rootfs::default())
                .map_err(|error| OpError::failed(&error))?;
            keep(&world, staging, &captured.tree)
        })
        .await?;
        serde_json::to_value(Built { layer }).map_err(|error| OpError::internal(&error))
    }

    async fn complete(
        &self,
        _: &Context,
        _: &[Output],
        result: &serde_json::Value,
    ) -> Result<Option<Output>, OpError> {
        let Ok(built) = Built::deserialize(result) else {
            return Ok(None);
        };
        if !self.world.has_layer(&built.layer)? {
            return Ok(None);
        }
        let config = self.config();
        let packages = Some(Arc::new(self.spec.clone()));
        Ok(Some(Output::new(StateValue {
            layers: vec![built.layer],
            config,
            scope: None,
            packages,
        })))
    }
}
