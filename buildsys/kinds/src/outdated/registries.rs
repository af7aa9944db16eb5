//! What registries of packages say is newest.
//!
//! | manager | asked for | says |
//! |---|---|---|
//! | pip | `NAME/`, the simple repository API (PEP 503, PEP 691) | files, of which the newest release that was not yanked |
//! | npm | `NAME` | `dist-tags.latest` |
//! | go | `MODULE/@latest` (the GOPROXY protocol) | `Version` |
//! | cargo | the sparse index | versions, of which the newest release that was not yanked |
//! | maven | `GROUP/ARTIFACT/maven-metadata.xml` | `release` |

use std::collections::BTreeMap;

use serde_json::Value;
use tbuild_digest::BlobDigest;
use tbuild_lock::{Package, RequestLock, package_of};
use tbuild_netlock::{Entry, Places, Request, Upstream};
use tbuild_realise::OpError;

use super::order::{is_before_release, is_newer};
use crate::World;
use crate::network::{places, upstream};

/// No page of a registry is larger.
const MOST: u64 = 64 << 20;

/// The way to registries, by this machine's own configuration of their clients.
pub(super) struct Registries {
    upstream: Upstream,
    places: Places,
}

impl Registries {
    pub(super) fn new(world: &World) -> Result<Self, OpError> {
        Ok(Self {
            upstream: upstream(world)?,
            places: places(world),
        })
    }

    /// The newest version of a package, which `request` has brought; none if its registry does not say, and why if it
    /// cannot be asked.
    pub(super) async fn newest(
        &self,
        package: Package,
        request: RequestLock,
    ) -> (Package, Result<Option<String>, String>) {
        let found = self.ask(&package, &request).await;
        (package, found)
    }

    async fn ask(
        &self,
        package: &Package,
        request: &RequestLock,
    ) -> Result<Option<String>, String> {
        let Some((origin, path, accept)) = question(package, request) else {
            return Ok(None);
        };
        let asked = accept.map(|accept| ("accept".to_owned(), accept.to_owned()));
        let entry = Entry {
            request: Request {
                origin,
                path,
                method: "GET".to_owned(),
                body: None,
            },
            asked: asked.into_iter().collect(),
            status: 200,
            headers: BTreeMap::new(),
            sha256: BlobDigest::of(b""),
            size: 0,
            reduced: false,
        };
        let answer = self.upstream.today(&self.places, &entry, MOST).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let Some(answer) = answer else {
            return Err(format!(
                "{} of {}: nothing here serves {}",
                package.name, package.manager, entry.request
            ));
        };
        Ok(read(package.manager, &package.name, &answer))
    }
}

/// Origin, path and what form is wanted.
fn question(
    package: &Package,
    request: &RequestLock,
) -> Option<(String, String, Option<&'static str>)> {
    let own = |path: String| (request.origin.clone(), path);
    let path = request.path.as_str();
    let ((origin, path), accept) = match package.manager {
        "pip" => (
            ("pypi".to_owned(), format!("{}/", package.name)),
            Some("application/vnd.pypi.simple.v1+json, text/html;q=0.5"),
        ),
        "npm" => (
            own(path.rsplit_once("/-/")?.0.to_owned()),
            Some("application/vnd.npm.install-v1+json, application/json;q=0.5"),
        ),
        "go" => (
            own(format!("{}/@latest", path.rsplit_once("/@v/")?.0)),
            None,
        ),
        "cargo" => (("crates".to_owned(), of_index(&package.name)?), None),
        "maven" => {
            let (folder, _) = path.rsplit_once('/')?;
            let (folder, _) = folder.rsplit_once('/')?;
            (own(format!("{folder}/maven-metadata.xml")), None)
        }
        _ => return None,
    };
    Some((origin, path, accept))
}

/// Where the sparse index has a crate (The Cargo Book, "Index Files").
fn of_index(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    Some(match name.len() {
        0 => return None,
        1 => format!("1/{name}"),
        2 => format!("2/{name}"),
        3 => format!("3/{}/{name}", name.get(..1)?),
        _ => format!("{}/{}/{name}", name.get(..2)?, name.get(2..4)?),
    })
}

/// The newest version that an answer tells of.
fn read(manager: &str, name: &str, answer: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(answer).ok()?;
    let field = |at: &str| {
        let value: Value = serde_json::from_str(text).ok()?;
        Some(value.pointer(at)?.as_str()?.to_owned())
    };
    match manager {
        "npm" => field("/dist-tags/latest"),
        "go" => field("/Version"),
        "pip" => newest(files(text).iter().filter_map(|file| {
            let package = package_of(&format!("packages/{file}"))?;
            (package.name == name).then_some(package.version)
        })),
        "cargo" => newest(text.lines().filter_map(|line| {
            let version: Value = serde_json::from_str(line).ok()?;
            let is_yanked = version.get("yanked")?.as_bool()?;
            let version = version.get("vers")?.as_str()?;
            (!is_yanked).then(|| version.to_owned())
        })),
        "maven" => {
            let (_, rest) = text.split_once("<release>")?;
            let (version, _) = rest.split_once("</release>")?;
            Some(version.trim().to_owned())
        }
        _ => None,
    }
}

/// The files of a project's page that were not yanked.
fn files(page: &str) -> Vec<String> {
    if let Ok(page) = serde_json::from_str::<Value>(page) {
        let files = page.get("files").and_then(Value::as_array);
        let is_there = |file: &&Value| {
            let yanked = file.get("yanked");
            yanked.is_none_or(|yanked| *yanked == Value::Bool(false))
        };
        let there = files.into_iter().flatten().filter(is_there);
        return there
            .filter_map(|file| Some(file.get("filename")?.as_str()?.to_owned()))
            .collect();
    }
    let links = page.split("<a ").skip(1);
    links
        .filter_map(|link| {
            let (link, _) = link.split_once("</a>")?;
            let (fields, name) = link.rsplit_once('>')?;
            (!fields.contains("data-yanked")).then(|| name.trim().to_owned())
        })
        .collect()
}

/// The newest release; the newest of what comes before one where there is no release.
fn newest(versions: impl Iterator<Item = String>) -> Option<String> {
    let versions: Vec<String> = versions.collect();
    let is_release = |version: &&String| !is_before_release(version);
    let of = |one: Option<String>, other: &String| match one {
        Some(one) if !is_newer(other, &one) => Some(one),
        _ => Some(other.clone()),
    };
    let release = versions.iter().filter(is_release).fold(None, of);
    release.or_else(|| versions.iter().fold(None, of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_tell_what_is_newest() {
        let json = r#"{"files":[{"filename":"six-1.9.0.tar.gz"},{"filename":"six-1.16.0-py2.py3-none-any.whl","yanked":false},
            {"filename":"six-1.17.0.tar.gz","yanked":"broken"},{"filename":"six-2.0rc1.tar.gz"},{"filename":"other-9.0.tar.gz"}]}"#;
        let html = "<a href=\"x\">six-1.9.0.tar.gz</a>\n<a href=\"y\" >six-1.16.0-py2.py3-none-any.whl</a><a data-yanked=\"\" href=z>six-1.17.0.tar.gz</a>";
        let index = "{\"vers\":\"1.0.9\",\"yanked\":false}\n{\"vers\":\"1.0.10\",\"yanked\":false}\n{\"vers\":\"1.1.0\",\"yanked\":true}\n{\"vers\":\"2.0.0-rc.1\",\"yanked\":false}\n";
        let maven = "<metadata><versioning><release>4.13.2</release></versioning></metadata>";
        for (manager, name, answer, expected) in [
            ("pip", "six", json, Some("1.16.0")),
            ("pip", "six", html, Some("1.16.0")),
            (
                "npm",
                "a",
                r#"{"dist-tags":{"latest":"1.3.0"}}"#,
                Some("1.3.0"),
            ),
            ("go", "x", r#"{"Version":"v0.14.0"}"#, Some("v0.14.0")),
            ("cargo", "serde", index, Some("1.0.10")),
            ("maven", "junit:junit", maven, Some("4.13.2")),
            ("npm", "a", "nothing", None),
            ("pip", "six", "", None),
        ] {
            let found = read(manager, name, answer.as_bytes());
            assert_eq!(found.as_deref(), expected, "{manager} {answer}");
        }
        assert_eq!(of_index("serde").as_deref(), Some("se/rd/serde"));
        assert_eq!(of_index("Abc").as_deref(), Some("3/a/abc"));
    }
}
