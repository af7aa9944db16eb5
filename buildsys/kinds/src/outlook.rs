//! What the stages of a plan come to but for their files, before anything runs: the image's config, and every
//! finding that variables and configs lead to.

use std::collections::HashMap;

use tbuild_dockerfile::{
    BaseRef, Concrete, CopySource, Diagnostic, IgnoreRules, Plan, Platform, Scope, Source, Stage,
    Step, ast,
};
use tbuild_oci::ImageConfig;

use crate::base::empty_config;
use crate::stage::{apply, begin};

/// Configs of the images that stages start from, by the stage's number; none where nobody could be asked.
pub(crate) type Configs = HashMap<usize, Option<ImageConfig>>;

/// The outlook of a plan.
#[derive(Debug, Default)]
pub(crate) struct Outlook {
    /// What keeps it from being built.
    pub errors: Vec<Diagnostic>,
    /// What does not.
    pub warnings: Vec<Diagnostic>,
    /// The config of the last stage, without layers and history; none if a base's is not known.
    pub config: Option<ImageConfig>,
}

/// Where a stage has come to.
#[derive(Clone)]
struct End {
    config: ImageConfig,
    scope: Scope,
    /// Whether all that it starts from is known.
    known: bool,
}

impl Outlook {
    /// Goes through all stages of a plan. `ignored` is what the build context leaves out.
    pub fn of(plan: &Plan, configs: &Configs, platform: &Platform, ignored: &IgnoreRules) -> Self {
        let mut outlook = Self {
            warnings: plan.warnings.clone(),
            ..Self::default()
        };
        let mut ends: HashMap<usize, End> = HashMap::new();
        let mut last = None;
        for stage in &plan.stages {
            let mut end = match &stage.base {
                BaseRef::Stage(index) => match ends.get(index) {
                    Some(end) => {
                        let mut end = End {
                            scope: end.scope.child(),
                            ..end.clone()
                        };
                        end.config.config.on_build.clear();
                        end
                    }
                    None => continue,
                },
                BaseRef::Scratch | BaseRef::Named(..) => {
                    let found = configs.get(&stage.index).cloned().flatten();
                    let known = found.is_some() || stage.base == BaseRef::Scratch;
                    let scratch = || empty_config(platform);
                    let mut config = found.unwrap_or_else(scratch);
                    outlook
                        .warnings
                        .extend(other_platform(stage, &config, platform));
                    let scope = begin(plan, &mut config);
                    End {
                        config,
                        scope,
                        known,
                    }
                }
            };
            for step in &stage.steps {
                match step.resolve(&mut end.scope) {
                    Ok(concrete) => {
                        apply(&mut end.config, &concrete);
                        outlook.warnings.extend(left_out(step, &concrete, ignored));
                    }
                    // What an unknown base may set cannot be missed.
                    Err(error) if end.known => outlook.errors.push(error),
                    Err(_) => {}
                }
            }
            let needs_base = |code: &str| matches!(code, "UndefinedVar" | "JSONArgsRecommended");
            let found = end.scope.take_warnings().into_iter();
            outlook
                .warnings
                .extend(found.filter(|warning| end.known || !needs_base(warning.code)));
            last = Some(stage.index);
            ends.insert(stage.index, end);
        }
        outlook.warnings.retain(|warning| {
            warning.code != "InvalidBaseImagePlatform" || plan.checks.wants(warning.code)
        });
        outlook.warnings.sort_by_key(|warning| warning.span);
        let end = last.and_then(|index| ends.remove(&index));
        outlook.config = end.filter(|end| end.known).map(|end| end.config);
        outlook
    }
}

/// Sources of COPY and ADD that the build context leaves out.
fn left_out(step: &Step, concrete: &Concrete, ignored: &IgnoreRules) -> Vec<Diagnostic> {
    let (Concrete::Copy(copy), CopySource::Context) = (concrete, &step.copy_from) else {
        return Vec::new();
    };
    if ignored.is_empty() || !step.checks.wants("CopyIgnoredFile") {
        return Vec::new();
    }
    let (keyword, words) = match &step.kind {
        ast::Kind::Copy(copy) => ("COPY", &copy.sources),
        ast::Kind::Add(add) => ("ADD", &add.sources),
        _ => return Vec::new(),
    };
    let sources = copy.sources.iter().zip(words);
    sources
        .filter(
            |(source, _)| matches!(source, Source::Path(path) if ignored.leaves_out(&path.path)),
        )
        .map(|(_, word)| {
            let message = format!("{keyword} of {}, which .dockerignore leaves out", word.text);
            let warning = Diagnostic::warning("CopyIgnoredFile", word.span, message);
            match &step.trigger {
                Some(trigger) => warning.in_text(trigger.clone()),
                None => warning,
            }
        })
        .collect()
}

/// A base that is not for the platform that the stage is for.
fn other_platform(stage: &Stage, config: &ImageConfig, build: &Platform) -> Option<Diagnostic> {
    let BaseRef::Named(name, span) = &stage.base else {
        return None;
    };
    let own = stage.platform.as_deref().and_then(Platform::parse);
    let wanted = own.unwrap_or_else(|| build.clone());
    if config.os == wanted.os && config.architecture == wanted.architecture {
        return None;
    }
    let message = format!(
        "{name} is for {}/{}, and {wanted} is built for",
        config.os, config.architecture
    );
    Some(Diagnostic::warning(
        "InvalidBaseImagePlatform",
        *span,
        message,
    ))
}
