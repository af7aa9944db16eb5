//! Files behind URLs: sources and tools, whole or out of an archive.

mod error;
mod unpack;
mod zip;

pub use error::ArchiveError;
pub use unpack::{extract_member, unpack};

#[cfg(test)]
mod tests;
