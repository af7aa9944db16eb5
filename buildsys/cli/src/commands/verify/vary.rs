//! In what the two builds differ.
//!
//! The time of day is one for all namespaces of a machine: the second build is later, by seconds. What a step
//! would see of most of this the sandbox fixes already; that it does is what is verified. Users: a step's are
//! those of its image, and the sandbox needs root; the owner of all files that are read differs, and the user's
//! name in the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tbuild_kinds::{Reading, Relocation};
use tbuild_sandbox::Surroundings;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::Arguments;
use super::once::Built;
use super::stores::Stores;
use crate::engine::Engine;
use crate::error::CliError;

/// The first argument of a process that enters other surroundings.
pub const VARY: &str = "tbuild-vary";
/// A hundred days, in seconds.
const UPTIME: u64 = 8_640_000;
/// Whose the copies are that the second build reads.
const OWNER: u32 = 4242;
/// How often a cancellation is looked for.
const TICK: Duration = Duration::from_millis(100);

/// Both builds.
pub struct Plan {
    /// The first and the second.
    pub builds: [Process; 2],
    /// What differs, in words.
    pub varied: Vec<String>,
    /// What does not, with the reason.
    pub fixed: Vec<String>,
    _shuffled: Option<Shuffled>,
}

/// A build in a process of its own.
pub struct Process {
    surroundings: Surroundings,
    env: BTreeMap<&'static str, String>,
    arguments: Vec<std::ffi::OsString>,
    result: PathBuf,
}

impl Plan {
    /// Copies what the second build reads, and says how each is started.
    pub fn new(
        engine: &Engine,
        arguments: &Arguments,
        stores: &Stores,
        reads: &[Reading],
    ) -> Result<Self, CliError> {
        let start = engine.global.directory.clone().unwrap_or_default();
        let start = std::path::absolute(&start)
            .or_else(|_| std::env::current_dir())
            .map_err(|error| CliError::internal(&error))?;
        let root = rustix::process::geteuid().is_root();
        let mut relocation = Relocation {
            root: stores.folder.join("copies"),
            owner: root.then_some(OWNER),
        };
        relocate(engine, &relocation, &start, reads)?;
        let mut varied = [
            "time (seconds)",
            "host name",
            "umask",
            "locale",
            "time zone",
            "user name",
            "jobs (8, 1)",
            "path of the store",
            "path, inodes, times and creation order of files",
        ]
        .map(str::to_owned)
        .to_vec();
        let mut fixed = vec!["date (a namespace has none of its own)".to_owned()];
        match relocation.owner {
            Some(_) => varied.push("owner of files".to_owned()),
            None => fixed.push("owner of files (only root gives files away)".to_owned()),
        }
        let shuffled = Shuffled::mount(&relocation.root, &stores.folder.join("shuffled"));
        match &shuffled {
            Ok(mounted) => {
                varied.push("reading order of folders (disorderfs)".to_owned());
                relocation.root.clone_from(&mounted.0);
            }
            Err(why) => fixed.push(format!("reading order of folders ({why})")),
        }
        let first = Process {
            surroundings: surroundings("first", 0o022, None, 0),
            env: env("C.UTF-8", "UTC0", "root"),
            arguments: child(engine, arguments, &stores.paths[0], 8, &start, &|path| {
                path.into()
            }),
            result: stores.folder.join("first.json"),
        };
        let moved = |path: &Path| relocation.path(path);
        let second = Process {
            surroundings: surroundings("second-machine.example.com", 0o077, Some(1), UPTIME),
            env: env("tr_TR.UTF-8", "XYZ-13:30", "somebody"),
            arguments: child(
                engine,
                arguments,
                &stores.paths[1],
                1,
                &moved(&start),
                &moved,
            ),
            result: stores.folder.join("second.json"),
        };
        Ok(Self {
            builds: [first, second],
            varied,
            fixed,
            _shuffled: shuffled.ok(),
        })
    }
}

fn surroundings(hostname: &str, umask: u32, cpus: Option<usize>, uptime: u64) -> Surroundings {
    Surroundings {
        hostname: hostname.to_owned(),
        umask,
        cpus,
        uptime,
    }
}

fn env(locale: &str, zone: &str, user: &str) -> BTreeMap<&'static str, String> {
    let pairs = [
        ("LC_ALL", locale),
        ("LANG", locale),
        ("TZ", zone),
        ("USER", user),
        ("LOGNAME", user),
    ];
    pairs.map(|(name, value)| (name, value.to_owned())).into()
}

/// Copies all that is read, and makes what the configuration expects to be there besides.
fn relocate(
    engine: &Engine,
    relocation: &Relocation,
    start: &Path,
    reads: &[Reading],
) -> Result<(), CliError> {
    relocation.folder(&relocation.path(start))?;
    let project = &engine.world.project;
    for reference in engine.project.config.paths() {
        let named = reference.paths.iter().map(|path| project.join(path));
        match named.into_iter().find(|path| path.exists()) {
            Some(path) if path.is_dir() => relocation.folder(&relocation.path(&path))?,
            Some(path) => relocation.file(&path)?,
            None => {}
        }
    }
    let config = engine.global.config.as_ref().map(|file| start.join(file));
    let config = config.unwrap_or_else(|| project.join("tbuild.toml"));
    if config.is_file() {
        relocation.file(&config)?;
    }
    for lock in std::fs::read_dir(project.join("lockfiles"))
        .into_iter()
        .flatten()
        .flatten()
    {
        relocation.file(&lock.path())?;
    }
    for reading in reads {
        relocation.copy(&engine.world, reading)?;
    }
    Ok(())
}

/// The command line of a build, with paths as `moved` says.
fn child(
    engine: &Engine,
    arguments: &Arguments,
    store: &Path,
    jobs: usize,
    start: &Path,
    moved: &dyn Fn(&Path) -> PathBuf,
) -> Vec<std::ffi::OsString> {
    let global = &engine.global;
    let own = std::path::absolute(global.directory.clone().unwrap_or_default())
        .or_else(|_| std::env::current_dir())
        .unwrap_or_default();
    let mut list: Vec<std::ffi::OsString> = vec!["--store".into(), store.into()];
    let mut add = |name: &str, value: std::ffi::OsString| {
        list.push(name.into());
        list.push(value);
    };
    add("--jobs", jobs.to_string().into());
    add("--progress", "quiet".into());
    add("-C", start.into());
    if let Some(config) = &global.config {
        add("--config", moved(&own.join(config)).into());
    }
    for profile in &global.profile {
        add("--profile", profile.into());
    }
    for set in &global.set {
        add("--set", set.into());
    }
    for source in &global.source {
        let source = match source.split_once('=') {
            Some((name, path)) => format!("{name}={}", moved(&own.join(path)).display()),
            None => source.clone(),
        };
        add("--source", source.into());
    }
    if global.offline {
        list.push("--offline".into());
    }
    if global.frozen {
        list.push("--frozen".into());
    }
    list.push("verify".into());
    let mut add = |name: &str, value: std::ffi::OsString| {
        list.push(name.into());
        list.push(value);
    };
    if let Some(context) = &arguments.build {
        let context = own.join(context);
        let file = arguments.file.as_ref().map(|file| own.join(file));
        let file = file.unwrap_or_else(|| context.join("Dockerfile"));
        add("--build", moved(&context).into());
        add("--file", moved(&file).into());
    }
    if let Some(target) = &arguments.target {
        add("--target", target.into());
    }
    for arg in &arguments.build_arg {
        add("--build-arg", arg.into());
    }
    list.extend(arguments.name.as_ref().map(Into::into));
    list
}

impl Process {
    /// Runs the build and waits for what it came to.
    pub async fn run(&self, engine: &Engine) -> Result<Built, CliError> {
        let surroundings = serde_json::to_string(&self.surroundings)
            .map_err(|error| CliError::internal(&error))?;
        let mut command = Command::new(crate::engine::myself());
        command
            .args([VARY, &surroundings])
            .args(&self.arguments)
            .arg("--once")
            .arg(&self.result)
            .envs(&self.env)
            .env_remove("TBUILD_STORE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut process = command
            .spawn()
            .map_err(|error| CliError::internal(&error))?;
        let mut output = process.stdout.take();
        let status = loop {
            tokio::select! {
                status = process.wait() => break status.map_err(|error| CliError::internal(&error))?,
                () = tokio::time::sleep(TICK) => {
                    if engine.cancel.is_cancelled() {
                        // Whoever runs in its place is told by its death.
                        let _gone = process.start_kill();
                    }
                }
            }
        };
        // The end of its output is the end of all of it.
        if let Some(output) = &mut output {
            let _text = output.read_to_end(&mut Vec::new()).await;
        }
        if engine.cancel.is_cancelled() {
            return Err(tbuild_realise::OpError::Cancelled.into());
        }
        if !status.success() {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return Err(CliError {
                code: code.unwrap_or(1),
                ..CliError::failed("the build failed: there is nothing to compare")
            });
        }
        let bytes = std::fs::read(&self.result).map_err(|error| CliError::internal(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| CliError::internal(&error))
    }
}

/// A folder that is seen with its members in another order, as long as this value lives.
struct Shuffled(PathBuf);

impl Shuffled {
    fn mount(folder: &Path, at: &Path) -> Result<Self, String> {
        std::fs::create_dir(at).map_err(|error| error.to_string())?;
        let output = std::process::Command::new("disorderfs")
            .args(["--quiet", "--shuffle-dirents=no", "--reverse-dirents=yes"])
            .args([folder, at])
            .output();
        match output {
            Ok(output) if output.status.success() => Ok(Self(at.to_owned())),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let first = said.lines().next().unwrap_or("it failed");
                Err(format!("disorderfs: {first}"))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err("disorderfs is not installed".to_owned())
            }
            Err(error) => Err(format!("disorderfs: {error}")),
        }
    }
}

impl Drop for Shuffled {
    fn drop(&mut self) {
        // Lazily: nobody works in it any more, and nothing below may be removed through it.
        let _gone = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}
