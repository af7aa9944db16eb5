//! Which lint rules are wanted: `# check=skip=A,B;error=true`, at the top of a file or right above an instruction.

use std::collections::BTreeSet;

use crate::Diagnostic;

/// Rules that are checked only if asked for.
const EXPERIMENTAL: [&str; 1] = ["InvalidDefinitionDescription"];

/// What `# check=` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checks {
    skip: Rules,
    experimental: Rules,
    /// Whether warnings keep the image from being built.
    pub error: bool,
}

/// Some rules by name, or all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Rules {
    all: bool,
    names: BTreeSet<String>,
}

impl Rules {
    fn parse(text: &str) -> Self {
        match text.trim() {
            "all" => Self {
                all: true,
                names: BTreeSet::new(),
            },
            list => Self {
                all: false,
                names: list.split(',').map(|name| name.trim().to_owned()).collect(),
            },
        }
    }

    fn has(&self, rule: &str) -> bool {
        self.all || self.names.contains(rule)
    }

    fn add(&mut self, other: &Self) {
        self.all |= other.all;
        self.names.extend(other.names.iter().cloned());
    }
}

impl Checks {
    /// Reads the directive's value, such as `skip=A,B;error=true`. Gives what is wrong with it otherwise.
    pub(crate) fn parse(value: &str) -> Result<Self, String> {
        // What stands behind white space is no part of it.
        let value = value.split(' ').next().unwrap_or_default().trim();
        let mut checks = Self::default();
        if value.is_empty() {
            return Ok(checks);
        }
        for option in value.splitn(3, ';') {
            let Some((name, given)) = option.split_once('=') else {
                return Err(format!("check option {option:?} has no value"));
            };
            match name.trim() {
                "skip" => checks.skip = Rules::parse(given),
                "experimental" => checks.experimental = Rules::parse(given),
                "error" => {
                    checks.error = match given.trim() {
                        "1" | "t" | "T" | "true" | "True" | "TRUE" => true,
                        "0" | "f" | "F" | "false" | "False" | "FALSE" => false,
                        other => return Err(format!("check option error={other} is no boolean")),
                    };
                }
                other => return Err(format!("there is no check option {other:?}")),
            }
        }
        Ok(checks)
    }

    /// These and, for one instruction, what the comments right above it say: the first `check=` counts, and one
    /// that cannot be read counts for nothing. It never makes warnings errors.
    pub(crate) fn with_comments(&self, comments: &[String]) -> Self {
        let mut checks = self.clone();
        let found = comments
            .iter()
            .find_map(|comment| match crate::directive::read(comment) {
                Some((name, value)) if name == "check" => Some(value),
                _ => None,
            });
        if let Some(Ok(own)) = found.map(Self::parse) {
            checks.skip.add(&own.skip);
            checks.experimental.add(&own.experimental);
        }
        checks
    }

    /// Whether findings of this rule are wanted.
    pub fn wants(&self, rule: &str) -> bool {
        if EXPERIMENTAL.contains(&rule) {
            self.experimental.has(rule)
        } else {
            !self.skip.has(rule)
        }
    }

    /// Adds a finding if it is wanted.
    pub(crate) fn push(&self, found: &mut Vec<Diagnostic>, warning: Diagnostic) {
        if self.wants(warning.code) {
            found.push(warning);
        }
    }
}
