//! What an edit rebuilds, as a table: each row is one edit of one project, the steps that run after it, and
//! what `tbuild` says of why. A row that runs nothing runs nothing at all.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const PROJECT: &str = r#"[project]
name = "table"

[image.app]
context = "."
dockerfile = "Dockerfile"
"#;

const DOCKERFILE: &str = "\
FROM scratch AS tools
COPY busybox /bin/busybox
RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]

FROM tools AS made
ARG USED=1
COPY src /src
RUN cat /src/*.txt >/all; echo $USED >>/all
ARG LATER=1

FROM tools
COPY other /etc/other
COPY --from=made /all /all
ENV GREETING=hello
CMD [\"cat\", \"/all\"]
";

/// The steps of the Dockerfile above, by the number of their node.
const SRC: &str = "step:app/made/2";
const CAT: &str = "step:app/made/3";
const OTHER: &str = "step:app/2/1";
const ALL: &str = "step:app/2/2";

struct Bench {
    folder: tempfile::TempDir,
    store: PathBuf,
}

/// What one invocation did.
struct Ran {
    /// Steps that ran, and what was said of why.
    steps: BTreeMap<String, String>,
    id: String,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bench = Self {
            store: folder.path().join("store"),
            folder,
        };
        bench.restore();
        bench.run(&[]);
        bench
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("project").join(path)
    }

    /// The project as it is before each edit, all files new.
    fn restore(&self) {
        let _ = fs::remove_dir_all(self.at(""));
        fs::create_dir_all(self.at("src/sub")).unwrap();
        fs::copy("/bin/busybox", self.at("busybox")).unwrap();
        for (path, content) in [
            ("tbuild.toml", PROJECT),
            ("Dockerfile", DOCKERFILE),
            (".dockerignore", "**/*.log\n"),
            ("src/a.txt", "a\n"),
            ("src/b.txt", "b\n"),
            ("src/sub/c", "c\n"),
            ("src/noise.log", "noise\n"),
            ("other", "other\n"),
            ("unused", "unused\n"),
        ] {
            fs::write(self.at(path), content).unwrap();
        }
        symlink("a.txt", self.at("src/link")).unwrap();
    }

    fn write(&self, path: &str, content: &str) {
        fs::write(self.at(path), content).unwrap();
    }

    fn dockerfile(&self, from: &str, to: &str) {
        assert!(DOCKERFILE.contains(from), "{from}");
        self.write("Dockerfile", &DOCKERFILE.replace(from, to));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tbuild"));
        command
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", self.folder.path())
            .arg("--store")
            .arg(&self.store)
            .arg("-C")
            .arg(self.at(""))
            .args(["--why", "--progress", "quiet"])
            .args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let arguments = [arguments, &["image", "app"]].concat();
        let output = self.command(&arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}{errors}");
        let mut ran = Ran {
            steps: BTreeMap::new(),
            id: String::new(),
        };
        let mut last = String::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["ran" | "run", step, ..] | ["may", "run", step, ..] => {
                    (*step).clone_into(&mut last);
                    ran.steps.insert(last.clone(), String::new());
                }
                ["because", why @ ..] => {
                    let said = ran.steps.get_mut(&last).unwrap();
                    said.push_str(&why.join(" "));
                    said.push('\n');
                }
                [id] if id.starts_with("sha256:") => (*id).clone_into(&mut ran.id),
                _ => {}
            }
        }
        ran
    }
}

/// One row: the edit, its arguments, and what runs, each with a part of what is said of why.
type Row<'a> = (
    &'a str,
    &'a dyn Fn(&Bench),
    &'a [&'a str],
    &'a [(&'a str, &'a str)],
);

const NOTHING: &[(&str, &str)] = &[];
const NO_ARGUMENTS: &[&str] = &[];

#[test]
fn the_table() {
    let bench = Bench::new();
    let id = bench.run(&[]).id;
    let mut wrong: Vec<String> = Vec::new();
    let mut check = |(name, edit, arguments, expected): Row| {
        bench.restore();
        edit(&bench);
        let before = bench.run(&[&["-n"], arguments].concat());
        let after = bench.run(arguments);
        let wanted: Vec<&str> = expected.iter().map(|(step, _)| *step).collect();
        let mut sorted = wanted.clone();
        sorted.sort_unstable();
        let ran: Vec<&str> = after.steps.keys().map(String::as_str).collect();
        let mut complain = |what: String| wrong.push(format!("{name}: {what}"));
        if ran != sorted {
            complain(format!("ran {ran:?}, expected {wanted:?}"));
        }
        if after.steps.is_empty() != before.steps.is_empty()
            || !after
                .steps
                .keys()
                .all(|step| before.steps.contains_key(step))
        {
            complain(format!("foretold {:?}", before.steps.keys()));
        }
        for (step, why) in expected {
            let said = after.steps.get(*step).map_or("", String::as_str);
            if !said.contains(why) {
                complain(format!("{step} ran because of {said:?}, not {why:?}"));
            }
        }
        if let Some((step, why)) = expected.first() {
            let said = before.steps.get(*step).map_or("", String::as_str);
            if !said.contains(why) {
                complain(format!("{step} would run because of {said:?}, not {why:?}"));
            }
        }
        // What was there before is still known.
        bench.restore();
        let back = bench.run(&[]);
        if !back.steps.is_empty() || back.id != id {
            complain(format!("taken back, it ran {:?}", back.steps.keys()));
        }
    };
    let touch = |path: &Path| {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    };
    let layer = "the layer of COPY src /src changed";

    // Nothing that the image holds has changed.
    check(("nothing", &|_| {}, NO_ARGUMENTS, NOTHING));
    check((
        "a touch",
        &|b| touch(&b.at("src/a.txt")),
        NO_ARGUMENTS,
        NOTHING,
    ));
    check((
        "the Dockerfile touched",
        &|b| touch(&b.at("Dockerfile")),
        NO_ARGUMENTS,
        NOTHING,
    ));
    check((
        "an ignored file",
        &|b| b.write("src/noise.log", "other"),
        NO_ARGUMENTS,
        NOTHING,
    ));
    check((
        "an ignored file gone",
        &|b| fs::remove_file(b.at("src/noise.log")).unwrap(),
        NO_ARGUMENTS,
        NOTHING,
    ));
    check((
        "a file that no step takes",
        &|b| b.write("unused", "other"),
        NO_ARGUMENTS,
        NOTHING,
    ));
    check((
        "a rule that leaves out nothing",
        &|b| b.write(".dockerignore", "**/*.log\n**/*.tmp\n"),
        NO_ARGUMENTS,
        NOTHING,
    ));
    check((
        "a comment",
        &|b| b.dockerfile("FROM tools\n", "# the result\nFROM tools\n"),
        NO_ARGUMENTS,
        NOTHING,
    ));
    check((
        "a line broken",
        &|b| b.dockerfile("COPY src /src", "COPY \\\n  src /src"),
        NO_ARGUMENTS,
        NOTHING,
    ));
    check((
        "a keyword in small letters",
        &|b| b.dockerfile("COPY src", "copy src"),
        NO_ARGUMENTS,
        NOTHING,
    ));
    check((
        "a stage renamed",
        &|b| b.write("Dockerfile", &DOCKERFILE.replace("made", "built")),
        NO_ARGUMENTS,
        NOTHING,
    ));
    check((
        "a stage that nothing takes from",
        &|b| {
            b.dockerfile(
                "FROM tools\n",
                "FROM tools AS idle\nRUN false\n\nFROM tools\n",
            );
        },
        NO_ARGUMENTS,
        NOTHING,
    ));
    check((
        "an argument that comes later",
        &|_| {},
        &["--set", "image.app.args.LATER=\"2\""],
        NOTHING,
    ));
    check((
        "a label",
        &|b| b.dockerfile("ENV GREETING", "LABEL a=b\nENV GREETING"),
        NO_ARGUMENTS,
        NOTHING,
    ));
    check((
        "the command",
        &|b| b.dockerfile("\"/all\"]", "\"/etc/other\"]"),
        NO_ARGUMENTS,
        NOTHING,
    ));
    check((
        "a variable that no step sees",
        &|b| b.dockerfile("=hello", "=hi"),
        NO_ARGUMENTS,
        NOTHING,
    ));
    check((
        "copies in another order",
        &|b| {
            b.dockerfile(
                "COPY other /etc/other\nCOPY --from=made /all /all\n",
                "COPY --from=made /all /all\nCOPY other /etc/other\n",
            );
        },
        NO_ARGUMENTS,
        NOTHING,
    ));
    check(("another number of jobs", &|_| {}, &["-j", "1"], NOTHING));

    // What is copied has changed.
    check((
        "content",
        &|b| b.write("src/a.txt", "edited\n"),
        NO_ARGUMENTS,
        &[
            (SRC, "src/a.txt (content)"),
            (CAT, layer),
            (ALL, "all (content)"),
        ],
    ));
    check((
        "content of the same size and time",
        &|b| {
            let then = fs::metadata(b.at("src/a.txt")).unwrap().modified().unwrap();
            b.write("src/a.txt", "z\n");
            let file = fs::OpenOptions::new()
                .write(true)
                .open(b.at("src/a.txt"))
                .unwrap();
            file.set_modified(then).unwrap();
        },
        NO_ARGUMENTS,
        &[
            (SRC, "src/a.txt (content)"),
            (CAT, layer),
            (ALL, "all (content)"),
        ],
    ));
    check((
        "content that the result does not hold",
        &|b| b.write("src/sub/c", "edited\n"),
        NO_ARGUMENTS,
        &[(SRC, "src/sub/c (content)"), (CAT, layer)],
    ));
    check((
        "a mode",
        &|b| fs::set_permissions(b.at("src/a.txt"), fs::Permissions::from_mode(0o755)).unwrap(),
        NO_ARGUMENTS,
        &[(SRC, "src/a.txt (mode"), (CAT, layer)],
    ));
    check((
        "a new file",
        &|b| b.write("src/new.txt", "new\n"),
        NO_ARGUMENTS,
        &[
            (SRC, "src/new.txt (added)"),
            (CAT, layer),
            (ALL, "all (content)"),
        ],
    ));
    check((
        "a file gone",
        &|b| fs::remove_file(b.at("src/b.txt")).unwrap(),
        NO_ARGUMENTS,
        &[
            (SRC, "src/b.txt (removed)"),
            (CAT, layer),
            (ALL, "all (content)"),
        ],
    ));
    check((
        "an empty folder",
        &|b| fs::create_dir(b.at("src/empty")).unwrap(),
        NO_ARGUMENTS,
        &[(SRC, "src/empty (added)"), (CAT, layer)],
    ));
    check((
        "a link's target",
        &|b| {
            fs::remove_file(b.at("src/link")).unwrap();
            symlink("b.txt", b.at("src/link")).unwrap();
        },
        NO_ARGUMENTS,
        &[(SRC, "src/link"), (CAT, layer)],
    ));
    check((
        "a file becomes a link",
        &|b| {
            fs::remove_file(b.at("src/sub/c")).unwrap();
            symlink("../b.txt", b.at("src/sub/c")).unwrap();
        },
        NO_ARGUMENTS,
        &[(SRC, "src/sub/c"), (CAT, layer)],
    ));
    check((
        "a rule that leaves a file out",
        &|b| b.write(".dockerignore", "**/*.log\nsrc/sub\n"),
        NO_ARGUMENTS,
        &[(SRC, "src/sub"), (CAT, layer)],
    ));
    check((
        "a file of the last stage",
        &|b| b.write("other", "edited\n"),
        NO_ARGUMENTS,
        &[(OTHER, "other (content)")],
    ));

    // What is done has changed.
    check((
        "an argument that a step sees",
        &|_| {},
        &["--set", "image.app.args.USED=\"2\""],
        &[(CAT, "USED"), (ALL, "all (content)")],
    ));
    check((
        "a command that does the same",
        &|b| b.dockerfile("RUN cat", "RUN true; cat"),
        NO_ARGUMENTS,
        &[(CAT, "command[2] changed")],
    ));
    check((
        "a command that does something else",
        &|b| b.dockerfile(">/all;", ">/all; echo more >>/all;"),
        NO_ARGUMENTS,
        &[(CAT, "command[2] changed"), (ALL, "all (content)")],
    ));
    check((
        "a mode asked for",
        &|b| b.dockerfile("COPY other", "COPY --chmod=0600 other"),
        NO_ARGUMENTS,
        &[(OTHER, "mode")],
    ));
    check((
        "an owner asked for",
        &|b| b.dockerfile("COPY other", "COPY --chown=1:2 other"),
        NO_ARGUMENTS,
        &[(OTHER, "owner")],
    ));
    check((
        "a destination",
        &|b| b.dockerfile("/etc/other\n", "/etc/another\n"),
        NO_ARGUMENTS,
        &[(OTHER, "destination")],
    ));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_cache_runs_everything_to_the_same_image() {
    let bench = Bench::new();
    for wanted in [["build", "."], ["image", "app"]] {
        let build = |flags: &[&str]| {
            let output = bench.command(&wanted).args(flags).output().unwrap();
            assert!(output.status.success());
            String::from_utf8(output.stdout).unwrap()
        };
        let first = build(&[]);
        let id = first.lines().last().unwrap();
        let again = build(&["--no-cache"]);
        assert_eq!(again.matches("    ran  step:").count(), 6, "{again}");
        assert!(again.contains(id), "{again}");
        assert!(!build(&[]).contains(" ran "));
    }
}

#[test]
fn another_place_another_caller() {
    let bench = Bench::new();
    let id = bench.run(&[]).id;
    let mut moved = Bench::new();
    moved.store = bench.store.clone();
    let output = moved
        .command(&["image", "app"])
        .env("LANG", "de_DE.UTF-8")
        .env("TZ", "Asia/Tokyo")
        .env("USED", "not an argument")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(!text.contains(" ran  "), "{text}");
    assert!(text.contains(&id), "{text}");
}
