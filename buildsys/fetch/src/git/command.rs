//! Running git.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tbuild_digest::Sha256;
use tbuild_store::Store;

use super::GitError;

/// The user's git.
#[derive(Debug, Clone)]
pub struct Git {
    program: PathBuf,
    launcher: Vec<String>,
    env: BTreeMap<String, String>,
    from_user: bool,
}

/// A bare repository in the store that everything from one URL is fetched into.
#[derive(Debug)]
pub(super) struct Repository<'a> {
    git: &'a Git,
    pub folder: PathBuf,
}

impl Git {
    /// `program` is git by path or by name. `env` is the caller's environment: git finds its credentials,
    /// proxies and certificates by it; what would point it at another repository is left out.
    pub fn new(program: impl Into<PathBuf>, env: &BTreeMap<String, String>) -> Self {
        const REPOSITORY: [&str; 9] = [
            "GIT_DIR",
            "GIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "GIT_OBJECT_DIRECTORY",
            "GIT_ALTERNATE_OBJECT_DIRECTORIES",
            "GIT_COMMON_DIR",
            "GIT_NAMESPACE",
            "GIT_PREFIX",
            "GIT_CEILING_DIRECTORIES",
        ];
        let mut env = env.clone();
        env.retain(|name, _| !REPOSITORY.contains(&name.as_str()));
        Self {
            program: program.into(),
            launcher: Vec::new(),
            env,
            from_user: true,
        }
    }

    /// The same git, started by a program that becomes the one that its arguments name. Empty for none.
    #[must_use]
    pub fn started_by(mut self, launcher: &[String]) -> Self {
        self.launcher = launcher.to_vec();
        self
    }

    /// The same git, for a URL that a repository names: one from elsewhere may not reach into this machine's
    /// files (git's own rule, git-config(1), protocol.allow).
    pub(super) fn for_submodule(&self, url: &str, submodule: &str) -> Self {
        let local = |url: &str| url.starts_with("file:") || url.starts_with('/');
        Self {
            from_user: self.from_user && local(url) && local(submodule),
            ..self.clone()
        }
    }

    /// The repository that caches `url`, held against other processes while the guard lives.
    pub(super) fn repository(
        &self,
        url: &str,
        store: &dyn Store,
    ) -> Result<(Box<dyn Send>, Repository<'_>), GitError> {
        let name = Sha256::of(url.as_bytes()).hex();
        let guard = store.lock(&format!("git {name}"))?;
        let folder = store.scratch("git")?.join(format!("{name}.git"));
        let repository = Repository { git: self, folder };
        let ready = repository.folder.join(READY);
        if ready.is_file() {
            remove_locks(&repository.folder)?;
        } else {
            // Whatever a killed process left half-made is completed: init does not mind.
            let arguments = [
                "init",
                "--quiet",
                "--bare",
                "--template=",
                "--initial-branch=none",
                "--",
            ];
            let arguments = arguments
                .map(OsStr::new)
                .into_iter()
                .chain([repository.folder.as_os_str()]);
            succeeded("init", &self.run(None, arguments, &[], b"")?)?;
            fs::write(&ready, b"").map_err(GitError::io("mark a repository as ready"))?;
        }
        Ok((guard, repository))
    }

    fn run<'a>(
        &self,
        repository: Option<&Path>,
        arguments: impl IntoIterator<Item = &'a OsStr>,
        env: &[(&str, &OsStr)],
        input: &[u8],
    ) -> Result<Output, GitError> {
        let mut command = match self.launcher.split_first() {
            Some((launcher, rest)) => {
                let mut command = Command::new(launcher);
                command.args(rest).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.env_clear().envs(&self.env);
        command
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .env(
                "GIT_PROTOCOL_FROM_USER",
                if self.from_user { "1" } else { "0" },
            );
        command.args([
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "gc.auto=0",
            "-c",
            "maintenance.auto=false",
        ]);
        if let Some(folder) = repository {
            command.arg("--git-dir").arg(folder);
        }
        let missing = |source| GitError::Missing {
            program: self.program.clone(),
            source,
        };
        command.args(arguments).envs(env.iter().copied());
        if input.is_empty() {
            return command.stdin(Stdio::null()).output().map_err(missing);
        }
        // A file and not a pipe: git may write before it has read all.
        let mut file = tempfile::tempfile().map_err(missing)?;
        file.write_all(input).map_err(missing)?;
        file.rewind().map_err(missing)?;
        command.stdin(Stdio::from(file)).output().map_err(missing)
    }
}

/// A file in a cached repository that says that it was made whole.
const READY: &str = "tbuild-ready";

/// Removes the lock files that a killed git left: whoever gets here holds the store's own lock.
fn remove_locks(folder: &Path) -> Result<(), GitError> {
    let fail = || GitError::io(format!("read {}", folder.display()));
    for entry in fs::read_dir(folder).map_err(fail())? {
        let path = entry.map_err(fail())?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "lock")
        {
            fs::remove_file(&path).map_err(GitError::io(format!("remove {}", path.display())))?;
        } else if path.is_dir() && !path.ends_with("objects") {
            remove_locks(&path)?;
        }
    }
    Ok(())
}

impl Repository<'_> {
    /// Runs git on this repository.
    pub fn git(&self, arguments: &[&str]) -> Result<Output, GitError> {
        self.git.run(
            Some(&self.folder),
            arguments.iter().map(OsStr::new),
            &[],
            b"",
        )
    }

    /// Runs git on this repository with none of the user's or the machine's configuration.
    pub fn plain_git(
        &self,
        arguments: &[&OsStr],
        env: &[(&str, &OsStr)],
    ) -> Result<Output, GitError> {
        self.plain_git_with(arguments, env, b"")
    }

    /// The same with something to read.
    pub fn plain_git_with(
        &self,
        arguments: &[&OsStr],
        env: &[(&str, &OsStr)],
        input: &[u8],
    ) -> Result<Output, GitError> {
        let clean = [
            ("GIT_CONFIG_NOSYSTEM", OsStr::new("1")),
            ("GIT_CONFIG_GLOBAL", OsStr::new("/dev/null")),
        ];
        let env: Vec<_> = clean.iter().chain(env).copied().collect();
        self.git
            .run(Some(&self.folder), arguments.iter().copied(), &env, input)
    }
}

/// The output of a command that has to succeed.
pub(super) fn succeeded<'a>(command: &str, output: &'a Output) -> Result<&'a [u8], GitError> {
    if output.status.success() {
        Ok(&output.stdout)
    } else {
        Err(GitError::Command {
            command: command.to_owned(),
            words: words(output),
        })
    }
}

/// What git wrote to its error stream.
pub(super) fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}
