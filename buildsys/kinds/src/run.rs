//! A program run over layers: RUN, and the command of an artifact.

use std::collections::BTreeMap;
use std::sync::Arc;

use tbuild_dockerfile::{Normalizer, Platform};
use tbuild_exec::{Action, Exit, Limits, Mount, Network, User};
use tbuild_graph::KeyManifest;
use tbuild_netlock::Entry;
use tbuild_realise::{Context, OpError};
use tbuild_sandbox::{UpperContent, capture};
use tbuild_store::{Staging, Store as _};
use tbuild_tree::Tree;

use crate::content::store_layer;
use crate::deadline::Deadline;
use crate::mounts::RunMounts;
use crate::network::{Recorded, Session, Traffic, Trust, reduced};
use crate::prepared::{Prepared, prepare};
use crate::redact::Redactor;
use crate::step::environment;
use crate::{LayerRef, StateValue, StepNetwork, World, normalize};

/// What every step sees where its image says nothing else.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The name that every step sees as its machine's.
pub(super) const HOSTNAME: &str = "buildkitsandbox";
/// What every step may do and see, whichever executor runs it: their one conformance suite says that it is the same.
/// A change of that is another number.
pub(crate) const POLICY: &str = "sandbox/1";

/// A program with everything known.
pub(crate) struct Run {
    pub(super) parent: Arc<StateValue>,
    argv: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) proxy: BTreeMap<String, String>,
    pub(super) script: Option<(String, Vec<u8>)>,
    cwd: String,
    pub(super) user: String,
    pub(super) network: StepNetwork,
    /// What it may ask, where its network is recorded.
    traffic: Option<(Recorded, Traffic)>,
    pub(super) mounts: Vec<Mount>,
    /// What RUN itself asks for.
    asked: RunMounts,
    pub(super) hosts: Vec<(String, String)>,
    limits: Limits,
    privileged: bool,
    normalize: Vec<Normalizer>,
}

impl Run {
    /// A RUN of `argv` on `parent`, with the host's network.
    pub(crate) fn new(
        world: &World,
        parent: Arc<StateValue>,
        argv: Vec<String>,
        env: BTreeMap<String, String>,
        script: Option<(String, Vec<u8>)>,
    ) -> Result<Self, OpError> {
        if argv.is_empty() {
            return Err(OpError::usage("RUN has no command"));
        }
        let runtime = &parent.config.config;
        let mut env = if env.is_empty() {
            environment(&runtime.env)
        } else {
            env
        };
        env.entry("PATH".to_owned())
            .or_insert_with(|| PATH.to_owned());
        let cwd = if runtime.working_dir.is_empty() {
            "/".to_owned()
        } else {
            tbuild_dockerfile::clean_path("/", &runtime.working_dir)
        };
        let user = runtime
            .user
            .clone()
            .filter(|user| !user.is_empty())
            .unwrap_or_else(|| "0:0".to_owned());
        Ok(Self {
            argv,
            env,
            proxy: BTreeMap::new(),
            script,
            cwd,
            user,
            network: StepNetwork::Host,
            traffic: None,
            mounts: Vec::new(),
            asked: RunMounts::default(),
            hosts: world.steps.hosts.clone(),
            limits: world.steps.limits.clone(),
            privileged: false,
            normalize: Vec::new(),
            parent,
        })
    }

    /// The same with proxy variables, which the program sees and the key does not.
    pub(crate) fn with_proxy(mut self, proxy: BTreeMap<String, String>) -> Self {
        self.proxy = proxy;
        self
    }

    /// The same with more environment, which counts over the image's.
    pub(crate) fn with_env(mut self, env: &BTreeMap<String, String>) -> Self {
        self.env.extend(
            env.iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        self
    }

    /// The same with things to put right in its layer.
    pub(crate) fn with_normalizers(mut self, normalize: Vec<Normalizer>) -> Self {
        self.normalize = normalize;
        self
    }

    /// The same with another network.
    pub(crate) fn with_network(mut self, network: StepNetwork) -> Self {
        self.network = network;
        self
    }

    /// The same with a recorded network.
    pub(crate) fn recorded(mut self, recorded: Recorded, traffic: Traffic) -> Self {
        self.network = StepNetwork::Recorded;
        self.traffic = Some((recorded, traffic));
        self
    }

    /// The same with all that the executor itself may do.
    pub(crate) fn privileged(mut self) -> Self {
        self.privileged = true;
        self
    }

    /// The same with mounts of RUN's own.
    pub(crate) fn with_run_mounts(mut self, mounts: RunMounts) -> Self {
        self.asked = mounts;
        self
    }

    /// What it sees that its key does not hold.
    pub(crate) fn impure(&self) -> Vec<String> {
        let network = (self.is_to_be_locked() || self.network == StepNetwork::Host)
            .then(|| "network".to_owned());
        let rights = self.privileged.then(|| "security.insecure".to_owned());
        let seen = network.into_iter().chain(rights);
        seen.chain(self.asked.impure()).collect()
    }

    /// Whether what it asks of the network is recorded when it runs, and locked then.
    pub(crate) fn is_to_be_locked(&self) -> bool {
        matches!(self.traffic, Some((_, Traffic::Open)))
    }

    /// Locks what it asked of the network, if that was recorded now; that as lines for [`locked`].
    pub(crate) fn lock(
        &self,
        world: &World,
        cx: &Context,
        requests: Option<Vec<Entry>>,
    ) -> Result<Option<Vec<String>>, OpError> {
        if let (Some((recorded, _)), Some(requests)) = (&self.traffic, &requests) {
            for change in recorded.lock(world, requests)? {
                cx.notice(change);
            }
        }
        Ok(requests.map(|requests| requests.iter().map(Entry::line).collect()))
    }

    /// What its programs are for, as its image says.
    fn platform(&self) -> Platform {
        let config = &self.parent.config;
        Platform {
            os: config.os.clone(),
            architecture: config.architecture.clone(),
            variant: config.variant.clone().unwrap_or_default(),
        }
    }

    /// The same with mounts; what they show has to be in the key by other fields.
    pub(crate) fn with_mounts(mut self, mounts: Vec<Mount>) -> Self {
        self.mounts = mounts;
        self
    }

    /// What decides the outcome, but for what is locked of its network.
    pub(crate) fn manifest(&self) -> KeyManifest {
        let network = match self.network {
            StepNetwork::None => "none",
            StepNetwork::Host => "host",
            StepNetwork::Recorded => "recorded",
        };
        let mut manifest = KeyManifest::new("run/1").list("command", &self.argv);
        if let Some((_, script)) = &self.script {
            manifest = manifest.text("here-document", String::from_utf8_lossy(script));
        }
        if !self.normalize.is_empty() {
            let names = self.normalize.iter().map(|one| format!("{one}/1"));
            manifest = manifest.list("normalize", names);
        }
        if !self.hosts.is_empty() {
            let lines = self
                .hosts
                .iter()
                .map(|(name, address)| format!("{address} {name}"));
            manifest = manifest.list("hosts", lines);
        }
        if let Some(bytes) = self.limits.shm {
            manifest = manifest.text("bytes of /dev/shm", bytes);
        }
        if !self.limits.ulimits.is_empty() {
            manifest = manifest.list("ulimits", &self.limits.ulimits);
        }
        if let Some((recorded, _)) = &self.traffic
            && !recorded.of.ports.is_empty()
        {
            manifest = manifest.list("recorded ports", &recorded.of.ports);
        }
        if self.privileged {
            manifest = manifest.text("security", "insecure");
        }
        self.asked
            .describe(manifest)
            .map("environment", self.env.clone())
            .text("user", &self.user)
            .text("folder", &self.cwd)
            .text("network", network)
            .text("policy", POLICY)
            .text("platform", self.platform())
            .list(
                "layer",
                self.parent.layers.iter().map(|layer| layer.diff_id),
            )
    }

    /// The whole manifest, given all of it but what is locked of the network: that comes last, as in [`locked`].
    pub(crate) fn sealed(&self, manifest: KeyManifest) -> KeyManifest {
        match &self.traffic {
            Some((_, Traffic::Locked(entries))) => {
                locked(manifest, entries.iter().map(Entry::line))
            }
            Some((_, Traffic::Open)) | None => manifest,
        }
    }
}

/// The manifest of a recorded step whose requests are locked: `lines` are those of the entries.
pub(crate) fn locked(
    manifest: KeyManifest,
    lines: impl IntoIterator<Item = String>,
) -> KeyManifest {
    manifest.list("locked request", lines)
}

/// What a program that has succeeded leaves.
pub(crate) struct Ran {
    /// The folder with what it wrote.
    pub staging: Box<dyn Staging>,
    /// What it asked of the network, where that was recorded now.
    pub requests: Option<Vec<Entry>>,
}

/// Runs it over a new upper folder; that folder comes back once the program has succeeded. If it is to be locked with
/// less than what it was answered, it runs a second time with that: the second time counts.
pub(crate) fn run_staged(world: &World, cx: &Context, run: &Run) -> Result<Ran, OpError> {
    let traffic = run.traffic.as_ref();
    let (staging, session) = attempt(world, cx, run, traffic)?;
    let (Some(session), Some((recorded, Traffic::Open))) = (&session, traffic) else {
        let misses = session.iter().flat_map(Session::misses);
        misses.for_each(|miss| cx.notice(miss));
        let requests = None;
        return Ok(Ran { staging, requests });
    };
    let requests = session.entries()?;
    let whole = |staging| Ran {
        staging,
        requests: Some(requests.clone()),
    };
    if !world.steps.reduce {
        return Ok(whole(staging));
    }
    let Some(reduced) = reduced(world, &requests, staging.upper())? else {
        return Ok(whole(staging));
    };
    cx.notice("running it again, with package indexes that hold only what it took of them");
    let reduced = (recorded.clone(), Traffic::Locked(reduced));
    let why = match attempt(world, cx, run, Some(&reduced)) {
        Ok((staging, Some(session))) => match session.misses().into_iter().next() {
            None => {
                return Ok(Ran {
                    staging,
                    requests: Some(session.entries()?),
                });
            }
            Some(miss) => miss,
        },
        Err(error) if cx.cancel.is_cancelled() => return Err(error),
        Err(error) => error.to_string(),
        Ok((_, None)) => String::new(),
    };
    cx.notice(format!("it needs the whole indexes: {why}"));
    Ok(whole(staging))
}

/// One run, with its network.
fn attempt(
    world: &World,
    cx: &Context,
    run: &Run,
    traffic: Option<&(Recorded, Traffic)>,
) -> Result<(Box<dyn Staging>, Option<Session>), OpError> {
    let started = traffic.map(|(recorded, traffic)| Session::start(world, recorded, traffic));
    let session = started.transpose()?;
    if let Some((_, Traffic::Open)) = traffic {
        cx.notice("recording what it asks of the network: that is not locked yet");
    }
    let held = run.asked.hold(world, &cx.cancel)?;
    let mut lower = world.snapshots(&run.parent.layers)?;
    let Prepared {
        mut env,
        account,
        mut mounts,
    } = prepare(world, run, session.as_ref())?;
    env.extend(held.env.clone());
    mounts.extend(held.mounts.iter().cloned());
    let staging = world.store.stage()?;
    let layers = &run.parent.layers;
    let trust = match &session {
        // Beside what the step writes, and gone with it.
        Some(session) => {
            let folder = staging.work().with_file_name("trust");
            session.trusted(world, layers, folder)?
        }
        None => None,
    };
    if let Some(trust) = &trust {
        lower.insert(0, trust.folder().to_owned());
    }
    if let Some(session) = &session
        && !trust.as_ref().is_some_and(Trust::is_for_java)
    {
        let trusted = session.trust(world.machine.ca_bundle.as_deref());
        crate::prepared::tell_java(&trusted, &mut env, &mut mounts);
    }
    crate::cwd::ensure(world, layers, &run.cwd, &mounts, staging.upper())?;
    let (upper, work) = (staging.upper().to_owned(), staging.work().to_owned());
    let action = Action {
        env,
        cwd: run.cwd.clone(),
        user: User {
            uid: account.uid,
            gid: account.gid,
            groups: account.groups,
        },
        mounts,
        network: match (run.network, &session) {
            (StepNetwork::Host, _) => Network::Host,
            (StepNetwork::Recorded, Some(session)) => session.network(),
            (StepNetwork::None | StepNetwork::Recorded, _) => Network::None,
        },
        hostname: HOSTNAME.to_owned(),
        limits: run.limits.clone(),
        privileged: run.privileged,
        ..Action::new(lower, upper, work, run.argv.clone())
    };
    let mut redactor = Redactor::new(&held.secrets);
    let mut pass = |stream, bytes: &[u8]| cx.output(stream, bytes);
    let deadline = Deadline::start(&cx.cancel, world.steps.timeout);
    let mut sink = |stream, bytes: &[u8]| redactor.pass(stream, bytes, &mut pass);
    let executor = world.executor_for(&run.platform())?;
    let ended = executor.run(&action, &mut sink, deadline.cancel());
    redactor.finish(&mut pass);
    match ended {
        Ok(exit) if exit.success() => {
            if let Some(trust) = &trust {
                trust.take_out(staging.upper())?;
            }
            Ok((staging, session))
        }
        Ok(exit) => {
            let error = failure(exit, &run.argv);
            let error = match &session {
                Some(session) => session.explain(error),
                None => error,
            };
            Err(match world.executor.caveat() {
                Some(caveat) => error.hint(caveat),
                None => error,
            })
        }
        Err(tbuild_exec::ExecError::Cancelled) => Err(deadline.error(command(&run.argv))),
        Err(error @ tbuild_exec::ExecError::Start { .. }) => Err(OpError::failed(&error)),
        Err(error) => Err(OpError::unreachable(&error)),
    }
}

/// What ran, as it is told of.
fn command(argv: &[String]) -> &str {
    argv.last().map_or("", String::as_str).trim()
}

fn failure(exit: Exit, argv: &[String]) -> OpError {
    let error = OpError::failed_text(format!("{}: {exit}", command(argv)));
    match exit {
        Exit::Status(127) => error.hint(
            "127 means that a program was not found: is its package installed in an earlier step?",
        ),
        Exit::Signal(9) => error.hint("signal 9 often means that memory ran out"),
        _ => error,
    }
}

/// Runs it and keeps what it wrote as a layer, none if it wrote nothing; locks what it asked of the network, and
/// returns that as lines for [`locked`] where it was recorded now.
pub(crate) fn execute(
    world: &World,
    cx: &Context,
    run: &Run,
) -> Result<(Option<LayerRef>, Option<Vec<String>>), OpError> {
    let Ran { staging, requests } = run_staged(world, cx, run)?;
    let layer = keep_layer(world, run, staging)?;
    Ok((layer, run.lock(world, cx, requests)?))
}

fn keep_layer(
    world: &World,
    run: &Run,
    staging: Box<dyn Staging>,
) -> Result<Option<LayerRef>, OpError> {
    let view = world.rootfs(&run.parent.layers)?;
    let captured = || capture(staging.upper(), &view).map_err(|error| OpError::failed(&error));
    let mut tree = captured()?.tree;
    if normalize::apply(staging.upper(), &tree, &view, &run.normalize)? {
        tree = captured()?.tree;
    }
    if tree.entries().is_empty() {
        return Ok(None);
    }
    keep(world, staging, &tree).map(Some)
}

/// Keeps a captured upper folder as a layer: its tar, its index, and the folder itself as the snapshot.
pub(crate) fn keep(
    world: &World,
    staging: Box<dyn Staging>,
    tree: &Tree,
) -> Result<LayerRef, OpError> {
    let layer = {
        let contents =
            UpperContent::new(staging.upper()).map_err(|error| OpError::internal(&error))?;
        store_layer(world, tree, contents)?
    };
    world.store.commit_snapshot(staging, &layer.diff_id)?;
    Ok(layer)
}
