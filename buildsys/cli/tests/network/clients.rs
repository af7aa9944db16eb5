//! Package managers as they are, against the origins that this machine is configured for: recorded, then replayed
//! without any network to the same image. Each row is a folder in `clients`. What its programs keep of the time and of
//! their own doings is in memory.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What rows share: a store, so that each base is made once.
struct Bench {
    folder: tempfile::TempDir,
    bases: Mutex<BTreeSet<String>>,
}

/// The bench of the rows that are running. It goes with the last of them.
fn bench() -> Arc<Bench> {
    static BENCH: Mutex<Weak<Bench>> = Mutex::new(Weak::new());
    let mut known = BENCH.lock().unwrap_or_else(PoisonError::into_inner);
    known.upgrade().unwrap_or_else(|| {
        let bench = Arc::new(Bench {
            folder: tempfile::tempdir().expect("a folder"),
            bases: Mutex::default(),
        });
        *known = Arc::downgrade(&bench);
        bench
    })
}

fn context(name: &str) -> PathBuf {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/network/clients"
    ))
    .join(name)
}

/// A folder to build in, and how.
struct Row {
    name: &'static str,
    bench: Arc<Bench>,
    folder: PathBuf,
    /// The configuration folder, where it is not the machine's.
    config: Option<PathBuf>,
}

impl Row {
    fn new(name: &'static str) -> Self {
        let bench = bench();
        let folder = bench.folder.path().join(name);
        fs::create_dir(&folder).expect("made");
        Self {
            name,
            bench,
            folder,
            config: None,
        }
    }

    fn command(&self, before: &[&str], context: &Path) -> Command {
        let mut command = Command::new(before[0]);
        command
            .args(&before[1..])
            .arg(env!("CARGO_BIN_EXE_tbuild"))
            .arg("-C")
            .arg(&self.folder)
            .arg("--store")
            .arg(self.bench.folder.path().join("store"))
            .args(["--color", "never", "--progress", "plain"])
            .args(["build", "--network", "record", "-t", "clients"])
            .arg(context);
        if let Some(config) = &self.config {
            command.env("XDG_CONFIG_HOME", config);
        }
        command
    }

    /// Makes the base of a Dockerfile, unless that is done.
    fn base(&self, dockerfile: &str) {
        let from = dockerfile.lines().find(|line| line.starts_with("FROM "));
        let from = from.expect("a base");
        let mut bases = self
            .bench
            .bases
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if bases.contains(from) {
            return;
        }
        let context = self.folder.join("base");
        fs::create_dir_all(&context).expect("made");
        fs::write(context.join("Dockerfile"), from).expect("written");
        ends_well(&mut self.command(&["env"], &context));
        bases.insert(from.to_owned());
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.folder.join("lockfiles/network-clients.lock")).expect("locked")
    }

    /// Records and replays; each of `parts` has to be in the lock.
    fn replays(&self, parts: &[&str]) {
        let context = context(self.name);
        self.base(&fs::read_to_string(context.join("Dockerfile")).expect("read"));
        let (recorded, _) = ends_well(&mut self.command(&["env"], &context));
        let before = self.lock();
        for part in parts {
            assert!(before.contains(part), "{part} is not in the lock: {before}");
        }
        let mut again = self.command(&["unshare", "--net"], &context);
        let (replayed, said) = ends_well(again.args(["--offline", "--no-cache"]));
        assert!(!said.contains("not recorded"), "{said}");
        assert_eq!(self.lock(), before);
        assert_eq!(replayed, recorded, "{said}");
    }
}

/// Runs it; standard output and error.
fn ends_well(command: &mut Command) -> (String, String) {
    let output = command.output().expect("tbuild starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    (text(&output.stdout), said)
}

#[test]
fn apt_bookworm() {
    Row::new("apt-bookworm").replays(&["origin = \"debian\"", "hello_"]);
}

#[test]
fn apt_trixie() {
    Row::new("apt-trixie").replays(&["origin = \"debian\"", "hello_"]);
}

/// Where Ubuntu is and who signs it is known to packages of Debian's, not to this machine.
#[test]
fn apt_jammy() {
    let mut row = Row::new("apt-jammy");
    let known = row.folder.join("known");
    let context_of = context("ubuntu");
    row.base(&fs::read_to_string(context_of.join("Dockerfile")).expect("read"));
    let out = format!("type=local,dest={}", known.display());
    ends_well(row.command(&["env"], &context_of).args(["-o", &out]));
    let template = fs::read_to_string(known.join("ubuntu.info")).expect("read");
    let url_of = |field: &str| {
        let mut lines = template.lines();
        lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(": "))
    };
    let architecture = Command::new("dpkg").arg("--print-architecture").output();
    let architecture = String::from_utf8(architecture.expect("dpkg").stdout).expect("text");
    let url = url_of(&format!("BaseURI-{}", architecture.trim())).or_else(|| url_of("BaseURI"));
    let config = row.folder.join("config");
    fs::create_dir_all(config.join("tbuild")).expect("made");
    let origins = format!("[origin.ubuntu]\nurls = [{:?}]\n", url.expect("an archive"));
    fs::write(config.join("tbuild/origins.toml"), origins).expect("written");
    row.config = Some(config);
    let project = "[project]\nname = \"clients\"\n\n[base.\"ubuntu:jammy\"]\ndistribution = \"ubuntu\"\n\
                   suite = \"jammy\"\nkeyring = \"known/ubuntu-archive-keyring.gpg\"\n";
    fs::write(row.folder.join("tbuild.toml"), project).expect("written");
    fs::remove_dir_all(row.folder.join("lockfiles")).expect("removed");
    row.replays(&["origin = \"ubuntu\"", "hello_"]);
}

/// pip with wheels, with a source distribution, with hashes; curl, wget, urllib, a socket; npm ci.
#[test]
fn python_and_node() {
    let parts = [
        "certifi-2024.7.4",
        "six-1.16.0.tar.gz",
        "toml-0.10.2",
        "debug-4.3.4.tgz",
    ];
    Row::new("python-node").replays(&parts);
}

#[test]
fn go() {
    Row::new("go").replays(&["origin = \"go\"", "rsc.io/quote/@v/v1.5.2.zip"]);
}

#[test]
fn cargo() {
    Row::new("cargo").replays(&["it/oa/itoa", "itoa/1.0.9/download"]);
}

#[test]
fn maven() {
    Row::new("maven").replays(&["maven-compiler-plugin-", "slf4j-api-1.7.36.jar"]);
}
