//! The locks of sources and of images that a registry holds.

use serde::{Deserialize, Serialize};
use tbuild_digest::{BlobDigest, TreeDigest};

use crate::Day;
use crate::field::sha256;

/// What a git revision resolved to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GitLock {
    /// The repository, as asked for.
    pub url: String,
    /// The revision, as asked for: a branch, a tag or a commit.
    pub rev: String,
    /// The commit it named, in full hex.
    pub commit: String,
    /// When it came to name that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Day>,
    /// The digest of the commit's tree as tbuild checks it out, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<TreeDigest>,
}

/// What an image tag resolved to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ImageLock {
    /// The reference, as asked for.
    pub reference: String,
    /// The digest of the manifest or index that the tag named.
    pub digest: BlobDigest,
    /// When it came to name that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Day>,
}

/// What a URL served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UrlLock {
    /// The URL, as asked for.
    pub url: String,
    /// Bytes.
    pub size: u64,
    /// The SHA-256 of what it served.
    #[serde(with = "sha256")]
    pub sha256: BlobDigest,
}
