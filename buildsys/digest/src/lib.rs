//! Digests, distinct by meaning, and the canonical encoding that keys are hashed from.
//!
//! A blob's digest, a layer's diff ID, a tree's digest and an action's key are all SHA-256, and mixing
//! them up is the classic defect of build tools: here each is a type of its own.
//!
//! This crate does not know files, clocks, or what is hashed.

mod encode;
mod hasher;
mod types;

pub use encode::{ContentHash, Encoder};
pub use hasher::{Hasher, HashingReader, HashingWriter};
pub use types::{ActionKey, BlobDigest, DiffId, DigestError, Sha256, TreeDigest};

#[cfg(test)]
mod tests;
