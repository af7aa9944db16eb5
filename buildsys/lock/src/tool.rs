//! The lock of a tool.

use serde::{Deserialize, Serialize};
use tbuild_digest::BlobDigest;

use crate::ArchivePath;
use crate::field::sha256;

/// What a tool resolved to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ToolLock {
    /// The tool's name.
    pub name: String,
    /// Its version, as asked for.
    pub version: String,
    /// The Go module that it is built from, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// One file a platform, sorted by platform.
    #[serde(default, rename = "file", skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ToolFileLock>,
}

/// A tool's file for one platform. A file that is downloaded names `url`, or `origin` and `path`; one that is
/// built here names none of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ToolFileLock {
    /// `os/architecture`, as OCI writes it.
    pub platform: String,
    /// Where it is served, whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Who serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Where below the origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<ArchivePath>,
    /// The file inside the archive that is served, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<ArchivePath>,
    /// Bytes of what is served, or of the built file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The SHA-256 of what is served, or of the built file.
    #[serde(with = "sha256")]
    pub sha256: BlobDigest,
}

/// Where a locked file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location<'a> {
    /// A URL recorded as it is.
    Url(&'a str),
    /// A path below an origin.
    Origin(&'a str, &'a ArchivePath),
    /// Built on this machine.
    Built,
}

impl ToolFileLock {
    /// Where the file comes from.
    pub fn location(&self) -> Location<'_> {
        match (&self.url, &self.origin, &self.path) {
            (Some(url), _, _) => Location::Url(url),
            (None, Some(origin), Some(path)) => Location::Origin(origin, path),
            (None, _, _) => Location::Built,
        }
    }

    /// What does not go together.
    fn fault(&self) -> Option<String> {
        let whole = self.origin.is_some() == self.path.is_some();
        let one = self.url.is_none() || self.origin.is_none();
        let member = self.member.is_none() || self.location() != Location::Built;
        let what = match (whole, one, member) {
            (false, _, _) => "origin and path go together",
            (_, false, _) => "url excludes origin and path",
            (_, _, false) => "member needs url, or origin and path",
            _ => return None,
        };
        Some(format!("file of {}: {what}", self.platform))
    }
}

impl ToolLock {
    /// Sorts what has no order of its own.
    pub(crate) fn sort(&mut self) {
        self.files.sort_by(|a, b| a.platform.cmp(&b.platform));
    }

    /// What is locked twice, in a sorted lock.
    pub(crate) fn duplicate(&self) -> Option<String> {
        let pair = self
            .files
            .windows(2)
            .find(|pair| pair[0].platform == pair[1].platform)?;
        Some(format!("platform {}", pair[0].platform))
    }

    /// The first file whose fields do not go together.
    pub(crate) fn fault(&self) -> Option<String> {
        self.files.iter().find_map(ToolFileLock::fault)
    }
}
