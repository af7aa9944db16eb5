//! What a collection leaves of a store that builds have filled.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read the machine they run on"
)]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

const PROJECT: &str =
    "[project]\nname = \"gc\"\n\n[image.app]\ncontext = \".\"\ndockerfile = \"Dockerfile\"\n";
const DOCKERFILE: &str = r#"FROM scratch
COPY busybox /bin/busybox
RUN --mount=type=cache,target=/kept ["/bin/busybox", "touch", "/kept/file"]
COPY note /note
RUN ["/bin/busybox", "sh", "-c", "sha256sum /note >/sum"]
"#;

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bench = Self { folder };
        fs::create_dir(bench.at("project")).unwrap();
        fs::copy("/bin/busybox", bench.at("project/busybox")).unwrap();
        fs::write(bench.at("project/tbuild.toml"), PROJECT).unwrap();
        bench.write("Dockerfile", DOCKERFILE);
        bench
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, content: &str) {
        fs::write(self.at("project").join(path), content).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tbuild"));
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.folder.path())
            .env("TBUILD_STORE", self.at("store"))
            .current_dir(self.at("project"))
            .args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        told(&self.command(arguments).output().unwrap())
    }

    /// Builds, with the content of `note`; its image ID, and what was said of what ran.
    fn build(&self, note: &str) -> (String, String) {
        self.write("note", note);
        let said = self.run(&["image", "app", "--why", "--progress", "quiet"]);
        let id = said.lines().find(|line| line.starts_with("sha256:"));
        (id.unwrap().to_owned(), said)
    }

    /// Bytes that `tbuild gc` says it frees.
    fn collect(&self, arguments: &[&str]) -> u64 {
        let said = self.run(&[&["gc", "--json"], arguments].concat());
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        said["freed"].as_u64().unwrap()
    }

    fn size(&self) -> u64 {
        let said = self.run(&["store", "du", "--json"]);
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        said["all"].as_u64().unwrap()
    }

    /// Whatever is in the store was last used a month ago.
    fn age(&self) {
        fn all(folder: &Path) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    all(&path);
                }
                let then = SystemTime::now() - Duration::from_hours(30 * 24);
                File::open(&path).unwrap().set_modified(then).unwrap();
            }
        }
        for part in ["actions", "blobs", "refs", "scratch", "statcache"] {
            all(&self.at("store").join(part));
        }
    }
}

fn told(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    said
}

#[test]
fn what_is_used_stays_and_the_rest_goes() {
    let bench = Bench::new();
    let (first, _) = bench.build("first");
    let (second, _) = bench.build("second");
    assert_ne!(first, second);
    assert_eq!(bench.collect(&[]), 0, "all of it is young");
    bench.age();
    assert_eq!(bench.build("second").0, second, "a use");
    let full = bench.size();
    let would = bench.collect(&["-n"]);
    assert_eq!(bench.size(), full, "a dry run takes nothing");
    let freed = bench.collect(&[]);
    assert_eq!((would, bench.collect(&[])), (freed, 0));
    assert!(freed > 0 && bench.size() < full);
    let (again, said) = bench.build("second");
    assert_eq!(again, second);
    assert!(!said.contains("ran"), "{said}");
    let (again, said) = bench.build("first");
    assert_eq!(again, first);
    assert!(
        said.contains("step:app/0/3") || said.contains("ran"),
        "{said}"
    );
}

#[test]
fn what_was_collected_is_built_again_and_said_to_be() {
    let bench = Bench::new();
    let (id, _) = bench.build("note");
    let full = bench.size();
    // Layers unpacked are as old as they are: nothing is younger than no time at all.
    assert!(bench.collect(&["--keep-for", "0"]) > full / 2);
    let plan = bench.run(&["plan", "image:app", "--why"]);
    assert!(
        plan.contains("because nothing has changed, but its result is no longer in the store"),
        "{plan}"
    );
    let (again, said) = bench.build("note");
    assert_eq!(again, id);
    assert!(
        said.contains("no longer in the store (tbuild gc)"),
        "{said}"
    );
    let (_, said) = bench.build("note");
    assert!(!said.contains("ran"), "{said}");
}

#[test]
fn a_bound_holds() {
    let bench = Bench::new();
    // Small things have blocks of their own.
    for number in 0..4 {
        bench.build(&number.to_string().repeat(300_000));
    }
    let most = 6 << 20;
    assert!(bench.size() > most, "{}", bench.size());
    bench.collect(&["--max-size", "6MB"]);
    assert!(bench.size() <= most, "{}", bench.size());
    let (_, said) = bench.build(&"3".repeat(300_000));
    assert!(!said.contains("ran"), "what was used last stays: {said}");
}

#[test]
fn a_build_that_runs_is_waited_for() {
    let bench = Bench::new();
    // A step that ends when it is let, through its cache.
    let step = r#"RUN --mount=type=cache,id=gate,target=/gate ["/bin/busybox", "sh", "-c", "until [ -e /gate/open ]; do sleep 0.05; done"]"#;
    bench.write("Dockerfile", &format!("{DOCKERFILE}{step}\n"));
    bench.write("note", "note");
    let mut build = bench.command(&["image", "app"]);
    let build = build.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut build = build.spawn().unwrap();
    // Its first step has been recorded: it is at it.
    while fs::read_dir(bench.at("store/actions")).map_or(0, Iterator::count) == 0 {
        assert!(build.try_wait().unwrap().is_none(), "it has ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut gc = bench.command(&["gc", "--keep-for", "0"]);
    let mut gc = gc.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(gc.stderr.as_mut().unwrap());
    lines.read_line(&mut said).unwrap();
    assert!(said.contains("waiting for another tbuild"), "{said}");
    assert!(gc.try_wait().unwrap().is_none(), "it does not wait");
    while build.try_wait().unwrap().is_none() {
        let caches = fs::read_dir(bench.at("store/scratch/cache-mounts"));
        for cache in caches.into_iter().flatten() {
            let files = cache.unwrap().path().join("files");
            if files.exists() {
                fs::write(files.join("open"), "").unwrap();
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    told(&build.wait_with_output().unwrap());
    assert!(gc.wait().unwrap().success());
}

#[test]
fn what_is_asked_for_wrongly_is_said() {
    let bench = Bench::new();
    for (arguments, wanted) in [
        (["--keep-for", "soon"], "such as 14d or 12h"),
        (["--max-size", "much"], "such as 20GB or 500MB"),
    ] {
        let output = bench.command(&["gc"]).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2));
        assert!(said.contains(wanted), "{said}");
    }
}
