//! Packages among locked requests, read off the paths that package managers ask for, for people to read: no key and no
//! replay looks at them.
//!
//! | manager | path, as its registry's documentation has it |
//! |---|---|
//! | apt | `NAME_VERSION_ARCHITECTURE.deb` |
//! | pip | `NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl`, `NAME-VERSION.tar.gz` below `packages` |
//! | npm | `NAME/-/BASE-VERSION.tgz` |
//! | go | `MODULE/@v/VERSION.zip` |
//! | cargo | `NAME/VERSION/download`, `NAME-VERSION.crate` |
//! | maven | `GROUP/ARTIFACT/VERSION/ARTIFACT-VERSION.jar` |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::RequestLock;

/// A package of some version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Whose package: `apt`, `pip`, `npm`, `go`, `cargo`, `maven`.
    pub manager: &'static str,
    /// Its name, as the manager's users write it.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// The packages that requests have brought.
pub fn packages<'a>(requests: impl IntoIterator<Item = &'a RequestLock>) -> BTreeSet<Package> {
    requests
        .into_iter()
        .filter(|request| request.status == 200 && request.method == "GET")
        .filter_map(|request| package_of(&request.path))
        .collect()
}

/// What differs between packages before and after, a line a package: `gunicorn 21.2.0 -> 22.0.0`, `six 1.16.0 is new`,
/// `six 1.16.0 is gone`.
pub fn changes(before: &BTreeSet<Package>, after: &BTreeSet<Package>) -> Vec<String> {
    type Versions<'a> = (Vec<&'a str>, Vec<&'a str>);
    let mut by_name: BTreeMap<(&str, &str), Versions<'_>> = BTreeMap::new();
    for package in before.difference(after) {
        let key = (package.manager, package.name.as_str());
        by_name.entry(key).or_default().0.push(&package.version);
    }
    for package in after.difference(before) {
        let key = (package.manager, package.name.as_str());
        by_name.entry(key).or_default().1.push(&package.version);
    }
    let lines = by_name.into_iter().map(|((_, name), (old, new))| {
        let (was, is) = (old.join(", "), new.join(", "));
        match (old.is_empty(), new.is_empty()) {
            (true, _) => format!("{name} {is} is new"),
            (_, true) => format!("{name} {was} is gone"),
            _ => format!("{name} {was} -> {is}"),
        }
    });
    lines.collect()
}

/// The package that a path is a file of.
pub fn package_of(path: &str) -> Option<Package> {
    let path = decoded(path.split(['?', '#']).next().unwrap_or(path))?;
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (file, folders) = parts.split_last()?;
    apt(file)
        .or_else(|| pip(file, folders))
        .or_else(|| npm(file, folders))
        .or_else(|| go(file, folders))
        .or_else(|| cargo(file, folders))
        .or_else(|| maven(file, folders))
}

/// Without percent signs; none if what they stand for is no text.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, others @ ..] = rest {
        let escaped = match others {
            [high, low, ..] if *first == b'%' => std::str::from_utf8(&[*high, *low])
                .ok()
                .and_then(|hex| u8::from_str_radix(hex, 16).ok()),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() {
            &others[2..]
        } else {
            others
        };
    }
    String::from_utf8(bytes).ok()
}

fn made(manager: &'static str, name: impl Into<String>, version: impl Into<String>) -> Package {
    Package {
        manager,
        name: name.into(),
        version: version.into(),
    }
}

fn apt(file: &str) -> Option<Package> {
    let mut words = file.strip_suffix(".deb")?.split('_');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(name), Some(version), Some(_), None) => Some(made("apt", name, version)),
        _ => None,
    }
}

/// PEP 427, "File name convention"; PEP 503, "Normalized Names".
fn pip(file: &str, folders: &[&str]) -> Option<Package> {
    let normal = |name: &str| {
        let words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("-").to_lowercase()
    };
    if let Some(stem) = file.strip_suffix(".whl") {
        let words: Vec<&str> = stem.split('-').collect();
        return matches!(words.len(), 5 | 6).then(|| made("pip", normal(words[0]), words[1]));
    }
    let stem = file
        .strip_suffix(".tar.gz")
        .or_else(|| file.strip_suffix(".zip"))?;
    let (name, version) = stem.rsplit_once('-')?;
    let is_one = folders.contains(&"packages") && version.starts_with(|c: char| c.is_ascii_digit());
    is_one.then(|| made("pip", normal(name), version))
}

fn npm(file: &str, folders: &[&str]) -> Option<Package> {
    let (dash, folders) = folders.split_last()?;
    let (base, above) = folders.split_last()?;
    let version = file
        .strip_suffix(".tgz")?
        .strip_prefix(base)?
        .strip_prefix('-')?;
    let scope = above.last().filter(|scope| scope.starts_with('@'));
    let name = scope.map_or_else(|| (*base).to_owned(), |scope| format!("{scope}/{base}"));
    (*dash == "-").then(|| made("npm", name, version))
}

/// Go Modules Reference, "GOPROXY protocol": a capital letter is written as ! and the small one.
fn go(file: &str, folders: &[&str]) -> Option<Package> {
    let plain = |text: &str| {
        let mut capital = false;
        let mut out = String::with_capacity(text.len());
        for letter in text.chars() {
            if letter == '!' {
                capital = true;
            } else {
                out.extend(
                    std::mem::take(&mut capital)
                        .then(|| letter.to_ascii_uppercase())
                        .or(Some(letter)),
                );
            }
        }
        out
    };
    let (last, module) = folders.split_last()?;
    let version = file.strip_suffix(".zip")?;
    let is_one = *last == "@v" && !module.is_empty();
    is_one.then(|| made("go", plain(&module.join("/")), plain(version)))
}

fn cargo(file: &str, folders: &[&str]) -> Option<Package> {
    let (last, above) = folders.split_last()?;
    let is_version = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    if file == "download" && is_version(last) {
        return above.last().map(|name| made("cargo", *name, *last));
    }
    let version = file
        .strip_suffix(".crate")?
        .strip_prefix(last)?
        .strip_prefix('-')?;
    Some(made("cargo", *last, version))
}

fn maven(file: &str, folders: &[&str]) -> Option<Package> {
    let [group @ .., artifact, version] = folders else {
        return None;
    };
    let is_one = file == format!("{artifact}-{version}.jar") && !group.is_empty();
    // Where the group begins, the repository's own folders end.
    let start = group
        .iter()
        .rposition(|part| *part == "maven2")
        .map_or(0, |at| at + 1);
    let name = format!("{}:{artifact}", group[start..].join("."));
    is_one.then(|| made("maven", name, *version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Option<String> {
        package_of(path).map(|package| format!("{} {package}", package.manager))
    }

    #[test]
    fn packages_are_read_off_paths() {
        for (path, expected) in [
            (
                "pool/main/g/g++-12/g%2b%2b-12_12.2.0-14%2Bdeb12u1_amd64.deb",
                "apt g++-12 12.2.0-14+deb12u1",
            ),
            (
                "pool/main/t/tzdata/tzdata_2024a-0%7edeb12u1_all.deb",
                "apt tzdata 2024a-0~deb12u1",
            ),
            (
                "packages/12/ab/Flask_SQLAlchemy-3.1.1-py3-none-any.whl",
                "pip flask-sqlalchemy 3.1.1",
            ),
            (
                "packages/0f/numpy-2.0.0-1-cp312-cp312-manylinux_2_17_x86_64.whl",
                "pip numpy 2.0.0",
            ),
            (
                "packages/de/zope.interface-6.0.tar.gz",
                "pip zope-interface 6.0",
            ),
            ("left-pad/-/left-pad-1.3.0.tgz", "npm left-pad 1.3.0"),
            (
                "@types/node/-/node-20.1.0-rc.1.tgz",
                "npm @types/node 20.1.0-rc.1",
            ),
            ("@types%2fnode/-/node-20.1.0.tgz", "npm @types/node 20.1.0"),
            (
                "github.com/!burnt!sushi/toml/@v/v1.3.2.zip",
                "go github.com/BurntSushi/toml v1.3.2",
            ),
            (
                "api/v1/crates/serde/1.0.200/download",
                "cargo serde 1.0.200",
            ),
            (
                "serde_json/serde_json-1.0.1.crate?x=y",
                "cargo serde_json 1.0.1",
            ),
            (
                "maven2/org/slf4j/slf4j-api/2.0.9/slf4j-api-2.0.9.jar",
                "maven org.slf4j:slf4j-api 2.0.9",
            ),
        ] {
            assert_eq!(found(path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn other_paths_are_no_packages() {
        for path in [
            "",
            "/",
            "dists/bookworm/InRelease",
            "pool/main/x_1.deb",
            "packages/ab/name-1.0-py3-none-any.whl.metadata",
            "simple/flask/",
            "archive/v1.0.tar.gz",
            "left-pad",
            "a/-/b-1.0.tgz",
            "@v/v1.zip",
            "example.com/m/@v/v1.0.0.mod",
            "api/v1/crates/serde/download",
            "a/b-1.jar",
            "%",
            "%ff/x_1_all.deb",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn what_moved_is_told() {
        let set = |all: &[(&'static str, &str, &str)]| -> BTreeSet<Package> {
            all.iter()
                .map(|(manager, name, version)| made(manager, *name, *version))
                .collect()
        };
        let before = set(&[
            ("pip", "gunicorn", "21.2.0"),
            ("pip", "six", "1.16.0"),
            ("apt", "curl", "1"),
            ("npm", "a", "1"),
            ("npm", "a", "2"),
        ]);
        let after = set(&[
            ("pip", "gunicorn", "22.0.0"),
            ("apt", "curl", "1"),
            ("go", "six", "v1"),
            ("npm", "a", "2"),
            ("npm", "a", "3"),
        ]);
        assert_eq!(
            changes(&before, &after),
            [
                "six v1 is new",
                "a 1 -> 3",
                "gunicorn 21.2.0 -> 22.0.0",
                "six 1.16.0 is gone"
            ]
        );
        assert_eq!(changes(&after, &after), Vec::<String>::new());
    }
}
