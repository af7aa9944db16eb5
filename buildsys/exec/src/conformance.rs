//! What every executor must do. Each implementation's tests call [`all`].

#![expect(
    clippy::unwrap_used,
    reason = "a conformance failure is a panic with its line"
)]

mod served;

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::{
    Action, Cancel, ExecError, Executor, Exit, Limits, Mount, MountSource, Stream, User, Writes,
};

pub use served::served;

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
    layers_mounted(&bench);
    limits(&bench);
    privileges(&bench);
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
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        Action {
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            hostname: "build".to_owned(),
            ..Action::new(vec![self.rootfs.to_owned()], upper, work, argv)
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
    action.env.insert("HOME".to_owned(), "/tmp".to_owned());
    action.env.insert("ONE".to_owned(), "two words".to_owned());
    let ran = bench.run(&action);
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["HOME=/tmp", "ONE=two words", "PATH=/usr/bin:/bin"]);

    let null = || {
        let stat = std::fs::metadata("/dev/null").unwrap();
        (stat.uid(), stat.gid(), stat.mode())
    };
    let before = null();
    let mut action = bench.shell(
        "id -u; id -g; id -G; pwd; umask; uname -n; touch /tmp/mine; echo out > /dev/stdout",
    );
    action.user = User {
        uid: 1234,
        gid: 567,
        groups: vec![89],
    };
    "/tmp".clone_into(&mut action.cwd);
    action.umask = 0o027;
    let ran = bench.run(&action);
    assert_eq!(
        ran.stdout, "1234\n567\n567 89\n/tmp\n0027\nbuild\nout\n",
        "{}",
        ran.stderr
    );
    assert_eq!(null(), before, "the machine's /dev/null is not the step's");
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
    // What a step does to its devices is nothing to the machine's, whether it may do it or not.
    bench.says("chmod 667 /dev/null; touch /dev/null; chmod 667 /proc/kcore; true");
    assert_eq!(null(), before, "the machine's /dev/null was changed");
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
    let content = |text: &str| MountSource::content(text, 0o755);
    let line = "cat /in/file; (echo x > /in/file) 2>/dev/null || echo ' sealed'; echo y > /out/made; cat /etc/note; \
                cat /new/deep/note; touch /tmp/t/x; /run/script";
    let mut action = bench.shell(line);
    action.mounts = vec![
        mount("/in", MountSource::Bind(shared.clone()), true),
        mount("/out", MountSource::Bind(shared.clone()), false),
        mount("/etc/note", content("note\n"), true),
        mount("/new/deep/note", content("deep\n"), true),
        mount("/run/script", content("#!/bin/sh\necho script\n"), true),
        mount("/tmp/t", MountSource::Tmpfs { size: None }, false),
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

/// Parts of layers are mounted, read-only or not; files have owners; memory is as large as asked.
fn layers_mounted(bench: &Bench<'_>) {
    let below = bench
        .run(&bench.shell("mkdir -p /seed/sub; echo one > /seed/file; echo sub > /seed/sub/file"));
    let above = bench.run(&bench.shell("mkdir -p /seed; echo two > /seed/more"));
    let lower = vec![above.upper, below.upper];
    let layers = |path: &str, writes: Option<Writes>| MountSource::Layers {
        lower: lower.clone(),
        path: path.to_owned(),
        writes,
    };
    let fresh = |name: &str| {
        let folder = bench.scratch.join(name);
        let (upper, work) = (folder.join("upper"), folder.join("work"));
        std::fs::create_dir_all(&upper).unwrap();
        std::fs::create_dir_all(&work).unwrap();
        Writes { upper, work }
    };
    let mount = |target: &str, source, read_only| Mount {
        target: target.to_owned(),
        source,
        read_only,
    };
    let line = "cat /a/file /a/more /f; touch /a/x 2> /dev/null || echo sealed; echo y >> /w/file; cat /w/file; \
                echo z > /w/new; cat /wf; echo more >> /wf; cat /wf; ls /none; ls -ln /s | head -c 10; id -u > /t/x; \
                head -c 100000 /dev/zero > /t/y 2> /dev/null || echo full; touch /r/x 2> /dev/null || echo read-only";
    let mut action = bench.shell(line);
    action.mounts = vec![
        mount("/a", layers("/seed", None), true),
        mount("/f", layers("/seed/sub/file", None), true),
        mount("/w", layers("/seed", Some(fresh("written"))), false),
        mount(
            "/wf",
            layers("/seed/sub/file", Some(fresh("written-file"))),
            false,
        ),
        mount(
            "/none",
            MountSource::Layers {
                lower: Vec::new(),
                path: "/".to_owned(),
                writes: None,
            },
            true,
        ),
        mount(
            "/s",
            MountSource::Content {
                bytes: b"s".to_vec(),
                mode: 0o640,
                uid: 5,
                gid: 6,
            },
            true,
        ),
        mount("/t", MountSource::Tmpfs { size: Some(65536) }, false),
        mount("/r", MountSource::Tmpfs { size: None }, true),
    ];
    let ran = bench.run(&action);
    assert_eq!(
        ran.stdout, "one\ntwo\nsub\nsealed\none\ny\nsub\nsub\nmore\n-rw-r-----full\nread-only\n",
        "{:?} {}",
        ran.exit, ran.stderr
    );
    let left: Vec<_> = std::fs::read_dir(&ran.upper).unwrap().collect();
    assert!(left.is_empty(), "{left:?} is left in the layer");
    assert_eq!(
        std::fs::read_to_string(lower[1].join("seed/file")).unwrap(),
        "one\n",
        "a layer was written to"
    );
    let mut action = bench.shell("true");
    action.mounts = vec![mount("/a", layers("/nothing", None), true)];
    assert!(matches!(
        bench.run(&action).exit,
        Err(ExecError::Setup { .. })
    ));
}

/// Limits hold for all that an action starts.
fn limits(bench: &Bench<'_>) {
    let mut action = bench.shell("x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}");
    action.limits.memory = Some(64 << 20);
    let ran = bench.run(&action);
    assert!(
        !ran.exit.unwrap().success(),
        "it used more memory than it may"
    );
    assert!(!ran.stdout.contains("200000000"));
    assert!(
        ran.stderr.contains("memory"),
        "it is not said why: {}",
        ran.stderr
    );
    let mut action = bench.shell("for i in 1 2 3 4 5 6 7 8 9 10; do sleep 60 & done; echo started");
    action.limits.pids = Some(5);
    let ran = bench.run(&action);
    assert!(
        !ran.stdout.contains("started"),
        "it started more than it may"
    );
    let mut action = bench.shell("echo $(ulimit -n) $(ulimit -Hn); head -c 100000 /dev/zero > /dev/shm/x 2> /dev/null || echo full");
    action.limits.ulimits = vec!["nofile=100:200".parse().unwrap()];
    action.limits.shm = Some(65536);
    action.limits.cpus = Some(500);
    let ran = bench.run(&action);
    assert_eq!(ran.stdout, "100 200\nfull\n", "{}", ran.stderr);
    // Enough is enough.
    let mut action = bench.shell("echo fine");
    action.limits = Limits {
        memory: Some(256 << 20),
        cpus: Some(2000),
        pids: Some(20),
        ..Limits::default()
    };
    assert_eq!(bench.run(&action).stdout, "fine\n");
}

/// What is asked to be privileged may do what nothing else may.
fn privileges(bench: &Bench<'_>) {
    let mut action = bench.shell("mount -t tmpfs none /tmp && touch /tmp/there && echo mounted; echo $(cat /proc/self/status) > /dev/shm/x");
    action.privileged = true;
    let ran = bench.run(&action);
    assert_eq!(ran.stdout, "mounted\n", "{:?} {}", ran.exit, ran.stderr);
    assert!(ran.upper.join("tmp/there").symlink_metadata().is_err());
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
    // A device cannot be synced: the kernel was not asked.
    let ran = bench.run(&bench.shell("sync && sync -d /dev/null && sync -f /dev/null"));
    assert!(
        ran.exit.unwrap().success(),
        "no disk is waited for: {}",
        ran.stderr
    );
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
    // Others on this machine mount too: what counts is what is made for actions.
    bench.says("true");
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let scratch = bench.scratch.to_str().unwrap();
    let own = |line: &&str| {
        line.contains(scratch) || line.contains(" /tmp ") || line.contains(" /tmp/root")
    };
    let left: Vec<_> = mounts.lines().filter(own).collect();
    assert!(left.is_empty(), "mounts are left: {left:?}");
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
