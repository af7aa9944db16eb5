//! Charts packaged deterministically, and the helm program driven under a wrapper.
//!
//! [`package`] makes the chart archive that `helm package` would, with the same bytes on every machine.
//! [`merge_values`], [`coalesce`] and [`validate_values`] follow Helm's rules, so that a wrong value fails before
//! anything is built. [`Helm`] runs the real program: 4, or 3.14 and later.
//!
//! This crate does not know the Kubernetes API, the graph or what is in a chart; it reads no environment and no home
//! folder, and it decides nothing: whether the owner of a pending release still lives, and when to roll back, is
//! the caller's to say.

mod ignore;
mod package;
mod parent;
mod process;
mod program;
mod recover;
mod values;

pub use ignore::{IgnoreError, IgnoreRules};
pub use package::{Package, PackageError, package};
pub use process::{HelmError, LineSink};
pub use program::{Helm, Revision, Status, Upgrade, Version};
pub use recover::Recovery;
pub use values::{
    Problem, ValuesError, coalesce, merge_values, parse_yaml, parse_yaml_documents, validate_values,
};

#[cfg(test)]
mod tests;
