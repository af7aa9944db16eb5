//! What each fuzz target does with one input. It panics where something is wrong.
//!
//! The targets need a nightly compiler; what is here does not, and is run by a test of the command line as well.

pub mod dockerfile;
pub mod dockerignore;
pub mod image_config;
pub mod layer;
pub mod tbuild_toml;

/// One target: its name, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 5] = [
    ("dockerfile", dockerfile::check),
    ("dockerignore", dockerignore::check),
    ("image_config", image_config::check),
    ("layer", layer::check),
    ("tbuild_toml", tbuild_toml::check),
];

/// The input as text, up to the first byte that is none.
fn text_of(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}
