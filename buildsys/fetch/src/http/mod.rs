//! Files over HTTP: into the store, checked, resumed, several at a time.

mod client;
mod download;
mod error;
mod options;

pub use client::Http;
pub use download::{Download, Downloaded, Progress, Quiet};
pub use error::HttpError;
pub use options::{HttpOptions, Proxies};

#[cfg(test)]
mod tests;
