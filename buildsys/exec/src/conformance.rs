//! What every executor must do. Each implementation's tests call [`all`].

#![expect(
    clippy::unwrap_used,
    reason = "a conformance failure is a panic with its line"
)]

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::{Action, Cancel, ExecError, Executor, Exit, Mount, MountSource, Network, Stream, User};

/// Runs the whole suite. `rootfs` is a folder with /bin/sh and the usual small programs of a Unix; `scratch`
/// an empty folder on a file system that overlayfs can write to.
pub fn all(executor: &dyn Executor, rootfs: &Path, scratch: &Path) {
    let bench = Bench {
        executor,
        rootfs,
        scratch,
        count: AtomicUsize::new(0),
    };
    outcomes(&bench);
    surroundings(&bench);
    layers(&bench);
    mounts(&bench);
    confinement(&bench);
    cancellation(&bench);
}

struct Bench<'a> {
    executor: &'a dyn Executor,
    rootfs: &'a Path,
    scratch: &'a Path,
    count: AtomicUsize,
}

struct Ran {
    exit: Result<Exit, ExecError>,
    stdout: String,
    stderr: String,
    upper: PathBuf,
}

impl Bench<'_> {
    fn action(&self, argv: &[&str]) -> Action {
        let folder = self
            .scratch
            .join(self.count.fetch_add(1, Ordering::SeqCst).to_string());
        let (upper, work) = (folder.join("upper"), folder.join("work"));
        std::fs::create_dir_all(&upper).unwrap();
        std::fs::create_dir_all(&work).unwrap();
        Action {
            lower: vec![self.rootfs.to_owned()],
            upper,
            work,
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            cwd: "/".to_owned(),
            user: User::default(),
            mounts: Vec::new(),
            network: Network::None,
            hostname: "build".to_owned(),
            umask: 0o022,
        }
    }

    fn shell(&self, line: &str) -> Action {
        self.action(&["/bin/sh", "-c", line])
    }

    fn run(&self, action: &Action) -> Ran {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut sink = |stream, bytes: &[u8]| match stream {
            Stream::Stdout => stdout.extend_from_slice(bytes),
            Stream::Stderr => stderr.extend_from_slice(bytes),
        };
        let exit = self.executor.run(action, &mut sink, &Cancel::new());
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran {
            exit,
            stdout: text(stdout),
            stderr: text(stderr),
            upper: action.upper.clone(),
        }
    }

    /// Runs a line that has to succeed; its output.
    fn says(&self, line: &str) -> String {
        let ran = self.run(&self.shell(line));
        assert!(
            ran.exit.as_ref().is_ok_and(|exit| exit.success()),
            "{line}: {:?} {}",
            ran.exit,
            ran.stderr
        );
        ran.stdout
    }
}

/// Status, signals, both outputs, programs that are not there.
fn outcomes(bench: &Bench<'_>) {
    let ran = bench.run(&bench.shell("echo out; echo err >&2; exit 7"));
    assert_eq!(ran.exit.unwrap(), Exit::Status(7));
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("out\n", "err\n")
    );
    assert_eq!(
        bench.run(&bench.shell("kill -9 $$")).exit.unwrap(),
        Exit::Signal(9)
    );
    for argv in [&["no-such-program"][..], &["/no/such/program"]] {
        assert!(
            matches!(
                bench.run(&bench.action(argv)).exit,
                Err(ExecError::Start { .. })
            ),
            "{argv:?}"
        );
    }
    let mut nowhere = bench.shell("true");
    "/no/such/folder".clone_into(&mut nowhere.cwd);
    assert!(matches!(
        bench.run(&nowhere).exit,
        Err(ExecError::Start { .. })
    ));
    // A name is looked up in the action's own PATH.
    assert_eq!(
        bench
            .run(&bench.action(&["sh", "-c", "exit 3"]))
            .exit
            .unwrap(),
        Exit::Status(3)
    );
    // Much output is passed on in pieces, and all of it.
    let mut count = 0;
    let mut sink = |_, bytes: &[u8]| count += bytes.len();
    let much = bench.shell("head -c 30000000 /dev/zero");
    assert!(
        bench
            .executor
            .run(&much, &mut sink, &Cancel::new())
            .unwrap()
            .success()
    );
    assert_eq!(count, 30_000_000);
}

/// Environment, folder, user, umask, host name, standard input, descriptors: exactly what the action says.
fn surroundings(bench: &Bench<'_>) {
    let mut action = bench.action(&["/usr/bin/env"]);
    action.env.insert("ONE".to_owned(), "two words".to_owned());
    let ran = bench.run(&action);
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["ONE=two words", "PATH=/usr/bin:/bin"]);

    let mut action = bench.shell("id -u; id -g; id -G; pwd; umask; uname -n; touch /tmp/mine");
    action.user = User {
        uid: 1234,
        gid: 567,
        groups: vec![89],
    };
    "/tmp".clone_into(&mut action.cwd);
    action.umask = 0o027;
    let ran = bench.run(&action);
    assert_eq!(
        ran.stdout, "1234\n567\n567 89\n/tmp\n0027\nbuild\n",
        "{}",
        ran.stderr
    );
    let made = ran.upper.join("tmp/mine").symlink_metadata().unwrap();
    assert_eq!(
        (made.uid(), made.gid(), made.mode() & 0o7777),
        (1234, 567, 0o640)
    );

    assert_eq!(
        bench.says("cat; echo end"),
        "end\n",
        "standard input is empty"
    );
    assert_eq!(
        bench.says("ls /proc/self/fd | tr '\\n' ' '"),
        "0 1 2 3 ",
        "3 is ls's own"
    );
    assert_eq!(
        bench.says("echo x > /dev/null; head -c 2 /dev/zero | wc -c"),
        "2\n"
    );
}

/// What is written lands in the upper folder, in overlayfs form, and nowhere else.
fn layers(bench: &Bench<'_>) {
    let ran =
        bench.run(&bench.shell("echo new > /new; rm -r /gone; mkdir -p /d/e; chmod 4755 /kept"));
    assert!(ran.exit.unwrap().success(), "{}", ran.stderr);
    assert_eq!(
        std::fs::read_to_string(ran.upper.join("new")).unwrap(),
        "new\n"
    );
    let whiteout = ran.upper.join("gone").symlink_metadata().unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    assert_eq!(
        ran.upper
            .join("kept")
            .metadata()
            .unwrap()
            .permissions()
            .mode()
            & 0o7777,
        0o4755
    );
    assert!(bench.rootfs.join("gone/file").exists() && !bench.rootfs.join("new").exists());
    let names: Vec<_> = std::fs::read_dir(&ran.upper)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 4, "nothing else: {names:?}");

    // A step over that layer sees it; many layers are no problem.
    let mut action =
        bench.shell("cat /new; ls /gone 2>/dev/null; test -d /d/e && cat /file0 /file99");
    for at in 0..100 {
        let layer = bench.scratch.join(format!("layer{at}"));
        std::fs::create_dir_all(&layer).unwrap();
        std::fs::write(layer.join(format!("file{at}")), format!("{at}\n")).unwrap();
        action.lower.insert(0, layer);
    }
    action.lower.insert(100, ran.upper);
    assert_eq!(bench.run(&action).stdout, "new\n0\n99\n");
}

/// Mounts are there while it runs, as asked, and leave no trace.
fn mounts(bench: &Bench<'_>) {
    let shared = bench.scratch.join("shared");
    std::fs::create_dir_all(&shared).unwrap();
    std::fs::write(shared.join("file"), "of the host").unwrap();
    let mount = |target: &str, source, read_only| Mount {
        target: target.to_owned(),
        source,
        read_only,
    };
    let content = |text: &str| MountSource::Content {
        bytes: text.as_bytes().to_vec(),
        mode: 0o755,
    };
    let line = "cat /in/file; (echo x > /in/file) 2>/dev/null || echo ' sealed'; echo y > /out/made; cat /etc/note; \
                cat /new/deep/note; touch /tmp/t/x; /run/script";
    let mut action = bench.shell(line);
    action.mounts = vec![
        mount("/in", MountSource::Bind(shared.clone()), true),
        mount("/out", MountSource::Bind(shared.clone()), false),
        mount("/etc/note", content("note\n"), true),
        mount("/new/deep/note", content("deep\n"), true),
        mount("/run/script", content("#!/bin/sh\necho script\n"), true),
        mount("/tmp/t", MountSource::Tmpfs, false),
    ];
    let ran = bench.run(&action);
    assert_eq!(
        ran.stdout, "of the host sealed\nnote\ndeep\nscript\n",
        "{}",
        ran.stderr
    );
    assert_eq!(std::fs::read_to_string(shared.join("made")).unwrap(), "y\n");
    for gone in [
        "in",
        "out",
        "new",
        "etc/note",
        "run/script",
        "tmp/t",
        "dev/null",
        "proc/self",
        "sys/class",
    ] {
        assert!(
            ran.upper.join(gone).symlink_metadata().is_err(),
            "{gone} is left in the layer"
        );
    }
    // A mount point that is a link is followed inside the root.
    let mut action = bench.shell("cat /link/note");
    action.mounts = vec![mount("/link/note", content("linked\n"), true)];
    assert_eq!(bench.run(&action).stdout, "linked\n");
    assert!(
        !Path::new("/tbuild-conformance-target").exists(),
        "the link led out of the root"
    );
}

/// The program cannot see or change the machine.
fn confinement(bench: &Bench<'_>) {
    let init = bench.says("cat /proc/1/status | head -1; ls -d /proc/[0-9]* | wc -l");
    assert!(
        init.lines()
            .nth(1)
            .is_some_and(|count| count.trim().parse::<u32>().unwrap() < 10),
        "{init}"
    );
    let ran = bench.run(&bench.shell("mkdir /m && mount -t tmpfs none /m"));
    assert!(!ran.exit.unwrap().success(), "it may not mount");
    let ran = bench.run(&bench.shell("unshare -m true"));
    assert!(!ran.exit.unwrap().success(), "it may not unshare");
    let ran =
        bench.run(&bench.shell("echo 1 > /proc/sys/kernel/panic || echo b > /proc/sysrq-trigger"));
    assert!(
        !ran.exit.unwrap().success(),
        "it may not change the kernel's settings"
    );
    let ran = bench.run(&bench.shell("hostname other"));
    assert!(
        !ran.exit.unwrap().success(),
        "it may not rename the machine"
    );
    assert_eq!(
        bench.says("ls /sys/class/net").trim(),
        "lo",
        "no link but loopback"
    );
    assert_eq!(
        bench
            .says("test -e /proc/kcore && wc -c < /proc/kcore || echo 0")
            .trim(),
        "0"
    );
    let before = std::fs::read_to_string("/proc/self/mounts").unwrap();
    bench.says("true");
    assert_eq!(
        std::fs::read_to_string("/proc/self/mounts").unwrap(),
        before,
        "no mount is left"
    );
}

/// Cancelling kills everything, daemons too, and what a program leaves behind dies with it.
fn cancellation(bench: &Bench<'_>) {
    let mark = format!("98765.{}", std::process::id());
    let alive = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
            .any(|line| String::from_utf8_lossy(&line).contains(&mark))
    };
    bench.says(&format!("setsid sleep {mark} > /dev/null 2>&1 & echo"));
    assert!(!alive(), "a daemon outlives its step");
    let cancel = Cancel::new();
    let later = cancel.clone();
    let action = bench.shell(&format!("setsid sleep {mark} & sleep {mark}"));
    let begun = Instant::now();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        later.cancel();
    });
    let exit = bench.executor.run(&action, &mut |_, _| {}, &cancel);
    thread.join().unwrap();
    assert!(matches!(exit, Err(ExecError::Cancelled)), "{exit:?}");
    assert!(!alive(), "something outlives its cancellation");
    assert!(
        begun.elapsed() < Duration::from_mins(1),
        "cancelling waits for the program"
    );
}
