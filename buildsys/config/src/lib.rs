//! tbuild.toml: parsed with spans, checked, and resolved by profile.
//!
//! [`parse`] takes the text and what flags and environment add, and gives a [`Config`] in which every reference
//! holds, or everything that is wrong, each with its place. [`render`] shows such a diagnostic; those of the
//! Dockerfile crate as well. Which files are there is for the caller to see: [`Config::paths`] names them.
//!
//! This crate does not know files, the environment, or what nodes do.

mod check;
mod decode;
mod edges;
mod interpolate;
mod model;
mod names;
mod overlay;
mod parse;
mod paths;
mod reader;
mod render;
mod value;

pub use edges::Edge;
pub use model::{
    Artifact, Base, Chart, Command, Component, Config, Dev, Image, JsonMap, Network, Node, Origin,
    Project, Release, Run, Source, SourceOrigin, Target, Task, Tool, ToolOrigin, TreeInput,
    TreeRef,
};
pub use names::{FindError, Kind, NodeRef};
pub use parse::{Options, RESERVED, parse};
pub use paths::{PathKind, PathRef};
pub use render::render;
pub use tbuild_dockerfile::{Diagnostic, Platform, Severity, Span};
pub use value::{Place, Spanned};

#[cfg(test)]
mod tests;
