//! `--name=value` flags of an instruction.

use crate::ast::Word;
use crate::suggest::suggest;
use crate::{Diagnostic, Span};

/// How often a flag may stand and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// A value, once.
    Value,
    /// A value, each time.
    Values,
    /// `true`, `false` or nothing, once.
    Switch,
}

/// The flags of one instruction.
#[derive(Debug, Default)]
pub(crate) struct Flags(Vec<(&'static str, Word)>);

impl Flags {
    /// Checks `given` (text with its dashes, and where it stands) against what the instruction allows.
    pub fn check(
        keyword: &str,
        given: Vec<(String, Span)>,
        allowed: &[(&'static str, Takes)],
        errors: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut flags = Self::default();
        for (text, span) in given {
            let (name, value) = match text[2..].split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (&text[2..], None),
            };
            let Some((known, takes)) = allowed.iter().find(|(known, _)| *known == name) else {
                let suggestion = suggest(name, allowed.iter().map(|(known, _)| *known))
                    .map(|near| format!("--{near}"));
                errors.push(
                    Diagnostic::error(
                        "UnknownFlag",
                        span,
                        format!("{keyword} has no flag --{name}"),
                    )
                    .did_you_mean(suggestion.as_deref()),
                );
                continue;
            };
            if *takes != Takes::Values && flags.0.iter().any(|(seen, _)| seen == known) {
                errors.push(Diagnostic::error(
                    "DuplicateFlag",
                    span,
                    format!("--{name} is given twice"),
                ));
                continue;
            }
            let value = match (takes, value) {
                (Takes::Switch, None) => "true".to_owned(),
                (Takes::Switch, Some(value)) if is_switch(value) => value.to_ascii_lowercase(),
                (Takes::Switch, Some(value)) => {
                    let message = format!("--{name} takes true or false, not {value:?}");
                    errors.push(Diagnostic::error("InvalidFlag", span, message));
                    continue;
                }
                (_, Some(value)) => value.to_owned(),
                (_, None) => {
                    let message = format!("--{name} needs a value");
                    errors.push(
                        Diagnostic::error("InvalidFlag", span, message)
                            .with_hint(format!("write --{name}=VALUE")),
                    );
                    continue;
                }
            };
            flags.0.push((known, Word { text: value, span }));
        }
        flags
    }

    /// Takes a flag that stands at most once.
    pub fn take(&mut self, name: &str) -> Option<Word> {
        let index = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.remove(index).1)
    }

    /// Takes a flag each time that it stands.
    pub fn take_all(&mut self, name: &str) -> Vec<Word> {
        let (taken, kept) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(known, _)| *known == name);
        self.0 = kept;
        let taken: Vec<(&str, Word)> = taken;
        taken.into_iter().map(|(_, word)| word).collect()
    }
}

fn is_switch(value: &str) -> bool {
    value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false")
}

/// The flags that an instruction may have.
pub(crate) fn allowed_flags(keyword: &str) -> &'static [(&'static str, Takes)] {
    match keyword {
        "FROM" => &[("platform", Takes::Value)],
        "COPY" => &[
            ("from", Takes::Value),
            ("chown", Takes::Value),
            ("chmod", Takes::Value),
            ("link", Takes::Switch),
            ("parents", Takes::Switch),
            ("exclude", Takes::Values),
        ],
        "ADD" => &[
            ("chown", Takes::Value),
            ("chmod", Takes::Value),
            ("link", Takes::Switch),
            ("keep-git-dir", Takes::Switch),
            ("checksum", Takes::Value),
            ("unpack", Takes::Switch),
            ("exclude", Takes::Values),
        ],
        "RUN" => &[
            ("mount", Takes::Values),
            ("network", Takes::Value),
            ("security", Takes::Value),
            ("device", Takes::Values),
        ],
        "HEALTHCHECK" => &[
            ("interval", Takes::Value),
            ("timeout", Takes::Value),
            ("start-period", Takes::Value),
            ("start-interval", Takes::Value),
            ("retries", Takes::Value),
        ],
        _ => &[],
    }
}
