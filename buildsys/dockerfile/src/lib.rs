//! Dockerfile parsing with byte spans, variable expansion, .dockerignore, and lowering to a stage plan.
//!
//! [`parse`] gives the instructions as written, [`lower`] the stages that a target needs, and a [`Scope`] fills
//! in the variables step by step once the base image's environment is known. Where builders differ, BuildKit's
//! Dockerfile reference decides.
//!
//! This crate does not know files, registries or how anything is run.

pub mod ast;
mod diagnostic;
mod plan;
mod scope;
mod span;

pub use diagnostic::{Diagnostic, Origin, Severity};
pub use plan::{BaseRef, CopySource, NamedRef, Plan, Stage, Step};
pub use scope::{Concrete, ConcreteCopy, ConcreteHealthcheck, ConcreteRun, InlineFile};
pub use span::{Span, line_column};
