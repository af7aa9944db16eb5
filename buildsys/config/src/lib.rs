//! tbuild.toml: parsed with spans, checked, and resolved by profile.
//!
//! Text in, a [`Config`] or findings out. This crate does not know files, the environment, or nodes: which
//! variables may be read, and their values, come in as [`Overrides`].

mod check;
mod decode;
mod model;
mod overrides;
mod problem;
mod value;

pub use check::RESERVED;
pub use model::{
    Artifact, Base, Chart, Command, CommandLine, Component, Config, From, Image, Input,
    NodeMachine, Project, Release, Source, SourceKind, Spanned, Target, Task, Tool, ToolKind,
};
pub use overrides::Overrides;
pub use problem::render;
pub use value::Span;

use tbuild_dockerfile::Diagnostic;

/// Reads a configuration.
pub fn parse(text: &str, overrides: &Overrides) -> Result<Config, Vec<Diagnostic>> {
    let mut root = value::parse(text).map_err(|finding| vec![finding])?;
    overrides.apply(&mut root)?;
    let config = decode::config(root)?;
    check::check(&config)?;
    Ok(config)
}

#[cfg(test)]
mod tests;
