//! The lock of a base made of a distribution's packages.

use serde::{Deserialize, Serialize};
use tbuild_digest::BlobDigest;

use crate::field::sha256;
use crate::{ArchivePath, Day};

/// What a base resolved to: which releases were read, and every package that goes in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BaseLock {
    /// The distribution: an origin's name, `debian` or `ubuntu`.
    pub origin: String,
    /// The suite, as asked for.
    pub suite: String,
    /// Suites read besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_suites: Vec<String>,
    /// Components read.
    pub components: Vec<String>,
    /// Packages asked for besides the essential ones and apt, as asked for: a choice among alternatives may
    /// depend on the order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// The distribution's name of the architecture (`amd64`).
    pub architecture: String,
    /// When it came to be resolved to this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Day>,
    /// The signed releases that were read.
    #[serde(default, rename = "release", skip_serializing_if = "Vec::is_empty")]
    pub releases: Vec<ReleaseLock>,
    /// The packages, sorted by name.
    #[serde(default, rename = "package", skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<PackageLock>,
}

/// A signed release that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReleaseLock {
    /// The suite.
    pub suite: String,
    /// Who serves it.
    pub origin: String,
    /// The InRelease file below the origin.
    pub path: ArchivePath,
    /// Its `Date` field.
    pub date: String,
    /// The SHA-256 of InRelease as it was served.
    #[serde(with = "sha256")]
    pub sha256: BlobDigest,
}

/// A package file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PackageLock {
    /// The package's name.
    pub name: String,
    /// Its version, as dpkg writes it.
    pub version: String,
    /// Its architecture; may be `all`.
    pub architecture: String,
    /// Whether it is needed before apt can run: essential and required packages, apt, and what they need.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bootstrap: bool,
    /// Who serves it.
    pub origin: String,
    /// The .deb below the origin.
    pub path: ArchivePath,
    /// Bytes.
    pub size: u64,
    /// The SHA-256 of the .deb.
    #[serde(with = "sha256")]
    pub sha256: BlobDigest,
}

impl BaseLock {
    /// Sorts what has no order of its own.
    pub(crate) fn sort(&mut self) {
        self.releases
            .sort_by(|a, b| (&a.origin, &a.suite).cmp(&(&b.origin, &b.suite)));
        self.packages
            .sort_by(|a, b| (&a.name, &a.architecture).cmp(&(&b.name, &b.architecture)));
    }

    /// What is locked twice, in a sorted lock.
    pub(crate) fn duplicate(&self) -> Option<String> {
        let packages = self
            .packages
            .windows(2)
            .find(|pair| pair[0].name == pair[1].name);
        let releases = self
            .releases
            .windows(2)
            .find(|pair| (&pair[0].origin, &pair[0].suite) == (&pair[1].origin, &pair[1].suite));
        packages
            .map(|pair| format!("package {}", pair[0].name))
            .or_else(|| releases.map(|pair| format!("release {}", pair[0].suite)))
    }

    /// The same with the day of an earlier lock, where that says the same.
    #[must_use]
    pub fn dated_as(mut self, before: &Self) -> Self {
        let mut other = before.clone();
        self.sort();
        other.sort();
        other.when = self.when;
        if other == self {
            self.when = before.when.or(self.when);
        }
        self
    }

    /// The bytes of all packages together.
    pub fn total_size(&self) -> u64 {
        self.packages.iter().map(|package| package.size).sum()
    }
}
