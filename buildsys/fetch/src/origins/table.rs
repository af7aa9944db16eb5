//! The table of origins.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use tbuild_lock::ArchivePath;

use super::{apt, clients};
use crate::MachineConfig;

/// Logical names and the base URLs that serve them here, first choice first, without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins(BTreeMap<String, Vec<String>>);

/// Why an origin cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Nothing on this machine says who serves it.
    #[error(
        "nothing on this machine says which host serves {origin:?}: {hint}, or name it in origins.toml: [origin.{origin}] urls = [\"...\"]"
    )]
    NotConfigured {
        /// The origin.
        origin: String,
        /// Where it is usually configured.
        hint: &'static str,
    },
    /// origins.toml is not what it should be.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    origin: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    urls: Vec<String>,
}

impl Origins {
    /// What the machine's clients configure; the user's `origins.toml` (`$XDG_CONFIG_HOME/tbuild/`), then the
    /// machine's (`/etc/tbuild/`) come first. There are no built-in hosts.
    pub fn from_machine(machine: &MachineConfig) -> Result<Self, OriginError> {
        let mut origins = Self::default();
        for (name, url) in apt::origins(machine) {
            origins.0.entry(name).or_default().push(url);
        }
        let go =
            clients::go(machine, "GOPROXY").or_else(|| clients::go_toolchain(machine, "GOPROXY"));
        let urls = [
            (
                "pypi",
                clients::pip(machine, "index-url").into_iter().collect(),
            ),
            ("npm", clients::npm(machine).into_iter().collect()),
            (
                "go",
                go.map(|list| clients::goproxy_urls(&list))
                    .unwrap_or_default(),
            ),
            ("crates", clients::cargo(machine).into_iter().collect()),
            ("maven", clients::maven(machine).into_iter().collect()),
        ];
        for (name, urls) in urls {
            origins.set(name, urls);
        }
        origins.0.extend(Self::declared(machine)?.0);
        Ok(origins)
    }

    /// What `origins.toml` alone says.
    pub(super) fn declared(machine: &MachineConfig) -> Result<Self, OriginError> {
        let mut origins = Self::default();
        // The user's file overrides the machine's.
        let system = machine.files_named("etc/tbuild/origins.toml");
        let user = machine
            .files_named("tbuild/origins.toml")
            .filter(|(path, _)| !path.starts_with("/etc"));
        for (path, text) in system.chain(user) {
            let fail = |message: String| OriginError::File {
                path: path.to_owned(),
                message,
            };
            let file: File = toml::from_str(text).map_err(|error| fail(error.to_string()))?;
            for (name, entry) in file.origin {
                let bad = entry
                    .urls
                    .iter()
                    .find(|url| !url.starts_with("http://") && !url.starts_with("https://"));
                if let Some(url) = bad {
                    return Err(fail(format!(
                        "origin {name}: {url:?} is no http or https URL"
                    )));
                }
                origins.set(&name, entry.urls);
            }
        }
        Ok(origins)
    }

    /// Sets who serves `name`; an empty list changes nothing.
    pub fn set(&mut self, name: &str, urls: Vec<String>) {
        if !urls.is_empty() {
            let urls = urls
                .into_iter()
                .map(|url| url.trim_end_matches('/').to_owned())
                .collect();
            self.0.insert(name.to_owned(), urls);
        }
    }

    /// The base URLs of an origin: at least one.
    pub fn urls(&self, origin: &str) -> Result<&[String], OriginError> {
        self.0
            .get(origin)
            .map(Vec::as_slice)
            .filter(|urls| !urls.is_empty())
            .ok_or_else(|| OriginError::NotConfigured {
                origin: origin.to_owned(),
                hint: hint(origin),
            })
    }

    /// The URLs of a file below an origin.
    pub fn locate(&self, origin: &str, path: &ArchivePath) -> Result<Vec<String>, OriginError> {
        Ok(self
            .urls(origin)?
            .iter()
            .map(|base| format!("{base}/{path}"))
            .collect())
    }

    /// The names that are configured, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn hint(origin: &str) -> &'static str {
    match origin {
        "debian" | "debian-security" | "ubuntu" | "ubuntu-ports" => {
            "add it to apt's sources (/etc/apt/sources.list.d/)"
        }
        "pypi" => "set pip's index-url (pip.conf or PIP_INDEX_URL)",
        "npm" => "set npm's registry (.npmrc or NPM_CONFIG_REGISTRY)",
        "go" => "set GOPROXY (go env -w)",
        "crates" => "replace the source crates-io (cargo's config.toml)",
        "maven" => "add a mirror of central (.m2/settings.xml)",
        _ => "declare it",
    }
}
