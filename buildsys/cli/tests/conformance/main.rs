//! Builds every case of `cases/` with the real program and compares what comes out with what BuildKit made of it,
//! which `expected/` has in writing. README.md says how cases are written and recorded.
//!
//! `CONFORMANCE=copy-` in the environment leaves only the cases whose names begin so.

mod case;
mod listing;
mod servers;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use case::Case;
use servers::Servers;
use tbuild_digest::Sha256;

/// What there has to be at least.
const CASES: usize = 150;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/conformance")
        .join(name)
}

/// The names of the files of a folder that end in `.extension`.
fn names(name: &str, extension: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder(name)).expect("the folder is there");
    entries
        .filter_map(|entry| {
            let path = entry.expect("it can be read").path();
            let matches = path.extension().is_some_and(|found| found == extension);
            matches.then(|| {
                let stem = path.file_stem().expect("a name");
                stem.to_str().expect("names are text").to_owned()
            })
        })
        .collect()
}

fn load(name: &str) -> Case {
    let path = folder("cases").join(format!("{name}.case"));
    let text = std::fs::read_to_string(path).expect("cases are text");
    Case::parse(name, &text).unwrap_or_else(|error| panic!("{error}"))
}

/// The recorded lines of a case, without comments.
fn expected(name: &str) -> Vec<String> {
    let path = folder("expected").join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// What all cases share.
struct Bench {
    root: PathBuf,
    servers: Servers,
    busybox: Sha256,
    base: Vec<String>,
}

impl Bench {
    fn new(root: &Path) -> Self {
        let status = Command::new(folder("base.sh"))
            .arg(root.join("rootfs"))
            .status()
            .expect("base.sh runs");
        assert!(status.success(), "the base is made");
        let busybox = std::fs::read(root.join("rootfs/bin/busybox")).expect("busybox is there");
        let files = |line: &String| line.starts_with('/');
        Self {
            root: root.to_owned(),
            servers: Servers::start(root),
            busybox: Sha256::of(&busybox),
            base: expected("base").into_iter().filter(files).collect(),
        }
    }

    fn build(&self, case: &Case, work: &Path, archive: &Path) -> Output {
        let fill = |value: &String| self.servers.fill(value, &case.name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_tbuild"));
        command
            .current_dir(work)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", &self.root)
            .args(["--progress=plain", "--store"])
            .arg(self.root.join("store"))
            .args((!case.asks_servers()).then_some("--offline"))
            .args(["build", "context", "--build-context"])
            .arg(format!("base={}", self.root.join("rootfs").display()));
        let dockerfile = case.dockerfile.iter();
        command.args(dockerfile.map(|path| format!("--file=context/{path}")));
        command.args(case.target.iter().map(|name| format!("--target={name}")));
        command.args(
            case.platform
                .iter()
                .map(|name| format!("--platform={name}")),
        );
        command.args(
            case.args
                .iter()
                .map(|arg| format!("--build-arg={}", fill(arg))),
        );
        command.args(case.labels.iter().map(|label| format!("--label={label}")));
        for name in &case.contexts {
            command.arg(format!("--build-context={name}={name}"));
        }
        for option in &case.options {
            command.args(fill(option).split(' '));
        }
        command.envs(case.env.iter().filter_map(|pair| pair.split_once('=')));
        command
            .arg(format!("-otype=oci,dest={}", archive.display()))
            .output()
            .expect("tbuild runs")
    }

    /// What is wrong with a case, if anything.
    fn check(&self, case: &Case) -> Result<(), String> {
        let work = self.root.join(&case.name);
        case.lay_out(&work);
        let archive = work.join("image.tar");
        let output = self.build(case, &work, &archive);
        let said = String::from_utf8_lossy(&output.stderr);
        if let Some(feature) = &case.pending {
            let named = output.status.code() == Some(2) && said.contains(feature.as_str());
            return if named {
                Ok(())
            } else {
                Err(format!(
                    "it is pending, but {feature:?} is not refused by name: {}\n{said}",
                    output.status
                ))
            };
        }
        let expected = expected(&case.name);
        let refused = vec!["refused".to_owned()];
        let made = match output.status.code() {
            Some(0) => {
                let lines = listing::of_archive(&archive, &self.busybox);
                if case.name == "base" {
                    lines
                } else {
                    listing::abbreviate(lines, &self.base)
                }
            }
            Some(1..=3) => refused.clone(),
            _ => return Err(format!("tbuild ends with {}\n{said}", output.status)),
        };
        let differing = match (made == refused, expected == refused) {
            (true, true) => vec![],
            (true, false) => vec!["+refused".to_owned()],
            (false, true) => vec!["-refused".to_owned()],
            (false, false) => listing::differing(&expected, &made),
        };
        if differing != case.differs {
            let differing = differing.join("\n");
            let known = case.differs.join("\n");
            let known = if known.is_empty() {
                known
            } else {
                format!("\nknown is:\n{known}")
            };
            let said = if made == refused { &*said } else { "" };
            return Err(format!("{differing}{known}\n{said}"));
        }
        match &case.error {
            _ if made != refused => Ok(()),
            None => Err(format!("refused, and no error: says how\n{said}")),
            Some(error) if said.contains(error.as_str()) => Ok(()),
            Some(error) => Err(format!("the message does not hold {error:?}:\n{said}")),
        }
    }
}

/// A panic over one case is that case's failure.
fn caught(check: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(text.unwrap_or("it panics").to_owned())
    })
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "which cases run is for whoever runs them to say"
)]
fn every_case_is_as_buildkit_has_it() {
    let only = std::env::var("CONFORMANCE").unwrap_or_default();
    let cases = names("cases", "case");
    let cases: Vec<Case> = cases
        .iter()
        .filter(|name| name.starts_with(&only))
        .map(|name| load(name))
        .collect();
    let root = tempfile::Builder::new()
        .prefix("conformance.")
        .tempdir_in("/var/tmp")
        .expect("a folder to work in");
    let bench = Bench::new(root.path());
    let (queue, failures) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no thread panics").next();
                    let Some(case) = next else { break };
                    if let Err(why) = caught(|| bench.check(case)) {
                        let failure = format!("== {}\n{}", case.name, why.trim_end());
                        failures.lock().expect("no thread panics").push(failure);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no thread panics");
    failures.sort();
    assert!(
        failures.is_empty(),
        "{} of {} cases fail\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

#[test]
fn every_case_is_recorded_and_there_are_enough() {
    let cases = names("cases", "case");
    let recorded = names("expected", "txt");
    let differ: Vec<&String> = cases.symmetric_difference(&recorded).collect();
    assert!(differ.is_empty(), "ci/conformance/record {differ:?}");
    assert!(cases.len() >= CASES, "{} cases", cases.len());
}
