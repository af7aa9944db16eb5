//! The recorded network of a step: it asks the gateway, which asks origins, or answers from the lock.

mod authority;
mod drift;
mod form;
pub(crate) mod lockfile;
mod pack;
mod reduce;
mod trust;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tbuild_digest::Sha256;
use tbuild_exec::{Network, Serve};
use tbuild_lock::{NetworkLock, StepLock};
use tbuild_netlock::{
    Authority, Entry, Gateway, Guard, Journal, Limits, Mode, NAME_SERVER, Outlet, Places, Upstream,
};
use tbuild_realise::OpError;
use tbuild_store::Store;

pub use self::drift::{
    Ahead, BaseFile, Drift, Looked, Wrong, base_files, drift, network_locks, pack_again,
};
pub use self::lockfile::{prune, stale};
pub(crate) use self::reduce::reduced;
pub(crate) use self::trust::Trust;
use crate::{LayerRef, World};

/// How long after a step's end an origin may still send what the step did not want to hear to its end.
const PATIENCE: Duration = Duration::from_mins(10);

/// What recorded steps of one run of tbuild share.
#[derive(Default)]
pub(crate) struct Recordings {
    authority: OnceLock<Arc<Authority>>,
    /// What was recorded in this run, by the lock's node.
    fresh: Mutex<BTreeMap<String, Vec<Entry>>>,
    /// Locks as they were last read or written, by their nodes: each step looks its requests up.
    locks: Mutex<BTreeMap<String, Arc<NetworkLock>>>,
}

/// A lock of steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepsLock {
    /// What its file is called after.
    pub name: String,
    /// Whose steps they are, as tbuild.toml knows it, the first of them who asks; none for a build of no project.
    pub nodes: Vec<String>,
    /// Ports besides those of HTTP and HTTPS at which its steps' network is recorded.
    pub ports: Vec<u16>,
}

impl StepsLock {
    /// How its pack is made small, for the user.
    fn reduction(&self) -> String {
        match self.nodes.first() {
            Some(node) => format!("`tbuild lock --update {node}` cuts package indexes down"),
            None => "`tbuild lock` cuts package indexes down for images of tbuild.toml".to_owned(),
        }
    }

    /// How steps are recorded again whose bytes are lost, for the user.
    fn replacement(&self) -> String {
        match self.nodes.first() {
            Some(node) => format!(
                "`tbuild lock --update-missing {node}` records again the steps that asked for what is lost"
            ),
            None => self.remedy(),
        }
    }

    /// How it is brought up to date, for the user.
    fn remedy(&self) -> String {
        match self.nodes.first() {
            Some(node) => format!("`tbuild lock --update {node}` records it again"),
            None => "--relock records it again".to_owned(),
        }
    }
}

/// Which step of which lock.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub of: Arc<StepsLock>,
    /// The step in it.
    pub step: StepLock,
}

/// The /etc/resolv.conf of a recorded step.
pub(crate) fn resolv_conf() -> Vec<u8> {
    format!("nameserver {NAME_SERVER}\n").into_bytes()
}

/// What a step may ask.
#[derive(Debug, Clone)]
pub(crate) enum Traffic {
    /// What is locked, and nothing else.
    Locked(Vec<Entry>),
    /// Anything: it is to be locked.
    Open,
}

impl Recorded {
    /// The step with a text in a stage, the `number`th one of that text there.
    pub(crate) fn new(of: &Arc<StepsLock>, stage: &str, text: &str, number: usize) -> Self {
        const LONGEST: usize = 120;
        let id = Sha256::of(format!("{stage}\n{number}\n{text}").as_bytes()).hex();
        let mut shown: String = text.chars().take(LONGEST).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Self {
            of: Arc::clone(of),
            step: StepLock {
                id: id[..12].to_owned(),
                text: shown,
                when: None,
            },
        }
    }

    /// Whether it is recorded again although it is locked.
    fn is_relocked(&self, world: &World) -> bool {
        world.steps.relock.wants(&self.of, &self.step.id)
    }

    /// What the step may ask: what is locked of it, or all that it wants where nothing is and a lock may be written.
    pub(crate) fn traffic(&self, world: &World) -> Result<Traffic, OpError> {
        if !self.is_relocked(world) {
            let lock = lockfile::read(world, &self.of.name)?;
            if let Some(requests) = lock.of_step(&self.step.id) {
                let entries = requests.into_iter().map(Entry::from).collect();
                return Ok(Traffic::Locked(entries));
            }
        }
        let refused = |why: &str| OpError::Lock {
            message: format!(
                "what {} asks of the network is not locked, and {why}",
                self.step.text
            ),
            hints: Vec::new(),
        };
        if world.frozen {
            return Err(refused("--frozen refuses to lock it").hint("build it once without"));
        }
        if world.offline {
            return Err(refused("--offline refuses to record it").hint("build it once without"));
        }
        Ok(Traffic::Open)
    }

    /// Writes down what the step asked for; what that changes, for readers.
    pub(crate) fn lock(&self, world: &World, entries: &[Entry]) -> Result<Vec<String>, OpError> {
        let changes = lockfile::put(world, self, entries)?;
        if let Ok(mut fresh) = world.recordings.fresh.lock() {
            let known = fresh.entry(self.of.name.clone()).or_default();
            known.extend(entries.iter().filter(|entry| !entry.reduced).cloned());
        }
        Ok(changes)
    }

    /// What is known besides when the step is recorded: what other steps of the image got, so that all of them see one
    /// state of every origin. Nothing of before where all is to be recorded again.
    fn known(&self, world: &World) -> Result<Vec<Entry>, OpError> {
        if self.is_relocked(world) {
            let fresh = world.recordings.fresh.lock().ok();
            let known = fresh.and_then(|fresh| fresh.get(&self.of.name).cloned());
            return Ok(known.unwrap_or_default());
        }
        let lock = lockfile::read(world, &self.of.name)?;
        // What was cut down for others lacks what this one will want.
        let whole = lock.requests.iter().filter(|request| !request.reduced);
        Ok(whole.map(Entry::from).collect())
    }
}

/// The way to origins, as this machine goes it.
pub(crate) fn upstream(world: &World) -> Result<Upstream, OpError> {
    let guard = Guard::except(world.machine.http.proxies.hosts());
    let client = tbuild_fetch::relay(&world.machine.http, guard)
        .map_err(|error| OpError::unreachable(&error))?;
    Ok(Upstream::new(client, Limits::default(), !world.offline))
}

/// Where this machine has its origins.
pub(crate) fn places(world: &World) -> Places {
    let origins = &world.machine.origins;
    Places::new(origins.names().flat_map(|name| {
        let urls = origins.urls(name).unwrap_or_default();
        urls.iter().map(|url| (name.to_owned(), url.clone()))
    }))
}

/// The network of one run of a step.
pub(crate) struct Session {
    outlet: Arc<Outlet>,
    authority: Arc<Authority>,
    journal: Arc<Journal>,
    mode: Mode,
    /// Whether it answers with indexes that were cut down, and signed again.
    is_reduced: bool,
    remedy: String,
    /// What to do about bytes that are lost.
    replacement: String,
}

impl Session {
    /// Begins it; on a thread of tbuild's runtime that may block.
    pub(crate) fn start(
        world: &World,
        recorded: &Recorded,
        traffic: &Traffic,
    ) -> Result<Self, OpError> {
        let (mode, entries) = match traffic {
            Traffic::Locked(entries) => (Mode::Replay, entries.clone()),
            Traffic::Open => (Mode::Extend, recorded.known(world)?),
        };
        pack::fill(world, &recorded.of.name, &entries)?;
        let is_reduced = entries.iter().any(|entry| entry.reduced);
        let journal = Arc::new(Journal::of(entries));
        let upstream = upstream(world)?;
        let authority = authority::of(world)?;
        let gateway = Gateway::new(
            mode,
            Arc::clone(&world.store) as Arc<dyn Store>,
            Arc::clone(&authority),
            Arc::clone(&journal),
            places(world),
            upstream,
        );
        let runtime = tokio::runtime::Handle::current();
        Ok(Self {
            outlet: Arc::new(Outlet::new(gateway, runtime, &recorded.of.ports)),
            authority,
            journal,
            mode,
            is_reduced,
            remedy: recorded.of.remedy(),
            replacement: recorded.of.replacement(),
        })
    }

    /// What the executor is to give the step.
    pub(crate) fn network(&self) -> Network {
        Network::Served(Arc::clone(&self.outlet) as Arc<dyn Serve>)
    }

    /// What the step trusts (PEM), besides what the machine does.
    pub(crate) fn trust(&self, machine: Option<&[u8]>) -> Vec<u8> {
        tbuild_netlock::bundle(machine.unwrap_or_default(), self.authority.certificate())
    }

    /// The layer that the step runs over besides the image's, made in `folder`.
    pub(crate) fn trusted(
        &self,
        world: &World,
        layers: &[LayerRef],
        folder: PathBuf,
    ) -> Result<Option<Trust>, OpError> {
        Trust::over(world, layers, folder, &self.authority, self.is_reduced)
    }

    /// What the step asked for, once it has ended well and all of it has come.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, OpError> {
        if self.outlet.settle(PATIENCE) {
            return Ok(self.journal.entries());
        }
        Err(OpError::failed_text(
            "an origin goes on sending what the step asked for and did not wait for",
        ))
    }

    /// A step's failure with what may have caused it: what it asked for and did not get.
    pub(crate) fn explain(&self, error: OpError) -> OpError {
        let lost = self.journal.lost();
        if let Some(first) = lost.first() {
            let more = match lost.len() {
                1 => String::new(),
                many => format!(" and {} more", many - 1),
            };
            let message =
                format!("{error}; the locked bytes of {first}{more} are nowhere to be had");
            let mut hints = error.hints().to_vec();
            hints.extend(self.journal.failures());
            return OpError::Lock { message, hints }.hint(self.replacement.clone());
        }
        let misses = self.journal.misses();
        let error = match (&self.mode, misses.first()) {
            (Mode::Replay, Some(miss)) => OpError::Lock {
                message: format!("{error}; {miss}"),
                hints: error.hints().to_vec(),
            }
            .hint(self.remedy.clone()),
            _ => error,
        };
        let mut failures = self.journal.failures();
        failures.dedup();
        let error = failures.into_iter().take(3).fold(error, OpError::hint);
        match self.unserved() {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// What the step tried that no recording can answer, and what to do about it.
    fn unserved(&self) -> Option<String> {
        let count = |number: u64, one: &str, many: &str| match number {
            0 => None,
            1 => Some(format!("1 {one}")),
            _ => Some(format!("{number} {many}")),
        };
        let (connections, datagrams) = self.outlet.refused();
        let tried = [
            count(connections, "connection", "connections"),
            count(datagrams, "datagram", "datagrams"),
        ];
        let tried: Vec<String> = tried.into_iter().flatten().collect();
        let ports = self.outlet.web().iter().map(u16::to_string);
        (!tried.is_empty()).then(|| {
            format!(
                "{} of the step found nobody: what is recorded is HTTP and HTTPS at the ports {}; `ports` of the image \
                 adds ports, RUN --network=host is for other protocols",
                tried.join(" and "),
                ports.collect::<Vec<_>>().join(", ")
            )
        })
    }

    /// What went wrong that the step did not mind.
    pub(crate) fn misses(&self) -> Vec<String> {
        self.journal
            .misses()
            .iter()
            .map(ToString::to_string)
            .collect()
    }
}
