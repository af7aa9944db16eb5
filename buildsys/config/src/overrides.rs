//! What the command line and profiles change.

use std::collections::BTreeMap;

use tbuild_dockerfile::Diagnostic;

use crate::problem::{at, elsewhere};
use crate::value::{Kind, Table, Value, parse};

/// What comes from outside the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Profiles, applied in order.
    pub profiles: Vec<String>,
    /// `KEY=VALUE`: a dotted key; the value is TOML, or a bare text.
    pub set: Vec<String>,
    /// `NAME=PATH`: the source NAME is that folder.
    pub sources: Vec<String>,
    /// The environment: only what `project.env` names is ever read.
    pub environment: BTreeMap<String, String>,
}

impl Overrides {
    /// Applies profiles, then `--set`, then `--source`, then `${env:X}`.
    pub(crate) fn apply(&self, root: &mut Table) -> Result<(), Vec<Diagnostic>> {
        let mut problems = Vec::new();
        let profiles = match root.get("profile").map(|(_, value)| &value.kind) {
            Some(Kind::Table(profiles)) => profiles.clone(),
            _ => Table::new(),
        };
        for name in &self.profiles {
            match profiles.get(name) {
                Some((
                    _,
                    Value {
                        kind: Kind::Table(profile),
                        ..
                    },
                )) => merge(root, profile.clone()),
                Some((_, value)) => {
                    problems.push(at(
                        value.span.clone(),
                        format!("profile.{name} must be a table"),
                    ));
                }
                None => {
                    let known: Vec<&str> = profiles.keys().map(String::as_str).collect();
                    let problem = elsewhere(format!("there is no [profile.{name}]"));
                    problems.push(problem.with_hint(format!("profiles: {}", known.join(", "))));
                }
            }
        }
        for text in &self.set {
            if let Err(problem) = set(root, text) {
                problems.push(problem);
            }
        }
        for text in &self.sources {
            match text.split_once('=') {
                Some((name, path)) if !name.is_empty() && !path.is_empty() => {
                    let path = Value {
                        kind: Kind::String(path.to_owned()),
                        span: 0..0,
                    };
                    let mut source = Table::from([("path".to_owned(), (0..0, path))]);
                    // What is left out stays left out, wherever the source comes from.
                    for key in ["include", "exclude"] {
                        if let Some(kept) = child(root, "source")
                            .and_then(|all| child(all, name))
                            .and_then(|old| old.get(key))
                        {
                            source.insert(key.to_owned(), kept.clone());
                        }
                    }
                    if child(root, "source")
                        .and_then(|all| child(all, name))
                        .is_none()
                    {
                        problems.push(elsewhere(format!(
                            "--source {text}: there is no [source.{name}]"
                        )));
                        continue;
                    }
                    if let Some((
                        _,
                        Value {
                            kind: Kind::Table(all),
                            ..
                        },
                    )) = root.get_mut("source")
                    {
                        all.insert(
                            name.to_owned(),
                            (
                                0..0,
                                Value {
                                    kind: Kind::Table(source),
                                    span: 0..0,
                                },
                            ),
                        );
                    }
                }
                _ => problems.push(elsewhere(format!("--source {text}: NAME=PATH is expected"))),
            }
        }
        self.environment(root, &mut problems);
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn environment(&self, root: &mut Table, problems: &mut Vec<Diagnostic>) {
        let declared: Vec<String> =
            match child(root, "project").and_then(|project| project.get("env")) {
                Some((
                    _,
                    Value {
                        kind: Kind::Array(names),
                        ..
                    },
                )) => names
                    .iter()
                    .filter_map(|name| {
                        if let Kind::String(name) = &name.kind {
                            Some(name.clone())
                        } else {
                            None
                        }
                    })
                    .collect(),
                _ => Vec::new(),
            };
        for (name, (_, value)) in root.iter_mut() {
            // Profiles that are not applied may name what is not set.
            if name != "profile" {
                self.substitute(value, &declared, problems);
            }
        }
    }

    fn substitute(&self, value: &mut Value, declared: &[String], problems: &mut Vec<Diagnostic>) {
        let span = value.span.clone();
        match &mut value.kind {
            Kind::String(text) => {
                while let Some(start) = text.find("${env:") {
                    let Some(length) = text[start..].find('}') else {
                        problems.push(at(span, "${env:... is not closed by }"));
                        return;
                    };
                    let name = text[start + 6..start + length].to_owned();
                    if !declared.contains(&name) {
                        let problem = at(span, format!("${{env:{name}}} is not declared"));
                        problems.push(problem.with_hint(format!(
                            "add {name:?} to project.env, so that all can see what this build reads"
                        )));
                        return;
                    }
                    let Some(found) = self.environment.get(&name) else {
                        problems.push(at(
                            span,
                            format!("the environment variable {name} is not set"),
                        ));
                        return;
                    };
                    // What was put in is not looked at again: the rest is.
                    if found.contains("${env:") {
                        problems.push(at(span, format!("the value of {name} holds ${{env:")));
                        return;
                    }
                    text.replace_range(start..=start + length, found);
                }
            }
            Kind::Array(values) => values
                .iter_mut()
                .for_each(|value| self.substitute(value, declared, problems)),
            Kind::Table(table) => table
                .values_mut()
                .for_each(|(_, value)| self.substitute(value, declared, problems)),
            Kind::Integer(_) | Kind::Float(_) | Kind::Bool(_) => {}
        }
    }
}

fn child<'a>(table: &'a Table, name: &str) -> Option<&'a Table> {
    match table.get(name) {
        Some((
            _,
            Value {
                kind: Kind::Table(inner),
                ..
            },
        )) => Some(inner),
        _ => None,
    }
}

/// Tables merge; anything else replaces. A source is replaced whole: its kinds exclude each other.
fn merge(into: &mut Table, from: Table) {
    for (name, (span, value)) in from {
        match (into.get_mut(&name), value.kind) {
            (
                Some((
                    _,
                    Value {
                        kind: Kind::Table(sources),
                        ..
                    },
                )),
                Kind::Table(replaced),
            ) if name == "source" => {
                sources.extend(replaced);
            }
            (
                Some((
                    _,
                    Value {
                        kind: Kind::Table(inner),
                        ..
                    },
                )),
                Kind::Table(more),
            ) => merge(inner, more),
            (_, kind) => {
                into.insert(
                    name,
                    (
                        span,
                        Value {
                            kind,
                            span: value.span,
                        },
                    ),
                );
            }
        }
    }
}

fn set(root: &mut Table, text: &str) -> Result<(), Diagnostic> {
    let wrong = || {
        elsewhere(format!(
            "--set {text}: KEY=VALUE is expected, with a dotted key"
        ))
    };
    let (key, value) = text.split_once('=').ok_or_else(wrong)?;
    // The value as TOML if it is that, else as the text it is.
    let value = match parse(&format!("value = {value}")) {
        Ok(mut table) => table.remove("value").map(|(_, value)| value.kind),
        Err(_) => None,
    }
    .unwrap_or_else(|| Kind::String(value.to_owned()));
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts
        .pop()
        .filter(|last| !last.is_empty())
        .ok_or_else(wrong)?;
    let mut table = root;
    for part in parts {
        let empty = || {
            (
                0..0,
                Value {
                    kind: Kind::Table(Table::new()),
                    span: 0..0,
                },
            )
        };
        match &mut table.entry(part.to_owned()).or_insert_with(empty).1.kind {
            Kind::Table(inner) => table = inner,
            other => {
                return Err(elsewhere(format!(
                    "--set {text}: {part} is {}, not a table",
                    other.word()
                )));
            }
        }
    }
    table.insert(
        last.to_owned(),
        (
            0..0,
            Value {
                kind: value,
                span: 0..0,
            },
        ),
    );
    Ok(())
}
