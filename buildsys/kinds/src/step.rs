//! One Dockerfile instruction on its parent's state.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tbuild_dockerfile::{
    Concrete, ConcreteCopy, CopySource, Diagnostic, Remote, RunNetwork, Source, Step as Instruction,
};

use tbuild_graph::KeyManifest;
use tbuild_oci::HistoryEntry;
use tbuild_realise::{Context, Op, OpError, Output, Prepared, Work};

use crate::content::{Contents, store_layer};
use crate::copy::{self, Copy, From, Part};
use crate::mounts::RunMounts;
use crate::network::Recorded;
use crate::parts::Whole;
use crate::remote;
use crate::run::{self, Run};
use crate::value::input;
use crate::world::blocking;
use crate::{LayerRef, StateValue, StepNetwork, TreeValue, World};

/// What a step records: the layer it wrote; none if it changed no file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Written {
    layer: Option<LayerRef>,
    /// What it asked of the network and is locked since: lines for [`run::locked`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requests: Option<Vec<String>>,
}

/// A step. Its inputs: the parent's state, then for a COPY what it takes from.
pub(crate) struct Step {
    pub world: Arc<World>,
    pub instruction: Instruction,
    /// What the COPY's source is called, for keys and messages.
    pub from: String,
    /// The Dockerfile's path as users know it.
    pub file: String,
    /// What the mounts of a RUN take their files from.
    pub mounted: Vec<Mounted>,
    /// Which step it is in the lock of its image's network.
    pub recorded: Recorded,
    /// The network of a RUN that asks for none.
    pub network: StepNetwork,
    /// Shows a finding about the instruction with its place in the Dockerfile.
    pub shown: Arc<dyn Fn(&Diagnostic) -> OpError + Send + Sync>,
}

/// Something that mounts take files from.
pub(crate) struct Mounted {
    pub source: CopySource,
    /// Its number among the step's inputs.
    pub input: usize,
    /// What it is to the user.
    pub what: String,
}

/// What `prepare` leaves for `run`.
enum State {
    Copy(Arc<StateValue>, Box<copy::Prepared>),
    Folder(tbuild_tree::Tree),
    Run(Box<Run>),
}

impl Step {
    /// The instruction with its variables filled in, and the state it leaves but for its layer.
    fn resolve(
        &self,
        inputs: &[Output],
    ) -> Result<(Arc<StateValue>, Concrete, StateValue), OpError> {
        let parent = input::<StateValue>(inputs, 0)?;
        let mut next = StateValue::clone(&parent);
        let scope = next.scope.as_mut().ok_or_else(|| OpError::Internal {
            message: "a step's parent has no scope".to_owned(),
        })?;
        let concrete = self
            .instruction
            .resolve(scope)
            .map_err(|finding| (self.shown)(&finding))?;
        Ok((parent, concrete, next))
    }

    /// The state after the step: parent, changes of the config, the layer.
    fn next(
        &self,
        mut next: StateValue,
        concrete: &Concrete,
        layer: Option<LayerRef>,
    ) -> StateValue {
        crate::stage::apply(&mut next.config, concrete);
        next.layers.extend(layer);
        // As with BuildKit, ONBUILD leaves no trace in the history.
        if !matches!(concrete, Concrete::Onbuild(_)) {
            next.config.history.push(HistoryEntry {
                created_by: Some(self.instruction.text.clone()),
                empty_layer: layer.is_none(),
                ..HistoryEntry::default()
            });
        }
        next
    }

    /// What a mount takes its files from, and what that is to the user.
    fn whole(&self, inputs: &[Output], source: &CopySource) -> Result<(Whole, String), OpError> {
        let mounted = self
            .mounted
            .iter()
            .find(|mounted| mounted.source == *source);
        let mounted = mounted.ok_or_else(|| OpError::Internal {
            message: format!("{source:?} is no input of {}", self.instruction.text),
        })?;
        let whole = match inputs.get(mounted.input).and_then(Output::get::<TreeValue>) {
            Some(tree) => Whole::Tree(tree),
            None => Whole::State(state_of(inputs, mounted.input)?),
        };
        Ok((whole, mounted.what.clone()))
    }

    /// The sources of a copy, with all that is remote fetched.
    async fn parts(&self, cx: &Context, copy: &ConcreteCopy) -> Result<Vec<Part>, OpError> {
        let mut parts = Vec::with_capacity(copy.sources.len());
        for source in &copy.sources {
            parts.push(match source {
                Source::Path(path) => Part::Path(path.clone()),
                Source::Remote(Remote::Http { url, name }) => {
                    let checksum = copy.checksum.as_deref();
                    let (digest, size) = remote::file(&self.world, cx, url, checksum).await?;
                    Part::File {
                        name: name.clone(),
                        digest,
                        size,
                    }
                }
                Source::Remote(Remote::Git(git)) => {
                    let mut git = git.clone();
                    git.checksum = git.checksum.or_else(|| copy.checksum.clone());
                    let (world, cx) = (Arc::clone(&self.world), cx.clone());
                    let value = blocking(move || remote::tree(&world, &cx, &git)).await?;
                    Part::Tree(Arc::new(value))
                }
            });
        }
        Ok(parts)
    }

    fn key(
        &self,
        inputs: &[Output],
        (parent, concrete, next): (Arc<StateValue>, Concrete, StateValue),
        parts: Vec<Part>,
    ) -> Result<Prepared, OpError> {
        let work = |manifest: KeyManifest, impure: Vec<String>, state: State| {
            // What a step asked for is to be locked: no earlier run tells of it.
            let is_open = matches!(&state, State::Run(run) if run.is_to_be_locked());
            Prepared::Action(Work {
                manifest,
                impure,
                force: self.world.steps.no_cache || is_open,
                state: Box::new(state),
            })
        };
        match &concrete {
            Concrete::Copy(copy) => {
                let from = match copy.from {
                    CopySource::Stage(_) => From::State(state_of(inputs, 1)?),
                    CopySource::Context | CopySource::Named(_) => {
                        match inputs.get(1).and_then(Output::get::<TreeValue>) {
                            Some(tree) => From::Tree(tree),
                            None if inputs.len() < 2 => From::State(Arc::clone(&parent)),
                            None => From::State(state_of(inputs, 1)?),
                        }
                    }
                };
                let copy = Copy {
                    from,
                    parts,
                    inline: copy.heredocs.clone(),
                    dest: copy.dest.clone(),
                    chown: copy.chown.clone(),
                    chmod: copy.chmod.clone(),
                    link: copy.link,
                    exclude: copy.exclude.clone(),
                    unpack: copy.unpack,
                    what: self.from.clone(),
                };
                let (manifest, prepared) = copy::prepare(&self.world, &parent, copy)?;
                let state = State::Copy(parent, Box::new(prepared));
                Ok(work(manifest, Vec::new(), state))
            }
            Concrete::Workdir(path) => match copy::folder(
                &self.world,
                &parent,
                &tbuild_dockerfile::clean_path("/", path),
            )? {
                Some((manifest, tree)) => Ok(work(manifest, Vec::new(), State::Folder(tree))),
                None => Ok(Prepared::Ready(Output::new(
                    self.next(next, &concrete, None),
                ))),
            },
            Concrete::Run(command) => {
                let script = command
                    .script
                    .clone()
                    .map(|script| (script.name, script.bytes));
                let whole = |source: &CopySource| self.whole(inputs, source);
                let mounts = RunMounts::plan(&self.world, &command.mounts, &whole)?;
                let network = match command.network {
                    RunNetwork::None => StepNetwork::None,
                    RunNetwork::Host => StepNetwork::Host,
                    RunNetwork::Default => self.network,
                };
                let run = Run::new(
                    &self.world,
                    parent,
                    command.argv.clone(),
                    command.env.clone(),
                    script,
                )?
                .with_proxy(command.proxy.clone())
                .with_normalizers(self.instruction.normalize.clone())
                .with_network(network)
                .with_run_mounts(mounts);
                let run = if network == StepNetwork::Recorded {
                    let traffic = self.recorded.traffic(&self.world)?;
                    run.recorded(self.recorded.clone(), traffic)
                } else {
                    run
                };
                let run = if command.insecure {
                    run.privileged()
                } else {
                    run
                };
                let manifest = run.sealed(run.manifest());
                let impure = run.impure();
                Ok(work(manifest, impure, State::Run(Box::new(run))))
            }
            _ => Ok(Prepared::Ready(Output::new(
                self.next(next, &concrete, None),
            ))),
        }
    }
}

/// A stage, or an image: the state either way.
fn state_of(inputs: &[Output], at: usize) -> Result<Arc<StateValue>, OpError> {
    if let Some(image) = inputs.get(at).and_then(Output::get::<crate::ImageValue>) {
        return Ok(Arc::new(image.state.clone()));
    }
    input(inputs, at)
}

#[async_trait]
impl Op for Step {
    fn title(&self) -> String {
        self.instruction.text.clone()
    }

    fn place(&self) -> Option<String> {
        Some(format!("{}:{}", self.file, self.instruction.line))
    }

    async fn prepare(&self, cx: &Context, inputs: &[Output]) -> Result<Prepared, OpError> {
        let resolved = self.resolve(inputs)?;
        let parts = match &resolved.1 {
            Concrete::Copy(copy) => self.parts(cx, copy).await?,
            _ => Vec::new(),
        };
        // Copies read trees and facts: quick when nothing changed, and never worth a thread of its own then.
        tokio::task::block_in_place(|| self.key(inputs, resolved, parts))
    }

    async fn run(
        &self,
        cx: &Context,
        _: &[Output],
        state: Box<dyn Any + Send + Sync>,
    ) -> Result<serde_json::Value, OpError> {
        let state = state.downcast::<State>().map_err(|_| OpError::Internal {
            message: "a step's state is another's".to_owned(),
        })?;
        let (world, cx) = (Arc::clone(&self.world), cx.clone());
        let (layer, requests) = blocking(move || match *state {
            State::Copy(parent, prepared) => {
                copy::run(&world, &parent, *prepared).map(|layer| (layer, None))
            }
            State::Folder(tree) => {
                let contents = Contents::new(&world, std::collections::HashMap::new());
                store_layer(&world, &tree, contents).map(|layer| (Some(layer), None))
            }
            State::Run(run) => run::execute(&world, &cx, &run),
        })
        .await?;
        serde_json::to_value(Written { layer, requests }).map_err(|error| OpError::internal(&error))
    }

    fn settled(&self, manifest: &KeyManifest, result: &serde_json::Value) -> Option<KeyManifest> {
        let requests = Written::deserialize(result).ok()?.requests?;
        Some(run::locked(manifest.clone(), requests))
    }

    async fn complete(
        &self,
        _: &Context,
        inputs: &[Output],
        result: &serde_json::Value,
    ) -> Result<Option<Output>, OpError> {
        let Ok(written) = Written::deserialize(result) else {
            return Ok(None);
        };
        if let Some(layer) = &written.layer
            && !self.world.has_layer(layer)?
        {
            return Ok(None);
        }
        let (_, concrete, next) = self.resolve(inputs)?;
        Ok(Some(Output::new(self.next(next, &concrete, written.layer))))
    }
}

/// Environment as `NAME=value` lines turned into a map; the last one counts.
pub(crate) fn environment(lines: &[String]) -> BTreeMap<String, String> {
    lines
        .iter()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
