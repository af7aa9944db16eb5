//! COPY and ADD against what BuildKit makes of the same: `copying/cases.txt`, recorded by `copying/record.py`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tbuild_digest::Hasher;
use tbuild_oci::{LayerError, read_archive};
use tbuild_tree::{Node, TreePath};

const CASES: &str = include_str!("copying/cases.txt");

/// One case.
#[derive(Debug, Default)]
struct Case {
    name: String,
    dockerfile: String,
    expected: Vec<String>,
    /// What tbuild makes where it differs, and why.
    ours: Vec<String>,
    reason: String,
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in CASES.lines() {
        if let Some(name) = line.strip_prefix("# ") {
            cases.push(Case {
                name: name.to_owned(),
                ..Case::default()
            });
            continue;
        }
        let Some(case) = cases.last_mut() else {
            continue;
        };
        if let Some(line) = line.strip_prefix("  ") {
            case.expected.push(line.to_owned());
        } else if let Some(line) = line.strip_prefix(">> ") {
            case.ours.push(line.to_owned());
        } else if let Some(line) = line.strip_prefix("! ") {
            case.reason.push_str(line);
        } else if !line.is_empty() {
            case.dockerfile.push_str(line);
            case.dockerfile.push('\n');
        }
    }
    cases
}

fn tbuild(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tbuild"))
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("HOME", folder)
        .arg("--store")
        .arg(folder.join("store"))
        .args(["--progress", "quiet"])
        .args(arguments)
        .output()
        .unwrap()
}

/// What a tar holds, a line a name.
fn listing(file: &Path) -> Vec<String> {
    let mut lines: Vec<(TreePath, String)> = Vec::new();
    read_archive(
        fs::File::open(file).unwrap(),
        |member| -> Result<(), LayerError> {
            let entry = member.entry;
            let name = String::from_utf8_lossy(entry.path.as_bytes()).into_owned();
            let owner = format!("{}:{}", entry.uid, entry.gid);
            let rest = format!("{:o} {owner}", entry.mode);
            let what = match &entry.node {
                Node::Directory => format!("folder {rest}"),
                Node::File { size, .. } => {
                    let mut bytes = Vec::new();
                    member.content.read_to_end(&mut bytes).unwrap();
                    assert_eq!(bytes.len() as u64, *size);
                    let mut hasher = Hasher::new();
                    hasher.update(&bytes);
                    format!("file {rest} {size} {}", &hasher.finish().hex()[..8])
                }
                Node::Symlink { target } => {
                    format!("link {owner} -> {}", String::from_utf8_lossy(target))
                }
                Node::Hardlink { target } => {
                    format!("same as {}", String::from_utf8_lossy(target.as_bytes()))
                }
                Node::Fifo => format!("pipe {rest}"),
                Node::CharDevice { major, minor } | Node::BlockDevice { major, minor } => {
                    format!("device {rest} {major}:{minor}")
                }
                Node::Whiteout => panic!("{name} is removed"),
            };
            lines.push((entry.path, format!("{name} {what}")));
            Ok(())
        },
    )
    .unwrap();
    lines.retain(|(path, _)| !path.is_root());
    lines.sort_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
    lines.into_iter().map(|(_, line)| line).collect()
}

#[test]
fn copies_are_those_of_buildkit() {
    let folder = tempfile::tempdir().unwrap();
    let context = folder.path().join("context");
    fs::create_dir(&context).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/copying/context.py");
    let made = Command::new("python3").arg(script).arg(&context).status();
    assert!(made.unwrap().success());
    fs::write(context.join(".dockerignore"), "Dockerfile\n.dockerignore\n").unwrap();
    let out = folder.path().join("out.tar");
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(cases.len() > 150, "{} cases", cases.len());
    for case in cases {
        fs::write(context.join("Dockerfile"), &case.dockerfile).unwrap();
        let spec = format!("type=tar,dest={}", out.display());
        let built = tbuild(
            folder.path(),
            &["build", context.to_str().unwrap(), "-o", &spec],
        );
        let found = if built.status.success() {
            listing(&out)
        } else {
            // Neither the environment's fault nor tbuild's own.
            assert!(
                matches!(built.status.code(), Some(1 | 2)),
                "{case:?} {built:?}"
            );
            vec!["fails".to_owned()]
        };
        assert_eq!(case.reason.is_empty(), case.ours.is_empty(), "{case:?}");
        let expected = if case.ours.is_empty() {
            &case.expected
        } else {
            assert_ne!(case.ours, case.expected, "{} does not differ", case.name);
            &case.ours
        };
        if found != *expected {
            wrong.push(format!(
                "# {}\n{}expected:\n  {}\nfound:\n  {}\n{}",
                case.name,
                case.dockerfile,
                expected.join("\n  "),
                found.join("\n  "),
                String::from_utf8_lossy(&built.stderr)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
