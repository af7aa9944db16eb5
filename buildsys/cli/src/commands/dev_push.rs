//! `tbuild dev-push COMPONENT`: changed files of a source folder, written into pods that run.
//!
//! What a pod has is asked of the pod, by SHA-256; what differs goes into it as one tar stream over exec. Files that an
//! earlier push wrote and that are gone since are removed: the pod keeps a list.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tbuild_config::{Component, Dev, SourceOrigin};
use tbuild_digest::BlobDigest;
use tbuild_kube::{Cluster, Exec};

use super::inside::{output, running};
use super::status::{component, connect};
use crate::args::Global;
use crate::error::CliError;
use crate::output::line;
use crate::project::Project;

/// The list of what was pushed, beside the files.
const LIST: &str = ".tbuild-dev";
/// Files that programs make themselves of others.
const MADE: [&str; 4] = ["__pycache__", ".git", "node_modules", LIST];

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The components of tbuild.toml [default: all that have `dev`]
    components: Vec<String>,
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    let all = &project.config.components;
    let names: Vec<&String> = if arguments.components.is_empty() {
        all.iter()
            .filter(|(_, one)| one.dev.is_some())
            .map(|(name, _)| name)
            .collect()
    } else {
        arguments.components.iter().collect()
    };
    if names.is_empty() {
        return Err(CliError::usage("no component of tbuild.toml has `dev`"));
    }
    let mut pushes = Vec::new();
    for name in names {
        let place = component(&project, name)?;
        let dev = all.get(name).and_then(|one: &Component| one.dev.as_ref());
        let dev = dev.ok_or_else(|| {
            CliError::usage(format!("[component.{name}] has no `dev`"))
                .hint("dev = { source, paths, reload } says what goes where")
        })?;
        pushes.push((name, place, dev));
    }
    let cluster = connect(global).await?;
    for (name, (namespace, selector), dev) in pushes {
        let source = folder(&project, dev)?;
        for pod in running(&cluster, &namespace, &selector, name).await? {
            let target = Target {
                cluster: &cluster,
                namespace: &namespace,
                pod: &pod.name,
            };
            target.push(&source, dev).await?;
        }
    }
    Ok(0)
}

/// The folder of the source.
fn folder(project: &Project, dev: &Dev) -> Result<PathBuf, CliError> {
    let source = project.config.sources.get(&dev.source.value);
    match source.map(|source| &source.origin) {
        Some(SourceOrigin::Path(path)) => Ok(project.folder.join(&path.value)),
        _ => Err(CliError::usage(format!(
            "source {} is no folder: nobody edits it",
            dev.source.value
        ))
        .hint(format!(
            "--source {}=PATH names a checkout",
            dev.source.value
        ))),
    }
}

/// A file to be in the container, by its absolute path there.
type Files = BTreeMap<String, PathBuf>;

/// What is to be where: the files below each path of the source.
fn files(
    source: &Path,
    paths: &BTreeMap<String, tbuild_config::Spanned<String>>,
) -> Result<Files, CliError> {
    let mut files = Files::new();
    for (path, to) in paths {
        let from = source.join(path);
        let unreadable = |error: std::io::Error| {
            CliError::failed(format!("cannot read {}: {error}", from.display()))
        };
        if std::fs::metadata(&from).map_err(unreadable)?.is_dir() {
            below(&from, to.value.trim_end_matches('/'), &mut files).map_err(unreadable)?;
        } else {
            files.insert(to.value.clone(), from);
        }
    }
    Ok(files)
}

fn below(folder: &Path, to: &str, files: &mut Files) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        if MADE.contains(&name.as_str()) {
            continue;
        }
        if kind.is_dir() {
            below(&entry.path(), &format!("{to}/{name}"), files)?;
        } else if kind.is_file() {
            files.insert(format!("{to}/{name}"), entry.path());
        }
    }
    Ok(())
}

struct Target<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    pod: &'a str,
}

impl Target<'_> {
    async fn sh(
        &self,
        script: &str,
        arguments: &[String],
        input: Vec<u8>,
    ) -> Result<String, CliError> {
        let command = ["/bin/sh", "-c", script, "sh"].map(str::to_owned);
        let exec = Exec {
            namespace: self.namespace.to_owned(),
            pod: self.pod.to_owned(),
            container: None,
            command: command
                .into_iter()
                .chain(arguments.iter().cloned())
                .collect(),
            terminal: false,
        };
        let (status, stdout, stderr) =
            output(self.cluster, &exec, std::io::Cursor::new(input)).await?;
        if status == 0 {
            return Ok(String::from_utf8_lossy(&stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&stderr);
        let failed = CliError::failed(format!("{}: {}", self.pod, said.trim()));
        Err(if said.contains("Read-only file system") {
            failed.hint("the pod's files are the image's: its chart has to give it a folder to write to (dev.enabled)")
        } else {
            failed
        })
    }

    async fn push(&self, source: &Path, dev: &Dev) -> Result<(), CliError> {
        let wanted = files(source, &dev.paths)?;
        // Where the list lies: in the first folder that files go to.
        let first = dev
            .paths
            .values()
            .map(|to| to.value.as_str())
            .min()
            .unwrap_or("/");
        let list = format!("{}/{LIST}", first.trim_end_matches('/'));
        let roots: BTreeSet<String> = dev.paths.values().map(|to| to.value.clone()).collect();
        let roots: Vec<String> = std::iter::once(list.clone()).chain(roots).collect();
        let there = self
            .sh(
                "list=$1; shift; cat \"$list\" 2>/dev/null; echo; \
                 find \"$@\" -type f ! -name '*.pyc' -exec sha256sum '{}' + 2>/dev/null || true",
                &roots,
                Vec::new(),
            )
            .await?;
        let (pushed, there) = there.split_once("\n\n").unwrap_or(("", there.trim_start()));
        let there: BTreeMap<&str, &str> = there
            .lines()
            .filter_map(|line| line.split_once("  ").map(|(sum, path)| (path, sum)))
            .collect();
        let mut archive = tar::Builder::new(Vec::new());
        let mut changed = Vec::new();
        for (to, from) in &wanted {
            let failed = |error: std::io::Error| {
                CliError::failed(format!("cannot read {}: {error}", from.display()))
            };
            let bytes = std::fs::read(from).map_err(failed)?;
            if there.get(to.as_str()) == Some(&BlobDigest::of(&bytes).hex().as_str()) {
                continue;
            }
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            let name = to.trim_start_matches('/');
            archive
                .append_data(&mut header, name, bytes.as_slice())
                .map_err(failed)?;
            changed.push(to.clone());
        }
        let gone: Vec<String> = pushed
            .lines()
            .filter(|path| {
                !path.is_empty() && !wanted.contains_key(*path) && there.contains_key(path)
            })
            .map(str::to_owned)
            .collect();
        if changed.is_empty() && gone.is_empty() {
            line(format!("{}: nothing has changed", self.pod));
            return Ok(());
        }
        let mut all: BTreeSet<&str> = pushed.lines().filter(|path| !path.is_empty()).collect();
        all.extend(changed.iter().map(String::as_str));
        all.retain(|path| wanted.contains_key(*path));
        let mut text = all.into_iter().collect::<Vec<_>>().join("\n");
        text.push('\n');
        let failed = |error: std::io::Error| CliError::internal(&error);
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, list.trim_start_matches('/'), text.as_bytes())
            .map_err(failed)?;
        let bytes = archive.into_inner().map_err(failed)?;
        let (count, size) = (changed.len(), bytes.len());
        self.sh(
            "tar -C / --no-same-owner --no-overwrite-dir -xmf - && { [ $# = 0 ] || rm -f \"$@\"; }",
            &gone,
            bytes,
        )
        .await?;
        let reloaded = match &dev.reload {
            Some(reload) => {
                let argv = reload.argv();
                let quoted: Vec<String> = argv.into_iter().collect();
                self.sh("exec \"$@\"", &quoted, Vec::new()).await?;
                ", reloaded"
            }
            None => "",
        };
        line(format!(
            "{}: {count} files written ({size} bytes), {} removed{reloaded}",
            self.pod,
            gone.len()
        ));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_files_go_where_they_are_said_to() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["api/main/x.py", "api/main/__pycache__/x.pyc", "manage.py"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let place = || tbuild_config::Place::default();
        let paths = [("api", "/app"), ("manage.py", "/app/manage.py")]
            .map(|(from, to)| {
                (
                    from.to_owned(),
                    tbuild_config::Spanned::new(to.to_owned(), place()),
                )
            })
            .into();
        let found = files(folder.path(), &paths).ok().unwrap();
        let found: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(found, ["/app/main/x.py", "/app/manage.py"]);
    }
}
