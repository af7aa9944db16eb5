//! What variables mean at a point of a stage.

use std::collections::{BTreeMap, BTreeSet};

use crate::ast::{ArgDefinition, Pair, Word};
use crate::expand::{Expansion, expand, expand_heredoc};
use crate::suggest::suggest;
use crate::{Diagnostic, Plan, Span};

/// PATH of a stage whose base sets none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The shell of the shell form where neither base nor SHELL says another.
const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// The variables that every builder takes as build arguments without an ARG, in lower case.
const PROXY_ARGS: [&str; 5] = [
    "all_proxy",
    "ftp_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// ARGs that tell the builder something and are no variables.
const NO_ENV: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// What a base image's configuration says that instructions depend on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BaseConfig {
    /// ENV.
    pub env: Vec<(String, String)>,
    /// WORKDIR; may be empty.
    pub workdir: String,
    /// SHELL; may be empty.
    pub shell: Vec<String>,
}

/// What variables mean at a point of a stage. [`crate::Step::resolve`] moves it on, step by step.
///
/// ENV and ARG share one set of names, and what was set last counts, as with BuildKit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    escape: char,
    env: BTreeMap<String, String>,
    /// What ENV has set, here and in the base: an image keeps no ARG.
    kept: BTreeMap<String, String>,
    /// Names of `env` that ARG has set.
    args: BTreeSet<String>,
    /// Names that an ARG has declared, with or without a value.
    declared: BTreeSet<String>,
    globals: BTreeMap<String, String>,
    build_args: BTreeMap<String, String>,
    pub(crate) workdir: String,
    pub(crate) workdir_set: bool,
    pub(crate) shell: Vec<String>,
    pub(crate) cmd_set: bool,
    /// Where CMD, ENTRYPOINT and HEALTHCHECK of this stage stand.
    pub(crate) once: BTreeMap<&'static str, Span>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// Bytes that variables have come to so far.
    expanded: usize,
}

/// The most bytes that the variables of a stage and of those that it starts from may come to, in all their words.
const MAX_EXPANDED: usize = 64 << 20;

impl Scope {
    /// At the start of a stage whose base is an image, a named context or scratch. A PATH is set where the base
    /// has none ([`DEFAULT_PATH`]); it belongs into the image's configuration as well.
    pub fn new(plan: &Plan, base: &BaseConfig) -> Self {
        let mut env: BTreeMap<String, String> = base.env.iter().cloned().collect();
        env.entry("PATH".to_owned())
            .or_insert_with(|| DEFAULT_PATH.to_owned());
        Self {
            escape: plan.escape,
            kept: env.clone(),
            env,
            args: BTreeSet::new(),
            declared: BTreeSet::new(),
            globals: plan.globals.clone(),
            build_args: plan.build_args.clone(),
            workdir: if base.workdir.is_empty() {
                "/".to_owned()
            } else {
                base.workdir.clone()
            },
            workdir_set: false,
            shell: base.shell.clone(),
            cmd_set: false,
            once: BTreeMap::new(),
            warnings: Vec::new(),
            expanded: 0,
        }
    }

    /// At the start of a stage whose base is the stage that `self` is the end of: its ARGs are inherited, but for
    /// those that hid a variable of ENV.
    #[must_use]
    pub fn child(&self) -> Self {
        let mut env = self.env.clone();
        env.extend(self.kept.clone());
        let mut args = self.args.clone();
        args.retain(|name| !self.kept.contains_key(name));
        Self {
            env,
            args,
            cmd_set: false,
            once: BTreeMap::new(),
            warnings: Vec::new(),
            ..self.clone()
        }
    }

    /// The same where `self` may be of a build for another platform: what `plan` says of global ARGs counts from
    /// here on.
    #[must_use]
    pub fn child_in(&self, plan: &Plan) -> Self {
        Self {
            globals: plan.globals.clone(),
            ..self.child()
        }
    }

    /// Warnings since the last call.
    pub fn take_warnings(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.warnings)
    }

    /// The environment of a RUN at this point: ENV and ARG.
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// The part of [`Scope::env`] that is ARG and not ENV.
    pub fn args(&self) -> BTreeMap<String, String> {
        let value = |name: &String| Some((name.clone(), self.env.get(name)?.clone()));
        self.args.iter().filter_map(value).collect()
    }

    /// The working folder at this point.
    pub fn workdir(&self) -> &str {
        &self.workdir
    }

    /// Program and arguments of a line of shell.
    pub(crate) fn in_shell(&self, line: &str) -> Vec<String> {
        let shell = if self.shell.is_empty() {
            DEFAULT_SHELL.map(str::to_owned).to_vec()
        } else {
            self.shell.clone()
        };
        shell.into_iter().chain([line.to_owned()]).collect()
    }

    /// Proxy variables of `--build-arg`, in both casings, where the environment does not set them.
    pub(crate) fn proxy(&self) -> BTreeMap<String, String> {
        let mut proxy = BTreeMap::new();
        for (name, value) in &self.build_args {
            let lower = name.to_ascii_lowercase();
            if PROXY_ARGS.contains(&lower.as_str()) {
                proxy.insert(lower.to_ascii_uppercase(), value.clone());
                proxy.insert(lower, value.clone());
            }
        }
        proxy.retain(|name, _| !self.env.contains_key(name));
        proxy
    }

    /// Expands one word to one word.
    pub(crate) fn word(&mut self, word: &Word) -> Result<String, Diagnostic> {
        let expansion = self.expansion(word)?;
        self.report_undefined(&expansion, word.span);
        Ok(expansion.text)
    }

    /// Expands one word to several. As with BuildKit, variables that are not set are not told of.
    pub(crate) fn words(&mut self, word: &Word) -> Result<Vec<String>, Diagnostic> {
        Ok(self.expansion(word)?.words)
    }

    /// Expands the text of a here-document that stands at `span`.
    pub(crate) fn heredoc(&mut self, text: &str, span: Span) -> Result<String, Diagnostic> {
        let expansion = expand_heredoc(text, |name| self.env.get(name).cloned());
        let expansion =
            expansion.map_err(|error| Diagnostic::error("Expansion", span, error.to_string()))?;
        self.count(&expansion, text, span)?;
        self.report_undefined(&expansion, span);
        Ok(expansion.text)
    }

    fn expansion(&mut self, word: &Word) -> Result<Expansion, Diagnostic> {
        let expansion = expand(&word.text, self.escape, |name| self.env.get(name).cloned());
        let expansion = expansion
            .map_err(|error| Diagnostic::error("Expansion", word.span, error.to_string()))?;
        self.count(&expansion, &word.text, word.span)?;
        Ok(expansion)
    }

    /// Few bytes of many instructions can stand for more than the memory holds.
    fn count(&mut self, expansion: &Expansion, text: &str, span: Span) -> Result<(), Diagnostic> {
        self.expanded += expansion.text.len().saturating_sub(text.len());
        if self.expanded <= MAX_EXPANDED {
            return Ok(());
        }
        let most = MAX_EXPANDED >> 20;
        let message = format!("the stage's variables come to more than {most} MiB");
        Err(Diagnostic::error("Expansion", span, message))
    }

    fn report_undefined(&mut self, expansion: &Expansion, span: Span) {
        for name in expansion.undefined.difference(&self.declared.clone()) {
            if NO_ENV.contains(&name.as_str()) {
                continue;
            }
            let near =
                suggest(name, self.env.keys().map(String::as_str)).map(|near| format!("${near}"));
            let warning = Diagnostic::warning(
                "UndefinedVar",
                span,
                format!("${name} is not defined and stays empty"),
            );
            self.warn(warning.did_you_mean(near.as_deref()));
        }
    }

    /// Notes a warning. Whether it is wanted is for the step to say.
    pub(crate) fn warn(&mut self, warning: Diagnostic) {
        self.warnings.push(warning);
    }

    /// Expands all pairs by what holds before the instruction.
    pub(crate) fn pairs(&mut self, pairs: &[Pair]) -> Result<Vec<(String, String)>, Diagnostic> {
        pairs
            .iter()
            .map(|pair| Ok((self.word(&pair.key)?, self.word(&pair.value)?)))
            .collect()
    }

    /// ENV.
    pub(crate) fn set_env(&mut self, pairs: &[(String, String)]) {
        for (name, value) in pairs {
            self.env.insert(name.clone(), value.clone());
            self.kept.insert(name.clone(), value.clone());
            self.args.remove(name);
        }
    }

    /// ARG: `--build-arg` first, then the default, then the global ARG of this name. Gives name and value.
    pub(crate) fn declare(
        &mut self,
        definition: &ArgDefinition,
    ) -> Result<(String, Option<String>), Diagnostic> {
        let name = definition.name.text.clone();
        let value = match (self.build_args.get(&name), &definition.default) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(default)) => Some(self.word(default)?),
            (None, None) => self.globals.get(&name).cloned(),
        };
        if let Some(value) = value.as_ref().filter(|_| !NO_ENV.contains(&name.as_str())) {
            self.env.insert(name.clone(), value.clone());
            self.args.insert(name.clone());
        }
        self.declared.insert(name.clone());
        Ok((name, value))
    }
}
