//! A Dockerfile put into the graph: a node an instruction.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use tbuild_dockerfile::{
    BaseRef, CopySource, Diagnostic, IgnoreRules, LowerOptions, Plan, Platform, Remote, Severity,
    Stage, ast, lower, parse,
};
use tbuild_graph::{Graph, GraphError, NodeId, NodeKind};
use tbuild_realise::{Op, OpError};

use crate::base::Scratch;
use crate::image::Image;
use crate::network::{Recorded, StepsLock};
use crate::outlook::{Configs, Outlook};
use crate::pipeline::Pipeline;
use crate::platforms::{Shared, fingerprint, name_for, set_platform};
use crate::small::{IGNORE, read_inside};
use crate::stage::StageStart;
use crate::step::{Mounted, Step};
use crate::{StepNetwork, World};

/// The graph under construction.
pub type Nodes = Graph<Box<dyn Op>>;

/// How an image came to be for its platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Nothing was said.
    Implied,
    /// It was asked for: the image says so then, whatever its base is for.
    Asked,
    /// Likewise, and there are others of the name, so that its nodes are called after the platform too.
    OneOf,
}

/// What an image is made from.
#[derive(Clone)]
pub(crate) struct Recipe {
    /// The image's name: its nodes are called after it.
    pub name: String,
    /// The lock of its network.
    pub lock: Arc<StepsLock>,
    /// The Dockerfile's path as users know it.
    pub file: String,
    /// Its text, rendered.
    pub text: String,
    pub target: Option<String>,
    pub args: BTreeMap<String, String>,
    /// What it is for.
    pub platform: Platform,
    /// How that came about.
    pub wanted: Wanted,
    pub labels: Vec<(String, String)>,
    /// The network of a RUN that asks for none, where the build itself says nothing of it.
    pub network: StepNetwork,
    /// Whether RUN --security=insecure is allowed.
    pub allow_insecure: bool,
}

/// What a Dockerfile's names outside it mean.
pub(crate) trait Names<'p> {
    /// The build context.
    fn context(&mut self, graph: &mut Nodes) -> Result<NodeId, OpError>;
    /// The names of the named contexts.
    fn contexts(&self) -> BTreeSet<String>;
    /// What FROM or COPY --from of `name` takes, for `platform`.
    fn named(
        &mut self,
        graph: &mut Nodes,
        name: &str,
        platform: &Platform,
    ) -> Result<NodeId, OpError>;
    /// What the build context leaves out.
    fn ignored(&self) -> IgnoreRules;
    /// Where images of the project and of registries come from, and what is known of them is kept.
    fn images(&mut self) -> &mut Pipeline<'p>;
}

/// The most findings that a build shows.
const MOST_SHOWN: usize = 100;

/// Shows a finding about a Dockerfile as an error of the user's.
pub type Show = Arc<dyn Fn(&str, &str, &Diagnostic) -> String + Send + Sync>;

/// Where a stage has come to.
pub(crate) struct End {
    pub node: NodeId,
    /// What its programs are for.
    platform: Platform,
}

/// The ends of stages by their numbers.
pub(crate) type Ends = HashMap<usize, End>;

pub(crate) fn defect(error: &GraphError) -> OpError {
    OpError::usage(error.to_string())
}

impl Recipe {
    /// What has to be done, worked out from the text and from the configs of the images that it starts from.
    fn plan(
        &self,
        graph: &mut Nodes,
        names: &mut dyn Names<'_>,
        all_stages: bool,
        shown: &dyn Fn(Vec<Diagnostic>) -> OpError,
    ) -> Result<(Plan, Configs), OpError> {
        let dockerfile: ast::Dockerfile = parse(&self.text).map_err(shown)?;
        let mut options = LowerOptions {
            target: self.target.clone(),
            build_args: self.args.clone(),
            build_platform: names.images().platform(),
            target_platform: self.platform.clone(),
            contexts: names.contexts(),
            allow_insecure: self.allow_insecure,
            triggers: BTreeMap::new(),
            all_stages,
        };
        let mut configs = Configs::new();
        loop {
            let plan = lower(&dockerfile, &options).map_err(shown)?;
            let mut more = false;
            for stage in &plan.stages {
                let BaseRef::Named(name, _) = &stage.base else {
                    continue;
                };
                if configs.contains_key(&stage.index) {
                    continue;
                }
                let node = names.named(graph, name, &self.platform_of(stage))?;
                let config = names.images().config_of(node);
                let triggers = config.iter().flat_map(|config| &config.config.on_build);
                let triggers: Vec<String> = triggers.cloned().collect();
                if !triggers.is_empty() {
                    // They may need further stages, which may start from further images.
                    options.triggers.insert(stage.index, triggers);
                    more = true;
                }
                configs.insert(stage.index, config);
            }
            if !more {
                return Ok((plan, configs));
            }
        }
    }

    /// The platform of what a stage that continues no other starts from.
    fn platform_of(&self, stage: &Stage) -> Platform {
        let platform = stage.platform.as_deref().and_then(Platform::parse);
        platform.unwrap_or_else(|| self.platform.clone())
    }

    fn asked(&self) -> bool {
        self.wanted != Wanted::Implied
    }

    /// What the nodes are called after.
    fn title(&self) -> String {
        if self.wanted == Wanted::OneOf {
            name_for(&self.name, &self.platform)
        } else {
            self.name.clone()
        }
    }

    /// What a stage's nodes are called after. One that is for a platform of its own is usually the same for
    /// all that is built; where it is not, its name says which it is for.
    fn place(&self, graph: &Nodes, stage: &Stage, platform: &Platform) -> String {
        let own = stage.name.clone();
        let own = own.unwrap_or_else(|| stage.index.to_string());
        let common = format!("{}/{own}", self.name);
        let may_be_common = stage.platform.is_some() || *platform != self.platform;
        if may_be_common && graph.find(&format!("step:{common}/from")).is_none() {
            common
        } else {
            format!("{}/{own}", self.title())
        }
    }

    /// Everything that can be said about the Dockerfile without building it, in its order: of all stages if no
    /// target is asked for.
    pub(crate) fn check(
        &self,
        graph: &mut Nodes,
        names: &mut dyn Names<'_>,
    ) -> Result<Vec<Diagnostic>, OpError> {
        let found = std::cell::RefCell::new(Vec::new());
        let keep = |findings: Vec<Diagnostic>| {
            found.borrow_mut().extend(findings);
            OpError::usage(self.file.clone())
        };
        let planned = self.plan(graph, names, self.target.is_none(), &keep);
        let mut found = found.into_inner();
        match planned {
            Ok((plan, configs)) => {
                let outlook = Outlook::of(&plan, &configs, &self.platform, &names.ignored());
                found.extend(outlook.errors);
                found.extend(outlook.warnings);
                found.sort_by_key(|finding| finding.span);
                Ok(found)
            }
            Err(error) if found.is_empty() => Err(error),
            Err(_) => Ok(found),
        }
    }

    /// Adds the nodes of the image; its own is the last.
    pub(crate) fn add(
        &self,
        world: &Arc<World>,
        graph: &mut Nodes,
        names: &mut dyn Names<'_>,
        show: &Show,
        shared: &mut Shared,
    ) -> Result<NodeId, OpError> {
        let rendered = |findings: &[Diagnostic]| -> Vec<String> {
            let one = |finding| show(&self.file, &self.text, finding);
            let mut shown: Vec<String> = findings.iter().take(MOST_SHOWN).map(one).collect();
            if findings.len() > MOST_SHOWN {
                let more = findings.len() - MOST_SHOWN;
                shown.push(format!("and {more} more like it: --check shows them all"));
            }
            shown
        };
        let shown = |findings: Vec<Diagnostic>| OpError::usage(rendered(&findings).join("\n"));
        let (plan, configs) = self.plan(graph, names, false, &shown)?;
        let plan = Arc::new(plan);
        let outlook = Outlook::of(&plan, &configs, &self.platform, &names.ignored());
        if !outlook.errors.is_empty() {
            return Err(shown(outlook.errors));
        }
        if plan.checks.error && !outlook.warnings.is_empty() {
            let mut findings = outlook.warnings;
            for finding in &mut findings {
                finding.severity = Severity::Error;
            }
            return Err(shown(findings));
        }
        names.images().warn(rendered(&outlook.warnings));
        let mut ends = Ends::new();
        let mut last = None;
        for stage in &plan.stages {
            let triggers = configs.get(&stage.index).map(|config| match config {
                Some(config) => config.config.on_build.clone(),
                None => Vec::new(),
            });
            let end = self.stage(
                world, graph, names, show, &plan, stage, &ends, triggers, shared,
            )?;
            last = Some(end.node);
            ends.insert(stage.index, end);
        }
        let end = last.ok_or_else(|| OpError::usage(format!("{}: it has no stage", self.file)))?;
        let image = Image {
            world: Arc::clone(world),
            labels: self.labels.clone(),
            platform: self.asked().then(|| self.platform.clone()),
        };
        let node = graph
            .add(
                NodeKind::Image,
                format!("image:{}", self.title()),
                vec![end],
                Box::new(image),
            )
            .map_err(|error| defect(&error))?;
        if let Some(mut config) = outlook.config {
            if self.asked() {
                set_platform(&mut config, &self.platform);
            }
            config.config.labels.extend(self.labels.iter().cloned());
            names.images().keep(node, config);
        }
        Ok(node)
    }

    #[expect(clippy::too_many_arguments, reason = "a stage needs all of it, once")]
    fn stage(
        &self,
        world: &Arc<World>,
        graph: &mut Nodes,
        names: &mut dyn Names<'_>,
        show: &Show,
        plan: &Arc<Plan>,
        stage: &Stage,
        ends: &Ends,
        triggers: Option<Vec<String>>,
        shared: &mut Shared,
    ) -> Result<End, OpError> {
        let earlier = |index: &usize| {
            ends.get(index).ok_or_else(|| OpError::Internal {
                message: format!("{}: no stage {index}", self.name),
            })
        };
        let (base, platform) = match &stage.base {
            BaseRef::Stage(index) => {
                let end = earlier(index)?;
                (Some(end.node), end.platform.clone())
            }
            BaseRef::Named(name, _) => {
                let platform = self.platform_of(stage);
                (Some(names.named(graph, name, &platform)?), platform)
            }
            BaseRef::Scratch => (None, self.platform_of(stage)),
        };
        // Nothing is for the platform that is built for, whatever FROM says, as with BuildKit; where that platform
        // was asked for, the image says so in the end, and what comes to the same for all may be one.
        let empty = if self.asked() {
            &platform
        } else {
            &self.platform
        };
        let scratch = base.is_none().then_some(empty);
        let start = format!("{base:?} {scratch:?} {platform}");
        let print = fingerprint(graph, names, plan, stage, &start, &self.platform, ends)?;
        if let Some(node) = shared.get(&print).copied() {
            return Ok(End { node, platform });
        }
        let place = self.place(graph, stage, &platform);
        if let Some(step) = stage
            .steps
            .iter()
            .find(|step| matches!(step.kind, ast::Kind::Run(_)))
        {
            names
                .images()
                .runs(&platform, format!("{}:{}: RUN", self.file, step.line));
        }
        let base = if let Some(base) = base {
            base
        } else {
            let scratch = Scratch {
                platform: empty.clone(),
            };
            let name = format!("step:{place}/scratch");
            graph
                .add(NodeKind::Base, name, vec![], Box::new(scratch))
                .map_err(|error| defect(&error))?
        };
        let start = StageStart {
            world: Arc::clone(world),
            plan: Arc::clone(plan),
            base: match &stage.base {
                BaseRef::Named(name, _) => name.clone(),
                BaseRef::Scratch | BaseRef::Stage(_) => place.clone(),
            },
            triggers,
            platform: platform.clone(),
        };
        let mut at = graph
            .add(
                NodeKind::Step,
                format!("step:{place}/from"),
                vec![base],
                Box::new(start),
            )
            .map_err(|error| defect(&error))?;
        let (file, text) = (self.file.clone(), self.text.clone());
        let show = Arc::clone(show);
        let shown: Arc<dyn Fn(&Diagnostic) -> OpError + Send + Sync> =
            Arc::new(move |finding| OpError::usage(show(&file, &text, finding)));
        for (number, instruction) in stage.steps.iter().enumerate() {
            let mut inputs = vec![at];
            let mut from = "the build context".to_owned();
            if takes_files(&instruction.kind) {
                match &instruction.copy_from {
                    CopySource::Context => inputs.push(names.context(graph)?),
                    CopySource::Stage(index) => {
                        from = format!("stage {index}");
                        inputs.push(earlier(index)?.node);
                    }
                    CopySource::Named(name) => {
                        from.clone_from(name);
                        inputs.push(names.named(graph, name, &self.platform)?);
                    }
                }
            }
            let mut mounted = Vec::new();
            for source in instruction.mount_from.iter().flatten() {
                if mounted
                    .iter()
                    .any(|mounted: &Mounted| mounted.source == *source)
                {
                    continue;
                }
                let (node, what) = match source {
                    CopySource::Context => (names.context(graph)?, "the build context".to_owned()),
                    CopySource::Stage(index) => (earlier(index)?.node, format!("stage {index}")),
                    CopySource::Named(name) => {
                        (names.named(graph, name, &self.platform)?, name.clone())
                    }
                };
                mounted.push(Mounted {
                    source: source.clone(),
                    input: inputs.len(),
                    what,
                });
                inputs.push(node);
            }
            let alike = |other: &&tbuild_dockerfile::Step| other.text == instruction.text;
            let earlier_alike = stage.steps[..number].iter().filter(alike).count();
            let own = stage.name.clone();
            let own = own.unwrap_or_else(|| stage.index.to_string());
            // One Dockerfile may be built on several bases and with several arguments.
            let recorded_for = |platform: &Platform| {
                let mut within = format!("{own} {platform} {}", root(plan, stage));
                for (name, value) in &self.args {
                    if instruction.text.contains(name.as_str()) {
                        within = format!("{within} {name}={value}");
                    }
                }
                Recorded::new(&self.lock, &within, &instruction.text, earlier_alike)
            };
            names.images().note_for_all(&recorded_for);
            let recorded = recorded_for(&platform);
            let step = Step {
                recorded,
                network: world.steps.network.unwrap_or(self.network),
                world: Arc::clone(world),
                instruction: instruction.clone(),
                from,
                file: self.file.clone(),
                mounted,
                shown: Arc::clone(&shown),
            };
            let name = format!("step:{place}/{}", number + 1);
            at = graph
                .add(NodeKind::Step, name, inputs, Box::new(step))
                .map_err(|error| defect(&error))?;
        }
        shared.insert(print, at);
        Ok(End { node: at, platform })
    }
}

/// What a stage is built on, at the bottom of all stages below it.
fn root<'a>(plan: &'a Plan, stage: &'a Stage) -> &'a str {
    let mut base = &stage.base;
    while let BaseRef::Stage(index) = base {
        // Stages are built on earlier ones.
        let Some(stage) = plan.stages.iter().find(|stage| stage.index == *index) else {
            break;
        };
        base = &stage.base;
    }
    match base {
        BaseRef::Named(name, _) => name,
        BaseRef::Scratch | BaseRef::Stage(_) => "",
    }
}

/// Whether an instruction copies something besides here-documents.
fn takes_files(kind: &ast::Kind) -> bool {
    match kind {
        ast::Kind::Copy(copy) => !copy.sources.is_empty(),
        // What is remote for certain needs no context; a variable may be anything.
        ast::Kind::Add(add) => {
            let local = |source: &ast::Word| !matches!(Remote::parse(&source.text), Ok(Some(_)));
            add.sources.iter().any(local)
        }
        _ => false,
    }
}

/// What a build context leaves out, as far as it can be read: what is wrong with the file is told by the node
/// that looks at the context.
pub(crate) fn ignored(files: &[PathBuf]) -> IgnoreRules {
    let text = files.iter().find_map(|file| read_inside(file, IGNORE).ok());
    text.and_then(|text| IgnoreRules::parse(&text).ok())
        .unwrap_or_default()
}

/// The files that say what a build context leaves out, in the order in which they count.
pub(crate) fn ignore_files(
    dockerfile: &std::path::Path,
    context: &std::path::Path,
) -> Vec<PathBuf> {
    let mut own = dockerfile.as_os_str().to_owned();
    own.push(".dockerignore");
    vec![PathBuf::from(own), context.join(".dockerignore")]
}
