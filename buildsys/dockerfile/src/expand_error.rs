//! What can be wrong with a word's variables.

/// The most bytes that the variables of one word may come to: each may hold others twice, and so on. No program
/// takes a variable or an argument of more than 128 KiB (Linux: `MAX_ARG_STRLEN`).
pub(crate) const MAX_VALUES: usize = 1 << 20;

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// An opening quote without its closing one.
    #[error("missing closing {0}")]
    OpenQuote(char),
    /// `${` without `}`.
    #[error("missing }} of ${{{name}")]
    OpenBrace {
        /// The variable.
        name: String,
    },
    /// `${x/a` without the second slash.
    #[error("missing second / in ${{{name}/…}}")]
    OpenReplacement {
        /// The variable.
        name: String,
    },
    /// `${}`, `${:…}` and the like.
    #[error("${{ is not followed by a name")]
    NoName,
    /// `${x` followed by something else than a known modifier.
    #[error("unsupported modifier {modifier:?} of ${{{name}}}")]
    Modifier {
        /// The variable.
        name: String,
        /// What follows the name.
        modifier: String,
    },
    /// `${x:?message}` and x is not set.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message of the Dockerfile, or the default one.
        message: String,
    },
    /// A pattern with a bad escape.
    #[error("bad pattern {pattern:?} in ${{{name}}}")]
    Pattern {
        /// The variable.
        name: String,
        /// The pattern.
        pattern: String,
    },
    /// Values that come to very much.
    #[error("its variables come to more than {} KiB", MAX_VALUES >> 10)]
    Long,
    /// A long pattern for a long value.
    #[error("pattern and value of ${{{name}}} are too long for each other")]
    Work {
        /// The variable.
        name: String,
    },
    /// `${a:-${b:-${c…}}}` without an end in sight.
    #[error("substitutions are nested too deeply")]
    Depth,
}
