//! Why a text is not a lock.

use crate::Kind;

/// Why a text is not a lock. Lines and columns count from 1; columns count characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Not TOML, or not this schema.
    #[error("{file}:{line}:{column}: {message}")]
    Syntax {
        /// The file's name as the caller gave it.
        file: String,
        /// Where.
        line: usize,
        /// Where in the line.
        column: usize,
        /// What is wrong.
        message: String,
        /// The bytes of the text that are meant.
        span: std::ops::Range<usize>,
    },
    /// Written by a tbuild whose schema this one does not know.
    #[error("{file} has schema {found}, but this tbuild reads schema {known}")]
    Schema {
        /// The file's name.
        file: String,
        /// What it says.
        found: u32,
        /// What is known here.
        known: u32,
    },
    /// A lock of another kind.
    #[error("{file} is a lock of kind {found:?}, not {wanted:?}")]
    Kind {
        /// The file's name.
        file: String,
        /// What it is.
        found: Kind,
        /// What was asked for.
        wanted: Kind,
    },
    /// One thing locked twice.
    #[error("{file} locks {what} twice")]
    Duplicate {
        /// The file's name.
        file: String,
        /// What.
        what: String,
    },
    /// Fields that do not go together.
    #[error("{file}: {what}")]
    Incomplete {
        /// The file's name.
        file: String,
        /// What is missing or too much.
        what: String,
    },
}

impl LockError {
    /// Places TOML's complaint in `text`.
    pub(crate) fn syntax(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or(0..0);
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self::Syntax {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: error.message().replace('\n', ", "),
            span,
        }
    }
}
