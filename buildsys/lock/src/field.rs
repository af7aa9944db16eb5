//! Fields whose text has rules of its own; checked while parsing, so that an error carries its span.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text cannot stand in a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The path would lead outside its origin.
    #[error("{0:?} is not a path below an origin (relative, no empty, \".\" or \"..\" segment)")]
    Path(String),
    /// No day.
    #[error("{0:?} is no day such as 2026-11-22")]
    Day(String),
}

/// A path below an origin's base URL: relative, `/` between segments, nothing that leads elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchivePath(String);

impl ArchivePath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl FromStr for ArchivePath {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let odd = |segment: &str| matches!(segment, "" | "." | "..");
        let control = |c: char| c.is_control() || matches!(c, ' ' | '\\' | '?' | '#');
        // A first segment with a colon would read as a URL's scheme.
        let scheme = text
            .split('/')
            .next()
            .is_some_and(|first| first.contains(':'));
        if text.split('/').any(odd) || text.contains(control) || scheme {
            return Err(FieldError::Path(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ArchivePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ArchivePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ArchivePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// A SHA-256 written as 64 hex digits, as distributions write it.
pub(crate) mod sha256 {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};
    use tbuild_digest::{BlobDigest, Sha256};

    pub(crate) fn serialize<S: Serializer>(
        digest: &BlobDigest,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&digest.hex())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BlobDigest, D::Error> {
        let text = String::deserialize(deserializer)?;
        Sha256::from_hex(&text).map(BlobDigest).map_err(|_| {
            D::Error::custom(format!(
                "{text:?} is not a SHA-256 of 64 lower-case hex digits"
            ))
        })
    }
}

/// The same where there may be none.
pub(crate) mod maybe_sha256 {
    use serde::{Deserialize, Deserializer, Serializer};
    use tbuild_digest::BlobDigest;

    #[derive(Deserialize)]
    struct Field(#[serde(with = "super::sha256")] BlobDigest);

    #[expect(clippy::ref_option, reason = "serde hands the field over so")]
    pub(crate) fn serialize<S: Serializer>(
        digest: &Option<BlobDigest>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match digest {
            Some(digest) => super::sha256::serialize(digest, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<BlobDigest>, D::Error> {
        Ok(Some(Field::deserialize(deserializer)?.0))
    }
}
