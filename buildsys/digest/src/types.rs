//! The digest types.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Hasher;

/// 32 bytes of SHA-256, with no meaning attached yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The algorithm is not `sha256`.
    #[error("digest {0:?} is not of the form sha256:<64 hex digits>")]
    Form(String),
}

impl Sha256 {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// 64 lower-case hex digits.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }

    /// Those that a text names: its words of 64 lower-case hex digits, in order.
    pub fn named_in(text: &str) -> impl Iterator<Item = Self> + '_ {
        text.split(|letter: char| !letter.is_ascii_alphanumeric())
            .filter_map(|word| Self::from_hex(word).ok())
    }

    /// Reads 64 lower-case hex digits.
    pub fn from_hex(text: &str) -> Result<Self, DigestError> {
        let fail = || DigestError::Form(text.to_owned());
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(fail());
        }
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Ok(digit - b'0'),
            b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(fail()),
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = value(pair[0])? << 4 | value(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

macro_rules! digest_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Sha256);

        impl $name {
            /// The digest of `bytes`.
            pub fn of(bytes: &[u8]) -> Self {
                Self(Sha256::of(bytes))
            }

            /// 64 lower-case hex digits, without the algorithm.
            pub fn hex(&self) -> String {
                self.0.hex()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "sha256:{}", self.0.hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = DigestError;
            fn from_str(text: &str) -> Result<Self, DigestError> {
                let hex = text
                    .strip_prefix("sha256:")
                    .ok_or_else(|| DigestError::Form(text.to_owned()))?;
                Sha256::from_hex(hex).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }

        impl crate::ContentHash for $name {
            fn hash_content(&self, encoder: &mut crate::Encoder) {
                encoder.fixed(&self.0 .0);
            }
        }
    };
}

digest_type! {
    /// The digest of a blob's bytes as they are stored and travel (OCI image spec, "Digests").
    BlobDigest
}
digest_type! {
    /// The digest of a layer's uncompressed tar (OCI image spec, "Layer DiffID"): the identity of a layer.
    DiffId
}
digest_type! {
    /// The Merkle digest of a file tree: names, types, modes, owners, contents, links, xattrs; never mtimes.
    TreeDigest
}
digest_type! {
    /// The key of an action: the digest of the canonical encoding of everything that decides its outputs.
    ActionKey
}

impl DiffId {
    /// The blob that holds this layer uncompressed: its digest is the diff ID itself.
    pub fn as_uncompressed_blob(self) -> BlobDigest {
        BlobDigest(self.0)
    }
}
