//! Failures as users see them: what failed, the causes, hints; and the exit code.

use std::fmt::Write as _;

use tbuild_realise::{Failure, OpError};

use crate::report::eprint;

/// A failure on its way out.
#[derive(Debug)]
pub struct CliError {
    /// What is said, the causes included.
    pub message: String,
    /// What may help.
    pub hints: Vec<String>,
    /// The process's exit code.
    pub code: u8,
    /// Whether the message is complete as it is (rendered with its own `error:`).
    pub rendered: bool,
}

impl CliError {
    /// Something that the user wrote is wrong: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hints: Vec::new(),
            code: 2,
            rendered: false,
        }
    }

    /// Findings with their places: exit code 2.
    pub fn rendered(message: String) -> Self {
        Self {
            message,
            hints: Vec::new(),
            code: 2,
            rendered: true,
        }
    }

    /// Something is out of reach: exit code 3.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hints: Vec::new(),
            code: 3,
            rendered: false,
        }
    }

    /// Something failed by its own doing: exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hints: Vec::new(),
            code: 1,
            rendered: false,
        }
    }

    /// A defect, or a machine in trouble: exit code 70.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        Self {
            message: chain(error),
            hints: Vec::new(),
            code: 70,
            rendered: false,
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Says it.
    pub fn show(&self) {
        let mut text = if self.rendered {
            format!("{}\n", self.message)
        } else {
            format!("error: {}\n", self.message)
        };
        for hint in &self.hints {
            let _infallible = writeln!(text, "hint: {hint}");
        }
        eprint(&text);
    }
}

/// The message of an error and of all its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            let _infallible = write!(text, ": {next}");
        }
        cause = error.source();
    }
    text
}

impl From<OpError> for CliError {
    fn from(error: OpError) -> Self {
        let rendered = error.to_string().starts_with("error");
        Self {
            message: chain(&error),
            hints: error.hints().to_vec(),
            code: error.exit_code(),
            rendered,
        }
    }
}

impl From<tbuild_store::StoreError> for CliError {
    fn from(error: tbuild_store::StoreError) -> Self {
        Self::internal(&error)
    }
}

/// How many lines of a failed node's output are shown again.
const LINES: usize = 60;

/// Nodes that failed, each with the end of its output; the worst exit code of theirs.
pub fn show_failures(failures: &[Failure]) -> u8 {
    let mut code = 1;
    for failure in failures {
        let mut text = String::new();
        let log = String::from_utf8_lossy(&failure.log);
        let lines: Vec<&str> = log.lines().collect();
        let first = lines.len().saturating_sub(LINES);
        if !lines.is_empty() {
            let _infallible = writeln!(
                text,
                "\n--- {}: last {} lines of its output",
                failure.node,
                lines.len() - first
            );
            for line in &lines[first..] {
                let _infallible = writeln!(text, "  {line}");
            }
        }
        let _infallible = writeln!(text, "error: {} failed: {}", failure.node, failure.title);
        for line in chain(&failure.error).lines() {
            let _infallible = writeln!(text, "  {line}");
        }
        for hint in failure.error.hints() {
            let _infallible = writeln!(text, "hint: {hint}");
        }
        eprint(&text);
        code = code.max(failure.error.exit_code());
    }
    code
}
