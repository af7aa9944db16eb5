//! A suite's Release file (Debian wiki, "DebianRepository/Format").

use std::collections::BTreeMap;

use tbuild_digest::{BlobDigest, Sha256};

use super::AptError;
use super::date::unix_seconds;
use crate::deb822::Stanzas;

/// The signed description of a suite.
#[derive(Debug, Clone)]
pub struct Release {
    /// Its `Date`.
    pub date: String,
    /// Whether indexes are also served by their digest.
    pub by_hash: bool,
    /// How readily packages are taken from here: apt's default pins (apt_preferences(5)).
    pub priority: u16,
    /// Index files below the suite: path -> digest and size.
    files: BTreeMap<String, (BlobDigest, u64)>,
}

impl Release {
    /// Reads a verified Release file. `suite` is what was asked for: a release of another suite, or one whose
    /// Valid-Until lies before `now` (seconds since the epoch), is refused.
    pub fn parse(suite: &str, text: &[u8], now: u64) -> Result<Self, AptError> {
        let malformed = |why: String| AptError::malformed(suite, why);
        let stanza = Stanzas::new(text)
            .next()
            .ok_or_else(|| malformed("its Release file is empty".to_owned()))?
            .map_err(|error| malformed(format!("its Release file: {error}")))?;
        let field = |name: &str| stanza.get(name).unwrap_or_default().to_owned();
        let names = [field("Codename"), field("Suite")];
        // stable/updates of old: the suite's own name is the last word but one of nothing; compare whole names.
        if !names.iter().any(|name| name == suite) {
            return Err(malformed(format!(
                "the mirror serves the release of {} ({}) in its place",
                names[0], names[1]
            )));
        }
        if let Some(valid_until) = stanza.get("Valid-Until") {
            let end = unix_seconds(valid_until)
                .ok_or_else(|| malformed(format!("Valid-Until {valid_until:?} is no date")))?;
            if end < now {
                return Err(AptError::Expired {
                    suite: suite.to_owned(),
                    valid_until: valid_until.to_owned(),
                });
            }
        }
        let mut files = BTreeMap::new();
        for line in field("SHA256")
            .lines()
            .filter(|line| !line.trim().is_empty())
        {
            let mut words = line.split_whitespace();
            let entry = (|| {
                let digest = Sha256::from_hex(words.next()?).ok()?;
                let size = words.next()?.parse().ok()?;
                Some((words.next()?.to_owned(), (BlobDigest(digest), size)))
            })();
            let (path, file) = entry
                .ok_or_else(|| malformed(format!("its Release file has the odd line {line:?}")))?;
            files.insert(path, file);
        }
        let priority = match (
            stanza.is_yes("NotAutomatic"),
            stanza.is_yes("ButAutomaticUpgrades"),
        ) {
            (false, _) => 500,
            (true, true) => 100,
            (true, false) => 1,
        };
        Ok(Self {
            date: field("Date"),
            by_hash: stanza.is_yes("Acquire-By-Hash"),
            priority,
            files,
        })
    }

    /// The package index of a component and architecture in the smallest form that is read here: its path below
    /// the suite, digest and size.
    pub fn index(&self, component: &str, architecture: &str) -> Option<(String, BlobDigest, u64)> {
        ["xz", "gz"].iter().find_map(|extension| {
            let path = format!("{component}/binary-{architecture}/Packages.{extension}");
            self.files
                .get(&path)
                .map(|(digest, size)| (path, *digest, *size))
        })
    }
}
