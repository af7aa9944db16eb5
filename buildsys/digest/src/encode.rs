//! The canonical encoding: every value is self-delimiting, so no two different values encode alike.
//!
//! Integers are 8 bytes little-endian; bytes and texts are their length, then themselves; sequences and
//! maps are their count, then their members; an option is one byte, then the value.

use std::collections::BTreeMap;

use crate::{Hasher, Sha256};

/// A value that can be hashed by content. Never derived from `std::hash`, which is neither stable nor
/// collision-resistant.
pub trait ContentHash {
    /// Adds the canonical encoding of `self` to `encoder`.
    fn hash_content(&self, encoder: &mut Encoder);

    /// The digest of the canonical encoding of `self`.
    fn content_digest(&self) -> Sha256 {
        let mut encoder = Encoder::new();
        self.hash_content(&mut encoder);
        encoder.finish()
    }
}

/// Collects canonical encodings into one digest.
pub struct Encoder(Hasher);

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder that has seen nothing.
    pub fn new() -> Self {
        Self(Hasher::new())
    }

    /// Adds bytes whose length the schema fixes.
    pub fn fixed(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds bytes of any length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    /// Adds a one-byte tag that tells variants apart.
    pub fn tag(&mut self, tag: u8) {
        self.0.update(&[tag]);
    }

    /// The digest of everything added.
    pub fn finish(self) -> Sha256 {
        self.0.finish()
    }
}

impl ContentHash for str {
    fn hash_content(&self, encoder: &mut Encoder) {
        encoder.bytes(self.as_bytes());
    }
}

impl ContentHash for String {
    fn hash_content(&self, encoder: &mut Encoder) {
        encoder.bytes(self.as_bytes());
    }
}

impl ContentHash for u64 {
    fn hash_content(&self, encoder: &mut Encoder) {
        encoder.number(*self);
    }
}

impl ContentHash for u32 {
    fn hash_content(&self, encoder: &mut Encoder) {
        encoder.number(u64::from(*self));
    }
}

impl ContentHash for bool {
    fn hash_content(&self, encoder: &mut Encoder) {
        encoder.tag(u8::from(*self));
    }
}

impl ContentHash for Sha256 {
    fn hash_content(&self, encoder: &mut Encoder) {
        encoder.fixed(&self.0);
    }
}

impl<T: ContentHash + ?Sized> ContentHash for &T {
    fn hash_content(&self, encoder: &mut Encoder) {
        (**self).hash_content(encoder);
    }
}

impl<T: ContentHash> ContentHash for Option<T> {
    fn hash_content(&self, encoder: &mut Encoder) {
        match self {
            None => encoder.tag(0),
            Some(value) => {
                encoder.tag(1);
                value.hash_content(encoder);
            }
        }
    }
}

impl<T: ContentHash> ContentHash for [T] {
    fn hash_content(&self, encoder: &mut Encoder) {
        encoder.number(self.len() as u64);
        for value in self {
            value.hash_content(encoder);
        }
    }
}

impl<T: ContentHash> ContentHash for Vec<T> {
    fn hash_content(&self, encoder: &mut Encoder) {
        self.as_slice().hash_content(encoder);
    }
}

impl<K: ContentHash, V: ContentHash> ContentHash for BTreeMap<K, V> {
    fn hash_content(&self, encoder: &mut Encoder) {
        encoder.number(self.len() as u64);
        for (key, value) in self {
            key.hash_content(encoder);
            value.hash_content(encoder);
        }
    }
}

impl<A: ContentHash, B: ContentHash> ContentHash for (A, B) {
    fn hash_content(&self, encoder: &mut Encoder) {
        self.0.hash_content(encoder);
        self.1.hash_content(encoder);
    }
}
