//! A whole tbuild.toml.

use std::collections::{BTreeMap, BTreeSet};

use tbuild_dockerfile::{Diagnostic, Span};
use toml::de::DeTable;

use crate::interpolate::Interpolation;
use crate::model::Config;
use crate::value::{Place, Table, Value, table};
use crate::{check, decode, overlay};

/// The subcommands that tbuild has or is to have. `cluster` is not among them: it runs the target of that name.
pub const RESERVED: &[&str] = &[
    "apply",
    "artifact",
    "backup",
    "build",
    "bundle",
    "chart",
    "clean",
    "collect-static",
    "completions",
    "dev-push",
    "diff",
    "doctor",
    "exec",
    "gc",
    "graph",
    "help",
    "image",
    "init",
    "lock",
    "outdated",
    "log",
    "logs",
    "migrate",
    "node",
    "plan",
    "registry",
    "report",
    "reset",
    "restore",
    "rollback",
    "run",
    "shell",
    "status",
    "store",
    "superuser",
    "tool",
    "verify",
    "why",
];

/// What the command line and the environment add to the file.
#[derive(Debug, Clone, Default)]
pub struct Options<'a> {
    /// `--profile`, in order.
    pub profiles: &'a [String],
    /// `--set PATH=VALUE`, in order.
    pub set: &'a [String],
    /// `--source NAME=PATH`, in order. A relative path counts from the folder of tbuild.toml as all do: where
    /// the user's working folder is another one, the caller makes it absolute.
    pub sources: &'a [String],
    /// The environment that `${env:X}` may read, as far as `project.env` declares it.
    pub env: BTreeMap<String, String>,
    /// Names that subcommands of tbuild have ([`RESERVED`], or what the command line really has).
    pub reserved: &'a [&'a str],
}

/// Parses and checks a tbuild.toml: text in, configuration out, or all errors that can be told apart at once.
/// Profiles are laid over the file first, then `--set`, then `--source`.
pub fn parse(text: &str, options: &Options<'_>) -> Result<Config, Vec<Diagnostic>> {
    let (parsed, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        return Err(syntax
            .iter()
            .map(|error| syntax_error(text, error))
            .collect());
    }
    let mut errors = Vec::new();
    let mut root = table(parsed.into_inner(), &|range| Place::file(range));
    let profiles = overlay::take_profiles(&mut root, &mut errors);
    for (name, _, tables) in &profiles {
        if !options.profiles.contains(name) {
            errors.extend(check_profile(&root, tables));
        }
    }
    for name in options.profiles {
        if let Some((_, _, tables)) = profiles.iter().find(|(known, ..)| known == name) {
            overlay::merge(&mut root, tables.clone());
        } else {
            let known = profiles.iter().map(|(name, ..)| name.as_str());
            errors.push(overlay::unknown_profile(name, known));
        }
    }
    for argument in options.set {
        errors.extend(overlay::set(&mut root, argument).err());
    }
    for argument in options.sources {
        errors.extend(overlay::set_source(&mut root, argument).err());
    }
    let mut interpolation = Interpolation {
        text,
        declared: declared(&root),
        values: &options.env,
        used: BTreeMap::new(),
    };
    interpolation.table(&mut root, &mut errors);
    let used = interpolation.used;
    let (config, decoding) = decode::decode(root);
    // References to tables that could not be read would be errors twice.
    let sound = decoding.is_empty();
    errors.extend(decoding);
    if let Some(config) = config.as_ref().filter(|_| sound) {
        errors.extend(check::check(config, options.reserved));
    }
    match config {
        Some(config) if errors.is_empty() => Ok(Config {
            env: used,
            profiles: profiles.into_iter().map(|(name, ..)| name).collect(),
            ..config
        }),
        _ => {
            let mut seen = BTreeSet::new();
            errors.sort_by_key(|error| (error.text.is_some(), error.span));
            errors.retain(|error| seen.insert((error.span, error.message.clone())));
            Err(errors)
        }
    }
}

fn syntax_error(text: &str, error: &toml::de::Error) -> Diagnostic {
    let span = error
        .span()
        .map_or(Span::new(text.len(), text.len()), Span::from);
    Diagnostic::error(
        "Syntax",
        span,
        error.message().trim_end_matches('.').to_owned(),
    )
}

/// Names in `project.env`.
fn declared(root: &Table) -> BTreeSet<String> {
    let project = root.get("project").map(|entry| &entry.node.value);
    let Some(Value::Table(project)) = project else {
        return BTreeSet::new();
    };
    let Some(Value::Array(names)) = project.get("env").map(|entry| &entry.node.value) else {
        return BTreeSet::new();
    };
    let names = names.iter().filter_map(|name| match &name.value {
        Value::String(name) => Some(name.clone()),
        _ => None,
    });
    names.collect()
}

/// What is wrong with a profile that is not asked for, as far as that can be said without asking for it: keys
/// and types.
fn check_profile(root: &Table, tables: &Table) -> Vec<Diagnostic> {
    let mut merged = root.clone();
    overlay::merge(&mut merged, tables.clone());
    let (_, mut errors) = decode::decode(merged);
    errors.retain(|error| matches!(error.code, "UnknownKey" | "WrongType"));
    errors
}
