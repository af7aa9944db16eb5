//! Files and folders of the context that become something else while they are read.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::bench::{Bench, Built, SECRET};

/// Builds during each exchange.
const BUILDS: usize = 12;

/// Exchanges two names for each other, over and over, until it is dropped.
struct Swap {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Swap {
    fn start(one: PathBuf, other: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                exchange(&one, &other);
                // The build gets its turns with either.
                std::thread::yield_now();
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it exchanges to the end");
        }
    }
}

fn exchange(one: &Path, other: &Path) {
    let path = |path: &Path| CString::new(path.to_str().expect("text")).expect("no zero");
    rustix::fs::renameat_with(
        rustix::fs::CWD,
        path(one),
        rustix::fs::CWD,
        path(other),
        rustix::fs::RenameFlags::EXCHANGE,
    )
    .expect("exchanged");
}

/// Builds again and again while `one` of the context is exchanged for `other`; each build has to end well in the
/// eyes of `fine`, or be refused.
fn builds(bench: &Bench, one: &str, other: &Path, dockerfile: &str, fine: &dyn Fn(&Built) -> bool) {
    let swap = Swap::start(bench.context().join(one), other.to_owned());
    for round in 0..BUILDS {
        // Something new each time, so that nothing is known.
        let built = bench
            .write("Dockerfile", dockerfile)
            .write("round", round.to_string())
            .build_as_it_is();
        if built.code == 0 {
            assert!(fine(&built), "{built:?}");
        } else {
            built.refused(&["error"]);
        }
    }
    drop(swap);
    no_secret(&bench.path("store"));
}

/// That the secret is in no file below a folder.
fn no_secret(folder: &Path) {
    let found = Command::new("grep")
        .args(["-r", "-l", "-a", "-F", SECRET])
        .arg(folder)
        .output()
        .expect("grep runs");
    assert_eq!(
        found.status.code(),
        Some(1),
        "the secret was kept: {found:?}"
    );
}

/// A size that is read in more than one piece.
fn large(letter: &str) -> String {
    letter.repeat(600)
}

const DOCKERFILE: &str = "FROM scratch\nCOPY round /round\nCOPY d /d/\nCOPY d/f /f\n";

/// That a file of the image has one of the contents.
fn either(built: &Built, path: &str, contents: &[&str]) -> bool {
    let mut lines = built.files.iter().filter(|line| line.starts_with(path));
    lines.all(|line| contents.iter().any(|content| line.ends_with(content)))
}

fn bench() -> Bench {
    let bench = Bench::new();
    fs::create_dir(bench.context().join("d")).expect("made");
    fs::create_dir(bench.path("aside")).expect("made");
    bench.write("d/f", large("a"));
    bench
}

#[test]
fn a_file_for_another_content() {
    let bench = bench();
    let other = bench.path("aside/f");
    fs::write(&other, large("b")).expect("written");
    let contents = [large("a"), large("b")];
    let contents = [contents[0].as_str(), contents[1].as_str()];
    builds(&bench, "d/f", &other, DOCKERFILE, &|built| {
        either(built, "/f ", &contents) && either(built, "/d/f ", &contents)
    });
}

#[test]
fn a_file_for_a_link_that_leads_out() {
    let bench = bench();
    let other = bench.path("aside/f");
    symlink(bench.outside().join("secret"), &other).expect("linked");
    let (content, link) = (large("a"), bench.outside().join("secret"));
    let contents = [content.as_str(), link.to_str().expect("text")];
    builds(&bench, "d/f", &other, DOCKERFILE, &|built| {
        either(built, "/f ", &contents) && either(built, "/d/f ", &contents)
    });
}

#[test]
fn a_file_for_a_pipe() {
    let bench = bench();
    let other = bench.path("aside/f");
    let made = Command::new("mkfifo").arg(&other).status();
    assert!(made.expect("mkfifo").success());
    let content = large("a");
    builds(&bench, "d/f", &other, DOCKERFILE, &|built| {
        // A pipe is taken as one, and never read from.
        let fine = [content.as_str(), "pipe"];
        either(built, "/f ", &fine) && either(built, "/d/f ", &fine)
    });
}

#[test]
fn a_file_for_a_folder() {
    let bench = bench();
    let other = bench.path("aside/f");
    fs::create_dir(&other).expect("made");
    fs::write(other.join("x"), "x").expect("written");
    let content = large("a");
    builds(&bench, "d/f", &other, DOCKERFILE, &|built| {
        either(built, "/d/f ", &[content.as_str(), "folder"])
    });
}

#[test]
fn a_folder_for_a_link_that_leads_out() {
    let bench = bench();
    // What is outside has the names and the sizes of what is inside.
    let outside = bench.path("elsewhere");
    fs::create_dir(&outside).expect("made");
    let foreign = SECRET.repeat(1 + 600 / SECRET.len());
    fs::write(outside.join("f"), &foreign[..600]).expect("written");
    let other = bench.path("aside/d");
    symlink(&outside, &other).expect("linked");
    let content = large("a");
    builds(&bench, "d", &other, DOCKERFILE, &|built| {
        either(built, "/f ", &[&content]) && either(built, "/d/f ", &[&content])
    });
    builds(
        &bench,
        "d",
        &other,
        "FROM scratch\nCOPY . /all/\n",
        &|built| either(built, "/all/d/f ", &[&content]),
    );
}

#[test]
fn an_archive_for_a_link_that_leads_out() {
    use crate::tar::Tar;
    let bench = bench();
    bench.write("d/a.tar", Tar::new().file("x", "inside").end());
    let foreign = bench.path("foreign.tar");
    fs::write(&foreign, Tar::new().file("x", SECRET).end()).expect("written");
    let other = bench.path("aside/a.tar");
    symlink(&foreign, &other).expect("linked");
    builds(
        &bench,
        "d/a.tar",
        &other,
        "FROM scratch\nCOPY round /round\nADD d/a.tar /in/\n",
        &|built| either(built, "/in/x ", &["inside"]),
    );
}

#[test]
fn the_source_of_a_mount_for_a_link_that_leads_out() {
    let bench = bench();
    bench.busybox();
    let other = bench.path("aside/d");
    symlink(bench.outside(), &other).expect("linked");
    builds(
        &bench,
        "d",
        &other,
        "FROM scratch\nCOPY busybox /busybox\nCOPY round /round\n\
         RUN --mount=type=bind,source=d,target=/m [\"/busybox\", \"cp\", \"-r\", \"/m\", \"/taken\"]\n",
        &|built| either(built, "/taken/f ", &[&large("a")]),
    );
}
