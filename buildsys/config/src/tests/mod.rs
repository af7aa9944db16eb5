//! Configurations as text, and what comes out: values, or diagnostics as users see them.

mod checks;
mod errors;
mod overlay;
mod properties;
mod values;

use crate::{Config, Options, parse, render};

/// One of everything, after the contract.
pub(crate) const FULL: &str = include_str!("full.toml");

pub(crate) fn good(text: &str, options: &Options<'_>) -> Config {
    parse(text, options).unwrap_or_else(|errors| {
        let shown: Vec<String> = errors
            .iter()
            .map(|error| render(error, text, "tbuild.toml", false))
            .collect();
        panic!("{}", shown.join("\n\n"))
    })
}

/// All errors as users see them, with `[project]` put at the end so that lines stay as they are written.
pub(crate) fn shown(text: &str, options: &Options<'_>) -> String {
    let text = format!("{text}\n[project]\nname = \"p\"\n");
    whole(&text, options)
}

pub(crate) fn whole(text: &str, options: &Options<'_>) -> String {
    let errors = parse(text, options).expect_err("is wrong");
    let shown: Vec<String> = errors
        .iter()
        .map(|error| render(error, text, "tbuild.toml", false))
        .collect();
    shown.join("\n\n")
}
