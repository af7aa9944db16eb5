//! Package indexes: what a suite offers.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

use tbuild_digest::{BlobDigest, Sha256};
use tbuild_lock::ArchivePath;

use super::AptError;
use super::relation::{self, Alternatives, Relation};
use super::version::Version;
use crate::deb822::{Stanza, Stanzas};

/// One version of a package that can be had.
#[derive(Debug, Clone)]
pub struct Package {
    pub name: String,
    pub version: Version,
    pub architecture: String,
    pub essential: bool,
    pub required: bool,
    /// For the choice among providers: smaller is more usual.
    pub rank: u8,
    /// Pre-Depends, then Depends.
    pub depends: String,
    pub conflicts: String,
    pub provides: Vec<Relation>,
    pub origin: String,
    pub path: ArchivePath,
    pub size: u64,
    pub sha256: BlobDigest,
    /// How readily it is taken (apt_preferences(5)).
    pub priority: u16,
}

impl Package {
    /// What must be there for this package to work.
    pub fn depends(&self) -> Result<Vec<Alternatives>, String> {
        relation::parse(&self.depends)
    }

    /// What must not be there: Conflicts and Breaks.
    pub fn conflicts(&self) -> Result<Vec<Alternatives>, String> {
        relation::parse(&self.conflicts)
    }

    fn parse(stanza: &Stanza, origin: &str, priority: u16) -> Result<Self, String> {
        let name = stanza.get("Package").ok_or("a stanza without a name")?;
        let field = |field: &str| {
            stanza
                .get(field)
                .ok_or_else(|| format!("{name} has no {field}"))
        };
        let joined = |fields: [&str; 2]| {
            let values: Vec<&str> = fields
                .iter()
                .filter_map(|field| stanza.get(field))
                .filter(|value| !value.is_empty())
                .collect();
            values.join(", ")
        };
        let provides = relation::parse(stanza.get("Provides").unwrap_or_default());
        let provides =
            provides.map_err(|part| format!("{name} provides {part:?}, which is no relation"))?;
        let rank = match stanza.get("Priority").unwrap_or_default() {
            "required" => 0,
            "important" => 1,
            "standard" => 2,
            "optional" => 3,
            _ => 4,
        };
        Ok(Self {
            name: name.to_owned(),
            version: Version::new(field("Version")?),
            architecture: field("Architecture")?.to_owned(),
            essential: stanza.is_yes("Essential"),
            required: rank == 0,
            rank,
            depends: joined(["Pre-Depends", "Depends"]),
            conflicts: joined(["Conflicts", "Breaks"]),
            provides: provides.into_iter().flatten().collect(),
            origin: origin.to_owned(),
            path: field("Filename")?
                .trim_start_matches("./")
                .parse()
                .map_err(|error| format!("{name}: {error}"))?,
            size: field("Size")?
                .parse()
                .map_err(|_| format!("{name} has an odd Size"))?,
            sha256: Sha256::from_hex(field("SHA256")?)
                .map(BlobDigest)
                .map_err(|_| format!("{name} has an odd SHA256"))?,
            priority,
        })
    }
}

/// Every package of the suites read: of each name the candidate alone, as apt would choose it: the highest
/// priority, then the highest version.
#[derive(Debug, Default)]
pub struct Universe {
    packages: BTreeMap<String, Package>,
    /// Name -> who provides it.
    providers: BTreeMap<String, Vec<String>>,
}

impl Universe {
    /// Adds one index. `suite` names it in errors; `priority` is its release's.
    pub fn add(
        &mut self,
        suite: &str,
        origin: &str,
        priority: u16,
        architecture: &str,
        index: impl Read,
    ) -> Result<(), AptError> {
        for stanza in Stanzas::new(BufReader::with_capacity(1 << 16, index)) {
            let stanza = stanza.map_err(|error| {
                AptError::malformed(suite, format!("its package index: {error}"))
            })?;
            let package = Package::parse(&stanza, origin, priority)
                .map_err(|why| AptError::malformed(suite, why))?;
            if package.architecture != architecture && package.architecture != "all" {
                continue;
            }
            match self.packages.get(&package.name) {
                Some(other)
                    if (other.priority, &other.version) >= (package.priority, &package.version) => {
                }
                _ => {
                    self.packages.insert(package.name.clone(), package);
                }
            }
        }
        Ok(())
    }

    /// Call after the last index.
    pub fn finish(&mut self) {
        self.providers.clear();
        for package in self.packages.values() {
            for provided in &package.provides {
                self.providers
                    .entry(provided.name.clone())
                    .or_default()
                    .push(package.name.clone());
            }
        }
    }

    /// The candidate of a name.
    pub fn get(&self, name: &str) -> Option<&Package> {
        self.packages.get(name)
    }

    /// All candidates by name.
    pub fn iter(&self) -> impl Iterator<Item = &Package> {
        self.packages.values()
    }

    /// The candidates that satisfy `relation`: the package of that name, then those that provide it, the more
    /// usual first.
    pub fn satisfying(&self, relation: &Relation) -> Vec<&Package> {
        let real = self
            .get(&relation.name)
            .filter(|package| relation.accepts(&package.version));
        let names = self
            .providers
            .get(&relation.name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let mut providers: Vec<&Package> = names
            .iter()
            .filter_map(|name| self.get(name))
            .filter(|package| provides(package, relation))
            .collect();
        providers.sort_by(|a, b| (a.rank, &a.name).cmp(&(b.rank, &b.name)));
        real.into_iter().chain(providers).collect()
    }
}

/// Whether `package` satisfies `relation`, by its own name or by what it provides.
pub fn satisfies(package: &Package, relation: &Relation) -> bool {
    (package.name == relation.name && relation.accepts(&package.version))
        || provides(package, relation)
}

fn provides(package: &Package, relation: &Relation) -> bool {
    package.provides.iter().any(|provided| {
        provided.name == relation.name && relation.accepts_provided(provided.provided_version())
    })
}

/// Unpacks an index by its name's extension.
pub fn decompress(path: &str, reader: impl BufRead + 'static) -> Box<dyn Read> {
    match path.rsplit('.').next() {
        Some("xz") => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(reader)),
        Some("gz") => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        _ => Box::new(reader),
    }
}
