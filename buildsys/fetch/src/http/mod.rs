//! Files over HTTP: into the store, checked, resumed, several at a time.

mod client;
mod conditional;
mod download;
mod error;
mod options;

pub use client::{Http, relay};
pub use conditional::{Fresh, Validators};
pub use download::{Download, Downloaded, Progress, Quiet};
pub use error::{HttpError, redact};
pub use options::{HttpOptions, Proxies};

#[cfg(test)]
mod tests;
