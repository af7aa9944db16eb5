//! tbuild.toml: found, read, checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tbuild_config::{Config, Options, parse, render};

use crate::args::Global;
use crate::error::CliError;
use crate::report::colored;

/// The configuration's file name.
const FILE: &str = "tbuild.toml";

/// A project: its configuration and where it stands.
#[derive(Clone)]
pub struct Project {
    /// The folder of tbuild.toml, absolute.
    pub folder: PathBuf,
    /// What it says.
    pub config: Config,
}

/// The nearest tbuild.toml, from `start` upwards.
fn find(start: &Path) -> Option<PathBuf> {
    start
        .ancestors()
        .map(|folder| folder.join(FILE))
        .find(|file| file.is_file())
}

impl Project {
    /// Reads the project that the options name, or that the working folder is in.
    pub fn load(global: &Global) -> Result<Self, CliError> {
        let start = global
            .directory
            .clone()
            .unwrap_or_else(|| PathBuf::from("."));
        let start = start.canonicalize().map_err(|error| {
            CliError::usage(format!("cannot enter {}: {error}", start.display()))
        })?;
        let file = match &global.config {
            Some(file) => Some(start.join(file)),
            None => find(&start),
        };
        let Some(file) = file else {
            return Err(CliError::usage(format!(
                "there is no {FILE} in {} or above it",
                start.display()
            ))
            .hint("tbuild build CONTEXT needs none"));
        };
        Self::read(global, &file, &start)
    }

    /// The same, or an empty project where there is no tbuild.toml.
    pub fn load_or_empty(global: &Global) -> Result<Self, CliError> {
        let start = global
            .directory
            .clone()
            .unwrap_or_else(|| PathBuf::from("."));
        let start = start.canonicalize().map_err(|error| {
            CliError::usage(format!("cannot enter {}: {error}", start.display()))
        })?;
        if global.config.is_some() || find(&start).is_some() {
            return Self::load(global);
        }
        let config = parse("[project]\nname = \"build\"\n", &Options::default())
            .map_err(|_| CliError::usage("the empty configuration cannot be read"))?;
        Ok(Self {
            folder: start,
            config,
        })
    }

    fn read(global: &Global, file: &Path, start: &Path) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| CliError::usage(format!("cannot read {}: {error}", file.display())))?;
        let folder = file.parent().unwrap_or(start).to_owned();
        let environment: BTreeMap<String, String> = std::env::vars().collect();
        // A source of the command line counts from where the user stands, not from where tbuild.toml is.
        let sources: Vec<String> = global
            .source
            .iter()
            .map(|source| match source.split_once('=') {
                Some((name, path)) => format!("{name}={}", start.join(path).display()),
                None => source.clone(),
            })
            .collect();
        let options = Options {
            profiles: &global.profile,
            set: &global.set,
            sources: &sources,
            env: environment,
            reserved: tbuild_config::RESERVED,
        };
        let color = colored(global.color, std::env::var_os("NO_COLOR").is_some());
        let shown = file
            .strip_prefix(start)
            .unwrap_or(file)
            .display()
            .to_string();
        let show = |findings: &[tbuild_config::Diagnostic]| {
            let texts: Vec<String> = findings
                .iter()
                .map(|finding| render(finding, &text, &shown, color))
                .collect();
            CliError::rendered(texts.join("\n"))
        };
        let config = parse(&text, &options).map_err(|findings| show(&findings))?;
        let missing: Vec<_> = config
            .paths()
            .into_iter()
            .filter(|reference| {
                !reference
                    .paths
                    .iter()
                    .any(|path| folder.join(path).exists())
            })
            .map(|reference| reference.missing())
            .collect();
        if !missing.is_empty() {
            return Err(show(&missing));
        }
        Ok(Self { folder, config })
    }
}

/// The texts of a project's lockfiles.
pub fn lockfiles(project: &Path) -> Vec<String> {
    let files = std::fs::read_dir(project.join("lockfiles"));
    let mut paths: Vec<PathBuf> = files
        .into_iter()
        .flatten()
        .flatten()
        .map(|file| file.path())
        .collect();
    paths.sort();
    paths
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .collect()
}
