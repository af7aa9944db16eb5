//! What is wrong with a text, and where.

use std::fmt;

use serde::Serialize;

use crate::Span;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing can be built.
    Error,
    /// It builds, and may not do what was meant.
    Warning,
}

/// One finding about a text. The message is lower case, without a trailing period, and names its subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable name of the rule, such as `UndefinedVar`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// Where: bytes of the file's text, or of `text` if that is set.
    pub span: Span,
    /// What to do about it.
    pub hint: Option<String>,
    /// Set when the spanned text is not the file's but, say, a flag of the command line.
    pub text: Option<Box<Origin>>,
}

/// A text that is not the file's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// Where it comes from, such as `--set`.
    pub name: String,
    /// The text itself.
    pub text: String,
}

/// A message on one line, without what would move the cursor or worse: names in it are whatever a file says.
fn printable(message: String) -> String {
    if !message.contains(char::is_control) {
        return message;
    }
    let mut shown = String::with_capacity(message.len());
    for c in message.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

impl Diagnostic {
    /// An error without a hint.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: printable(message.into()),
            span,
            hint: None,
            text: None,
        }
    }

    /// A warning without a hint.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, span, message)
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(printable(hint.into()));
        self
    }

    /// The same with a hint that proposes `suggestion`, if there is one.
    #[must_use]
    pub fn did_you_mean(self, suggestion: Option<&str>) -> Self {
        match suggestion {
            Some(suggestion) => self.with_hint(format!("did you mean {suggestion}?")),
            None => self,
        }
    }

    /// The same about a text that is not the file's.
    #[must_use]
    pub fn in_text(mut self, origin: Origin) -> Self {
        self.text = Some(Box::new(origin));
        self
    }

    /// Whether it keeps anything from being built.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// The message and the hint, without the place: how to show that is for whoever has the text.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}
