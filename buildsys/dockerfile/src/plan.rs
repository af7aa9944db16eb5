//! What has to be done for a target, in order.

use std::collections::{BTreeMap, BTreeSet};

use crate::ast::Kind;
use crate::{Checks, Diagnostic, Normalizer, Origin, Span};

/// The stages that a target needs, each after those that it uses; the last one is the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The escape character of the Dockerfile.
    pub escape: char,
    /// The stages.
    pub stages: Vec<Stage>,
    /// ARGs before the first FROM and the platform ARGs that are always there: what an ARG without a default in
    /// a stage gets.
    pub globals: BTreeMap<String, String>,
    /// What `--build-arg` gave.
    pub build_args: BTreeMap<String, String>,
    /// What is odd and still builds.
    pub warnings: Vec<Diagnostic>,
    /// Which rules the Dockerfile turned off, and whether warnings are errors (`# check=…`).
    pub checks: Checks,
}

impl Plan {
    /// The stage of this number, if the target needs it.
    pub fn stage(&self, index: usize) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.index == index)
    }

    /// The stage that was asked for.
    pub fn target(&self) -> Option<&Stage> {
        self.stages.last()
    }
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its number among all stages of the Dockerfile, from 0. Not its place in [`Plan::stages`].
    pub index: usize,
    /// Its name, in lower case.
    pub name: Option<String>,
    /// What it starts from.
    pub base: BaseRef,
    /// `--platform` of FROM, expanded.
    pub platform: Option<String>,
    /// The FROM instruction.
    pub span: Span,
    /// Line of the FROM instruction, from 1.
    pub line: usize,
    /// The FROM instruction on one line.
    pub text: String,
    /// What it does.
    pub steps: Vec<Step>,
    /// Numbers of the stages that it starts from or copies from.
    pub depends_on: BTreeSet<usize>,
    /// Images and named contexts that it starts from or copies from, in order, each once per kind of use.
    pub names: Vec<NamedRef>,
}

/// A name outside the Dockerfile: an image or a named context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRef {
    /// The name.
    pub name: String,
    /// Where it is first used.
    pub span: Span,
    /// Used by FROM, not COPY --from.
    pub base: bool,
}

/// What a stage starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseRef {
    /// Nothing.
    Scratch,
    /// An earlier stage, by number.
    Stage(usize),
    /// An image or a named context, and where it is named.
    Named(String, Span),
}

/// Where COPY takes its sources from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySource {
    /// The build context.
    Context,
    /// An earlier stage, by number.
    Stage(usize),
    /// An image or a named context.
    Named(String),
}

/// One instruction of a stage. [`Step::resolve`] fills in its variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The whole instruction.
    pub span: Span,
    /// Its first line, from 1.
    pub line: usize,
    /// The instruction on one line, for display.
    pub text: String,
    /// What it says, not expanded: variables may come from the base image's ENV.
    pub kind: Kind,
    /// Where COPY takes its sources from; the build context for everything else.
    pub copy_from: CopySource,
    /// What is put right in the layer of a RUN, sorted.
    pub normalize: Vec<Normalizer>,
    /// For each `--mount` of RUN, in order, where its files come from; none for one that has no source.
    pub mount_from: Vec<Option<CopySource>>,
    /// Set for an ONBUILD trigger of what the stage starts from: its own text, which the spans within
    /// [`Step::kind`] are of. `span` and `line` are those of FROM then.
    pub trigger: Option<Origin>,
    /// The rules that are checked here.
    pub checks: Checks,
}
