//! From instructions to the stages that a target needs.

use std::collections::{BTreeMap, BTreeSet};

use crate::ast::{Dockerfile, Instruction, Kind, Word};
use crate::circles::in_circles;
use crate::expand::expand;
use crate::parse::parse_trigger;
use crate::platform::{Platform, platform_args};
use crate::suggest::suggest;
use crate::taken::{copy_source, earlier_stage, mount_source, uses};
use crate::{
    BaseRef, CopySource, Diagnostic, Expansion, NamedRef, Origin, Plan, Span, Stage, Step, lint,
    reference, refuse, run,
};

/// What is to be built, and with what.
#[derive(Debug, Clone, Default)]
pub struct LowerOptions {
    /// Name of the stage; the last one if none.
    pub target: Option<String>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// Platform of the machine that builds.
    pub build_platform: Platform,
    /// Platform that is built for.
    pub target_platform: Platform,
    /// Names of the named contexts: one that is also a stage's takes the stage's place.
    pub contexts: BTreeSet<String>,
    /// Whether RUN --security=insecure is allowed.
    pub allow_insecure: bool,
    /// ONBUILD triggers of the images that stages start from, by the stage's number. Those of earlier stages
    /// need not be given.
    pub triggers: BTreeMap<usize, Vec<String>>,
    /// Whether the plan has all stages, not only those that the target needs: to check them.
    pub all_stages: bool,
}

/// The most instructions of a stage. After each the image has a config of its own, with all of the history so far.
const MAX_STEPS: usize = 2000;

/// Works out which stages the target needs and what each starts from. Instructions and flags that are not
/// supported are errors in the stages that are needed.
pub fn lower(dockerfile: &Dockerfile, options: &LowerOptions) -> Result<Plan, Vec<Diagnostic>> {
    let mut lowering = Lowering {
        dockerfile,
        options,
        globals: platform_args(dockerfile, options),
        declared: BTreeSet::new(),
        errors: Vec::new(),
        warnings: dockerfile.warnings.clone(),
    };
    let (drafts, target) = lowering.drafts();
    let mut stages = Vec::new();
    if let Some(target) = target {
        let needed = needed(&drafts, target);
        let unneeded = |index: &usize| !needed.contains(index);
        lowering
            .errors
            .extend(in_circles(dockerfile, &drafts, unneeded));
        for (index, draft) in drafts.into_iter().enumerate() {
            if options.all_stages || needed.contains(&index) {
                lowering.errors.extend(draft.problems);
                if !options.allow_insecure {
                    lowering.errors.extend(run::insecure(&draft.stage));
                }
                if let Some(step) = draft.stage.steps.get(MAX_STEPS) {
                    let message = format!("a stage of more than {MAX_STEPS} instructions");
                    let error = Diagnostic::error("TooManySteps", step.span, message);
                    let hint = "one instruction can do the work of several: ENV A=1 B=2";
                    lowering.errors.push(error.with_hint(hint));
                }
                stages.push(draft.stage);
            }
        }
    }
    lowering.warnings.extend(lint::check(dockerfile));
    lowering.check_defaults();
    lowering.check_front_end();
    let (mut errors, mut warnings) = (lowering.errors, lowering.warnings);
    if !errors.is_empty() {
        errors.sort_by_key(|error| error.span);
        return Err(errors);
    }
    warnings.sort_by_key(|warning| warning.span);
    Ok(Plan {
        escape: dockerfile.escape,
        stages,
        globals: lowering.globals,
        build_args: options.build_args.clone(),
        warnings,
        checks: dockerfile.checks.clone(),
    })
}

/// A stage and what keeps it from being built.
pub(crate) struct Draft {
    pub stage: Stage,
    problems: Vec<Diagnostic>,
}

pub(crate) struct Lowering<'a> {
    pub dockerfile: &'a Dockerfile,
    pub options: &'a LowerOptions,
    pub globals: BTreeMap<String, String>,
    /// ARGs before the first FROM, with or without a value.
    pub declared: BTreeSet<String>,
    pub errors: Vec<Diagnostic>,
    pub warnings: Vec<Diagnostic>,
}

impl Lowering<'_> {
    /// All stages, and the number of the target.
    fn drafts(&mut self) -> (Vec<Draft>, Option<usize>) {
        let mut instructions = self.dockerfile.instructions.iter().peekable();
        while let Some(instruction) =
            instructions.next_if(|next| !matches!(next.kind, Kind::From(_)))
        {
            self.global_args(instruction);
        }
        let names: Vec<Option<&str>> = stage_names(self.dockerfile);
        let mut drafts: Vec<Draft> = Vec::new();
        for instruction in instructions {
            match &instruction.kind {
                Kind::From(_) => {
                    if let Some(mut draft) = self.stage(instruction, drafts.len(), &names) {
                        self.add_triggers(&mut draft, &drafts, &names);
                        drafts.push(draft);
                    }
                }
                _ => {
                    if let Some(draft) = drafts.last_mut()
                        && !self.replaced(draft)
                    {
                        add_step(draft, instruction, &names, None);
                    }
                }
            }
        }
        let target = self.target(&names);
        // A FROM that cannot be expanded has shifted the numbers: nothing is to be looked up by them.
        let target = target.filter(|_| drafts.len() == names.len());
        (drafts, target)
    }

    /// What the stage starts from has a say in it: its ONBUILD triggers come first.
    fn add_triggers(&self, draft: &mut Draft, drafts: &[Draft], names: &[Option<&str>]) {
        let (of, triggers) = match &draft.stage.base {
            BaseRef::Scratch => return,
            BaseRef::Named(name, _) => {
                let triggers = self.options.triggers.get(&draft.stage.index);
                (name.clone(), triggers.cloned().unwrap_or_default())
            }
            BaseRef::Stage(base) => {
                let Some(base) = drafts.get(*base) else {
                    return;
                };
                let onbuild = |step: &Step| match &step.kind {
                    Kind::Onbuild(word) => Some(word.text.clone()),
                    _ => None,
                };
                let name = base.stage.name.clone();
                (
                    name.unwrap_or_else(|| format!("stage {}", base.stage.index)),
                    base.stage.steps.iter().filter_map(onbuild).collect(),
                )
            }
        };
        for text in triggers {
            let origin = Origin {
                name: format!("ONBUILD of {of}"),
                text: text.clone(),
            };
            match parse_trigger(&text) {
                Ok(instruction) => {
                    let instruction = Instruction {
                        span: draft.stage.span,
                        line: draft.stage.line,
                        checks: self.dockerfile.checks.clone(),
                        ..instruction
                    };
                    add_step(draft, &instruction, names, Some(&origin));
                }
                Err(errors) => {
                    let placed = errors
                        .into_iter()
                        .map(|error| error.in_text(origin.clone()));
                    draft.problems.extend(placed);
                }
            }
        }
    }

    /// Whether a named context takes the stage's place.
    fn replaced(&self, draft: &Draft) -> bool {
        draft
            .stage
            .name
            .as_ref()
            .is_some_and(|name| self.options.contexts.contains(name))
    }

    pub(crate) fn global_args(&mut self, instruction: &Instruction) {
        let Kind::Arg(definitions) = &instruction.kind else {
            return;
        };
        for definition in definitions {
            let name = definition.name.text.clone();
            self.declared.insert(name.clone());
            let value = match (self.options.build_args.get(&name), &definition.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => self.expand_global(default, None).map(|got| got.text),
                (None, None) => None,
            };
            if let Some(value) = value {
                self.globals.insert(name, value);
            }
        }
    }

    /// Expands a word by the ARGs before the first FROM; `from` is the FROM that it is part of.
    pub(crate) fn expand_global(
        &mut self,
        word: &Word,
        from: Option<&Instruction>,
    ) -> Option<Expansion> {
        match expand(&word.text, self.dockerfile.escape, |name| {
            self.globals.get(name).cloned()
        }) {
            Ok(expansion) => {
                let known = || self.globals.keys().chain(&self.declared);
                for name in &expansion.undefined {
                    let Some(from) = from.filter(|_| known().all(|known| known != name)) else {
                        continue;
                    };
                    let message =
                        format!("FROM uses ${name}, which no ARG before the first FROM declares");
                    let near =
                        suggest(name, known().map(String::as_str)).map(|near| format!("${near}"));
                    let warning = Diagnostic::warning("UndefinedArgInFrom", word.span, message);
                    from.checks
                        .push(&mut self.warnings, warning.did_you_mean(near.as_deref()));
                }
                Some(expansion)
            }
            Err(error) => {
                self.errors
                    .push(Diagnostic::error("Expansion", word.span, error.to_string()));
                None
            }
        }
    }

    fn stage(
        &mut self,
        instruction: &Instruction,
        index: usize,
        names: &[Option<&str>],
    ) -> Option<Draft> {
        let Kind::From(from) = &instruction.kind else {
            return None;
        };
        let image = self.expand_global(&from.image, Some(instruction))?.text;
        if image.is_empty() {
            let message = format!("base name {} is empty", from.image.text);
            self.errors
                .push(Diagnostic::error("EmptyBaseName", from.image.span, message));
            return None;
        }
        let platform = match from.platform.as_ref().filter(|word| !word.text.is_empty()) {
            None => None,
            Some(word) => {
                let expansion = self.expand_global(word, Some(instruction))?;
                let Some(platform) = Platform::parse(&expansion.text) else {
                    let message = format!(
                        "platform {:?} is not os/architecture[/variant]",
                        expansion.text
                    );
                    self.errors
                        .push(Diagnostic::error("InvalidPlatform", word.span, message));
                    return None;
                };
                let target = self.globals.get("TARGETPLATFORM");
                if let Some(warning) = lint::platform(from, &expansion, &platform, target) {
                    instruction.checks.push(&mut self.warnings, warning);
                }
                Some(platform.to_string())
            }
        };
        let name = from.name.as_ref().map(|name| name.text.clone());
        let base = match &name {
            Some(name) if self.options.contexts.contains(name) => {
                BaseRef::Named(name.clone(), from.image.span)
            }
            _ if image == "scratch" => BaseRef::Scratch,
            // Unlike --from and --target, FROM knows stages by their lower-case names alone.
            _ => {
                match earlier_stage(&image, index, names).filter(|_| image == image.to_lowercase())
                {
                    Some(stage) => BaseRef::Stage(stage),
                    None if !reference::is_valid(&image) => {
                        let message =
                            format!("{image:?} is no stage, and cannot be the name of an image");
                        let error = Diagnostic::error("InvalidBaseName", from.image.span, message);
                        let undeclared = self.warnings.iter().rfind(|warning| {
                            warning.code == "UndefinedArgInFrom" && warning.span == from.image.span
                        });
                        self.errors.push(match undeclared {
                            Some(warning) => error.with_hint(warning.to_string()),
                            None => error,
                        });
                        return None;
                    }
                    None => BaseRef::Named(image, from.image.span),
                }
            }
        };
        let mut stage = Stage {
            index,
            name,
            base,
            platform,
            span: instruction.span,
            line: instruction.line,
            text: instruction.text.clone(),
            steps: Vec::new(),
            depends_on: BTreeSet::new(),
            names: Vec::new(),
        };
        match &stage.base {
            BaseRef::Scratch => {}
            BaseRef::Stage(base) => {
                stage.depends_on.insert(*base);
            }
            BaseRef::Named(name, span) => {
                stage.names.push(NamedRef {
                    name: name.clone(),
                    span: *span,
                    base: true,
                });
            }
        }
        Some(Draft {
            stage,
            problems: Vec::new(),
        })
    }

    fn target(&mut self, names: &[Option<&str>]) -> Option<usize> {
        let Some(target) = &self.options.target else {
            return names.len().checked_sub(1);
        };
        let lower = target.to_lowercase();
        // By name alone: a number is none, as with BuildKit.
        let found = names.iter().rposition(|name| *name == Some(lower.as_str()));
        if found.is_none() {
            let message = format!("no stage is named {target}");
            let diagnostic = Diagnostic::error("UnknownTarget", Span::default(), message);
            self.errors
                .push(diagnostic.did_you_mean(suggest(target, names.iter().copied().flatten())));
        }
        found
    }
}

/// Names of all stages, in order.
pub(crate) fn stage_names(dockerfile: &Dockerfile) -> Vec<Option<&str>> {
    let froms = dockerfile
        .instructions
        .iter()
        .filter_map(|instruction| match &instruction.kind {
            Kind::From(from) => Some(from),
            _ => None,
        });
    froms
        .map(|from| from.name.as_ref().map(|name| name.text.as_str()))
        .collect()
}

/// Adds an instruction to its stage; `trigger` if it is an ONBUILD one.
fn add_step(
    draft: &mut Draft,
    instruction: &Instruction,
    names: &[Option<&str>],
    trigger: Option<&Origin>,
) {
    let mut problems = refuse::unsupported(instruction);
    let mut copy_from = CopySource::Context;
    if let Kind::Copy(copy) = &instruction.kind
        && let Some(from) = &copy.from
    {
        match copy_source(from, draft.stage.index, names) {
            Ok(source) => copy_from = source,
            Err(problem) => problems.push(problem),
        }
        let span = trigger.map_or(from.span, |_| instruction.span);
        uses(&mut draft.stage, Some(&copy_from), span);
    }
    let mut mount_from = Vec::new();
    if let Kind::Run(run) = &instruction.kind {
        problems.extend(run::problems(run));
        for mount in &run.mounts {
            match mount_source(mount, draft.stage.index, names) {
                Ok(source) => mount_from.push(source),
                Err(problem) => problems.push(problem),
            }
        }
        for (source, mount) in mount_from.iter().zip(&run.mounts) {
            let span = trigger.map_or(mount.span, |_| instruction.span);
            uses(&mut draft.stage, source.as_ref(), span);
        }
    }
    draft
        .problems
        .extend(problems.into_iter().map(|problem| match trigger {
            Some(origin) => problem.in_text(origin.clone()),
            None => problem,
        }));
    draft.stage.steps.push(Step {
        span: instruction.span,
        line: instruction.line,
        text: instruction.text.clone(),
        kind: instruction.kind.clone(),
        copy_from,
        normalize: instruction.normalize.clone(),
        mount_from,
        trigger: trigger.cloned(),
        checks: instruction.checks.clone(),
    });
}

/// Numbers of the stages that a target needs, itself included.
fn needed(drafts: &[Draft], target: usize) -> BTreeSet<usize> {
    let mut needed = BTreeSet::new();
    let mut open = vec![target];
    while let Some(index) = open.pop() {
        if needed.insert(index) {
            open.extend(drafts[index].stage.depends_on.iter());
        }
    }
    needed
}
