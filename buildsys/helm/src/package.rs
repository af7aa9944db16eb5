//! The chart archive.

use std::collections::BTreeSet;
use std::io;

use libdeflater::{CompressionLvl, Compressor};
use serde_json::Value;
use tbuild_digest::BlobDigest;
use tbuild_tree::{Entry, Node, SOURCE_DATE_EPOCH, Tree, TreePath};

use crate::{IgnoreError, IgnoreRules, ValuesError, parse_yaml};

/// Files that helm knows by name; they come first in the archive, in this order, as `helm package` writes them.
const FIRST: [&str; 4] = [
    "Chart.yaml",
    "Chart.lock",
    "values.yaml",
    "values.schema.json",
];

/// A packaged chart.
#[derive(Debug, Clone)]
pub struct Package {
    /// The chart's name.
    pub name: String,
    /// The chart's version.
    pub version: String,
    /// The gzipped tar archive.
    pub archive: Vec<u8>,
    /// The chart's own values, empty where it has none.
    pub values: Value,
    /// The schema of its values, if it has one.
    pub schema: Option<Value>,
}

impl Package {
    /// The name that helm gives the file: `NAME-VERSION.tgz`.
    pub fn file_name(&self) -> String {
        format!("{}-{}.tgz", self.name, self.version)
    }

    /// The digest of the archive.
    pub fn digest(&self) -> BlobDigest {
        BlobDigest::of(&self.archive)
    }
}

/// Why a folder cannot be packaged as a chart.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A file that a chart must have.
    #[error("the chart has no {0}")]
    Missing(&'static str),
    /// A file of the chart that helm reads.
    #[error("the chart's {path} cannot be read")]
    Values {
        /// Which file.
        path: String,
        /// Why not.
        #[source]
        source: ValuesError,
    },
    /// A field of Chart.yaml.
    #[error("Chart.yaml: {field} {problem}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A dependency that is not in `charts/`.
    #[error("Chart.yaml: dependency {0} is not in the chart's charts folder")]
    Dependency(String),
    /// The ignore file.
    #[error(transparent)]
    Ignore(#[from] IgnoreError),
    /// A kind of file that a chart cannot hold.
    #[error("the chart's {0} is neither a file nor a folder")]
    Kind(TreePath),
    /// A path that is not UTF-8.
    #[error("the chart's {0} is not UTF-8")]
    Name(TreePath),
    /// A file could not be read.
    #[error("cannot read the chart's {path}")]
    Io {
        /// Which one.
        path: TreePath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The archive could not be written.
    #[error("cannot write the chart's archive")]
    Archive(#[source] io::Error),
}

/// Packages the chart that `tree` holds; `content` gives the bytes of a file of it. The archive depends on nothing but
/// paths and contents: entries in a fixed order, mode 0644, owner 0, the time [`SOURCE_DATE_EPOCH`], and
/// gzip by a library whose bytes do not depend on the machine.
///
/// What `.helmignore` names stays out. Dependencies must lie in `charts/`: nothing is fetched.
pub fn package(
    tree: &Tree,
    content: &mut dyn FnMut(&Entry) -> io::Result<Vec<u8>>,
) -> Result<Package, PackageError> {
    let files = read_files(tree, content)?;
    let find = |name: &str| {
        files
            .iter()
            .find(|(path, _)| path == name)
            .map(|(_, bytes)| bytes)
    };

    let yaml = |name: &str, bytes: &[u8]| {
        parse_yaml(&String::from_utf8_lossy(bytes)).map_err(|source| PackageError::Values {
            path: name.to_owned(),
            source,
        })
    };
    let chart = yaml(
        "Chart.yaml",
        find("Chart.yaml").ok_or(PackageError::Missing("Chart.yaml"))?,
    )?;
    let name = field(
        &chart,
        "name",
        is_chart_name,
        "must be letters, digits, - _ .",
    )?;
    let version = field(&chart, "version", is_semver, "must be a semantic version")?;
    field(
        &chart,
        "apiVersion",
        |text| matches!(text, "v1" | "v2"),
        "must be v2 (or v1)",
    )?;
    check_dependencies(&chart, &files)?;

    let values = match find("values.yaml") {
        Some(bytes) => yaml("values.yaml", bytes)?,
        None => Value::Null,
    };
    let values = if values.is_null() {
        Value::Object(serde_json::Map::new())
    } else {
        values
    };
    let schema = match find("values.schema.json") {
        Some(bytes) => {
            Some(
                serde_json::from_slice(bytes).map_err(|error| PackageError::Values {
                    path: "values.schema.json".to_owned(),
                    source: ValuesError::Schema(error.to_string()),
                })?,
            )
        }
        None => None,
    };

    let archive = write_tar(&name, &files)
        .and_then(|tar| gzip(&tar))
        .map_err(PackageError::Archive)?;
    Ok(Package {
        name,
        version,
        archive,
        values,
        schema,
    })
}

/// The chart's files with their paths, in the archive's order.
fn read_files(
    tree: &Tree,
    content: &mut dyn FnMut(&Entry) -> io::Result<Vec<u8>>,
) -> Result<Vec<(String, Vec<u8>)>, PackageError> {
    let mut read = |entry: &Entry| {
        content(entry).map_err(|source| PackageError::Io {
            path: entry.path.clone(),
            source,
        })
    };
    let rules = match tree.get(&".helmignore".into()) {
        Some(entry) => String::from_utf8_lossy(&read(entry)?).into_owned(),
        None => String::new(),
    };
    let rules = IgnoreRules::parse(&rules)?;

    let mut files = Vec::new();
    let mut ignored: Option<TreePath> = None;
    for entry in tree.entries() {
        if entry.path.is_root()
            || ignored
                .as_ref()
                .is_some_and(|folder| entry.path.below(folder).is_some())
        {
            continue;
        }
        let path = str::from_utf8(entry.path.as_bytes())
            .map_err(|_| PackageError::Name(entry.path.clone()))?;
        if rules.ignores(path, entry.is_directory()) {
            ignored = entry.is_directory().then(|| entry.path.clone());
            continue;
        }
        let source = match &entry.node {
            Node::Directory => continue,
            Node::File { .. } => entry,
            Node::Hardlink { target } => tree.get(target).unwrap_or(entry),
            _ => return Err(PackageError::Kind(entry.path.clone())),
        };
        files.push((path.to_owned(), read(source)?));
    }
    let rank = |path: &str| {
        FIRST
            .iter()
            .position(|first| *first == path)
            .unwrap_or(FIRST.len())
    };
    files.sort_by(|(a, _), (b, _)| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b)));
    Ok(files)
}

fn field(
    chart: &Value,
    field: &'static str,
    is_right: impl Fn(&str) -> bool,
    rule: &str,
) -> Result<String, PackageError> {
    let error = |problem: String| PackageError::Field { field, problem };
    let value = chart
        .get(field)
        .ok_or_else(|| error("is missing".to_owned()))?;
    match value.as_str() {
        Some(text) if is_right(text) => Ok(text.to_owned()),
        _ => Err(error(format!("is {value}: it {rule}"))),
    }
}

fn is_chart_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 250
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Semantic Versioning 2.0.0, section 2, 9 and 10.
fn is_semver(version: &str) -> bool {
    let (rest, build) = version
        .split_once('+')
        .map_or((version, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest
        .split_once('-')
        .map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let is_number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let is_identifier = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_pre = |part: &str| {
        is_identifier(part) && (is_number(part) || part.bytes().any(|byte| !byte.is_ascii_digit()))
    };
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && pre.is_none_or(|pre| pre.split('.').all(is_pre))
        && build.is_none_or(|build| build.split('.').all(is_identifier))
}

/// helm refuses a chart whose dependencies are named and not there, and would fetch them; a build does not.
fn check_dependencies(chart: &Value, files: &[(String, Vec<u8>)]) -> Result<(), PackageError> {
    let Some(dependencies) = chart.get("dependencies").and_then(Value::as_array) else {
        return Ok(());
    };
    let present: BTreeSet<&str> = files
        .iter()
        .filter_map(|(path, _)| path.strip_prefix("charts/"))
        .filter_map(|path| path.split('/').next())
        .collect();
    for dependency in dependencies {
        let name = dependency
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let archived = |file: &&str| {
            file.strip_prefix(name).is_some_and(|rest| {
                rest.starts_with('-') && rest.to_ascii_lowercase().ends_with(".tgz")
            })
        };
        if !present.contains(name) && !present.iter().any(archived) {
            return Err(PackageError::Dependency(name.to_owned()));
        }
    }
    Ok(())
}

fn write_tar(name: &str, files: &[(String, Vec<u8>)]) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(SOURCE_DATE_EPOCH as u64);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, format!("{name}/{path}"), bytes.as_slice())?;
    }
    builder.into_inner()
}

/// One gzip member, without name and time (RFC 1952, section 2.3).
fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let size = compressor
        .gzip_compress(bytes, &mut out)
        .map_err(io::Error::other)?;
    out.truncate(size);
    Ok(out)
}
