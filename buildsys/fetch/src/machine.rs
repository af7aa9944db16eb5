//! The machine's own client configuration, read once and handed around as a value.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Files of one machine that say which hosts its package clients use, and the caller's environment.
///
/// Nothing else of this crate looks at the environment or at these files.
#[derive(Debug, Clone, Default)]
pub struct MachineConfig {
    /// Absolute path inside the machine -> content.
    files: BTreeMap<PathBuf, String>,
    env: BTreeMap<String, String>,
    home: Option<PathBuf>,
}

/// Why the configuration could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub struct MachineError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

const FILES: &[&str] = &[
    "/etc/os-release",
    "/etc/apt/sources.list",
    "/etc/apt/apt.conf",
    "/etc/pip.conf",
    "/etc/npmrc",
    "/usr/etc/npmrc",
    "/usr/local/etc/npmrc",
    "/etc/tbuild/origins.toml",
    "/usr/local/go/go.env",
    "/usr/lib/go/go.env",
];
const FOLDERS: &[&str] = &[
    "/etc/apt/sources.list.d",
    "/etc/apt/apt.conf.d",
    "/etc/apt/mirrors",
];
const HOME_FILES: &[&str] = &[
    ".pip/pip.conf",
    ".npmrc",
    ".cargo/config",
    ".cargo/config.toml",
    ".m2/settings.xml",
];
const CONFIG_FILES: &[&str] = &["pip/pip.conf", "go/env", "tbuild/origins.toml"];

impl MachineConfig {
    /// Reads the machine whose root folder is `root` (`/`). `env` is the caller's environment: HOME,
    /// XDG_CONFIG_HOME and the variables that the clients themselves honour are looked up there. Files that do
    /// not exist or may not be read by this user are as if empty.
    pub fn read(root: &Path, env: &BTreeMap<String, String>) -> Result<Self, MachineError> {
        let mut machine = Self {
            files: BTreeMap::new(),
            env: env.clone(),
            home: env.get("HOME").map(PathBuf::from),
        };
        let mut wanted: Vec<PathBuf> = FILES.iter().map(PathBuf::from).collect();
        for folder in FOLDERS {
            wanted.extend(listing(root, Path::new(folder))?);
        }
        if let Some(home) = &machine.home {
            wanted.extend(HOME_FILES.iter().map(|file| home.join(file)));
            let config = env
                .get("XDG_CONFIG_HOME")
                .map_or_else(|| home.join(".config"), PathBuf::from);
            wanted.extend(CONFIG_FILES.iter().map(|file| config.join(file)));
        }
        wanted.extend(
            ["PIP_CONFIG_FILE", "NPM_CONFIG_USERCONFIG", "GOENV"]
                .iter()
                .filter_map(|name| env.get(*name))
                .map(PathBuf::from),
        );
        wanted.extend(
            env.get("CARGO_HOME")
                .map(|home| Path::new(home).join("config.toml")),
        );
        wanted.extend(env.get("GOROOT").map(|go| Path::new(go).join("go.env")));
        for path in wanted.into_iter().filter(|path| path.is_absolute()) {
            if let Some(text) = read(root, &path)? {
                machine.files.insert(path, text);
            }
        }
        Ok(machine)
    }

    /// A file's content.
    pub(crate) fn file(&self, path: impl AsRef<Path>) -> Option<&str> {
        self.files.get(path.as_ref()).map(String::as_str)
    }

    /// The files whose path ends with `suffix`, a number of whole segments.
    pub(crate) fn files_named<'a>(
        &'a self,
        suffix: &'a str,
    ) -> impl Iterator<Item = (&'a Path, &'a str)> {
        self.files
            .iter()
            .filter(move |(path, _)| path.ends_with(suffix))
            .map(|(path, text)| (path.as_path(), text.as_str()))
    }

    /// The files in `folder`, sorted by name.
    pub(crate) fn files_in<'a>(
        &'a self,
        folder: &'a str,
    ) -> impl Iterator<Item = (&'a Path, &'a str)> {
        self.files
            .iter()
            .filter(move |(path, _)| path.parent() == Some(Path::new(folder)))
            .map(|(path, text)| (path.as_path(), text.as_str()))
    }

    /// A variable of the caller's environment that is set to something.
    pub(crate) fn env(&self, name: &str) -> Option<&str> {
        self.env
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn listing(root: &Path, folder: &Path) -> Result<Vec<PathBuf>, MachineError> {
    let fail = |source| MachineError {
        path: folder.to_owned(),
        source,
    };
    match std::fs::read_dir(inside(root, folder)) {
        Err(error) if absent(&error) => Ok(Vec::new()),
        Err(error) => Err(fail(error)),
        Ok(entries) => entries
            .map(|entry| Ok(folder.join(entry.map_err(fail)?.file_name())))
            .collect(),
    }
}

fn read(root: &Path, path: &Path) -> Result<Option<String>, MachineError> {
    match std::fs::read(inside(root, path)) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if absent(&error) || error.kind() == io::ErrorKind::IsADirectory => Ok(None),
        Err(source) => Err(MachineError {
            path: path.to_owned(),
            source,
        }),
    }
}

fn absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied
    )
}
