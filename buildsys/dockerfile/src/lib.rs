//! Dockerfile parsing with byte spans, variable expansion, .dockerignore, and lowering to a stage plan.
//!
//! [`parse`] gives the instructions as written, [`lower`] the stages that a target needs, and a [`Scope`] fills
//! in the variables step by step once the base image's environment is known. Where builders differ, BuildKit's
//! Dockerfile reference decides.
//!
//! This crate does not know files, registries or how anything is run.

pub mod ast;
mod checks;
mod chmod;
mod circles;
mod concrete;
mod copied;
mod defaults;
mod diagnostic;
mod directive;
mod duration;
mod expand;
mod expand_error;
mod flags;
mod glob;
mod glob_class;
mod healthcheck;
mod heredoc;
mod ignore;
mod ignore_pattern;
mod instruction;
mod lines;
mod lint;
mod lower;
mod mount;
mod normalize;
mod parse;
mod pattern;
mod plan;
mod platform;
mod ports;
mod reference;
mod refuse;
mod remote;
mod resolve;
mod run;
mod scope;
mod size;
mod span;
mod suggest;
mod taken;
mod trigger;
mod values;
mod words;

pub use checks::Checks;
pub use chmod::Chmod;
pub use concrete::{
    ChmodText, Concrete, ConcreteCopy, ConcreteHealthcheck, ConcreteRun, InlineFile, PathSource,
    RunNetwork, Source, Unpack,
};
pub use diagnostic::{Diagnostic, Origin, Severity};
pub use duration::parse_duration;
pub use expand::{Expansion, expand, expand_heredoc};
pub use expand_error::ExpandError;
pub use glob::{Glob, GlobError, glob_matches, has_wildcards};
pub use ignore::{FolderMatches, IgnoreRules};
pub use lower::{LowerOptions, lower};
pub use mount::{BindMount, CacheMount, ConcreteMount, MountOwner, SecretMount, Sharing, SshMount};
pub use normalize::Normalizer;
pub use parse::parse;
pub use plan::{BaseRef, CopySource, NamedRef, Plan, Stage, Step};
pub use platform::Platform;
pub use remote::{GitRemote, Remote, RemoteError};
pub use scope::{BaseConfig, DEFAULT_PATH, Scope};
pub use size::parse_size;
pub use span::{Span, line_column};
pub use suggest::suggest;
pub use values::clean_path;

#[cfg(test)]
mod tests;
