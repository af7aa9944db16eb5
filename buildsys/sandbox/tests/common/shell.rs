//! Lines of shell as steps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use tbuild_exec::{Action, Cancel, Executor};

/// Copies a program and the libraries that it needs below `root`.
pub fn install(root: &Path, program: &Path) {
    let copy = |path: &Path| {
        let to = root.join(path.strip_prefix("/").expect("absolute"));
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        std::fs::copy(path, &to).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    };
    copy(program);
    let output = Command::new("ldd").arg(program).output().expect("ldd runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for word in text.split_whitespace().filter(|word| word.starts_with('/')) {
        copy(Path::new(word));
    }
}

/// Runs a line that has to succeed, over layers; the folder that it wrote, below `folder`, and what it said.
pub fn run(
    executor: &dyn Executor,
    lower: Vec<PathBuf>,
    folder: &Path,
    line: &str,
) -> (PathBuf, String) {
    let (upper, work) = (folder.join("upper"), folder.join("work"));
    std::fs::create_dir_all(&upper).expect("made");
    std::fs::create_dir_all(&work).expect("made");
    let argv = ["/bin/sh", "-ec", line].map(str::to_owned).to_vec();
    let action = Action {
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/usr/sbin:/bin".to_owned())]),
        hostname: "build".to_owned(),
        ..Action::new(lower, upper.clone(), work, argv)
    };
    let mut output = String::new();
    let mut sink = |_, bytes: &[u8]| output.push_str(&String::from_utf8_lossy(bytes));
    let exit = executor
        .run(&action, &mut sink, &Cancel::new())
        .expect("it runs");
    assert!(exit.success(), "{output}");
    (upper, output)
}
