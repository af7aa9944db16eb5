//! The executor passes the executors' suite on Debian's Docker Engine, started by the test, and leaves nothing behind.
//! Needs root, dockerd, containerd and runc.

#[path = "common/engine.rs"]
mod engine;
#[path = "../../sandbox/tests/common/root.rs"]
mod root;
#[path = "../../sandbox/tests/common/shell.rs"]
mod shell;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use engine::Dockerd;
use tbuild_docker::{DockerEngine, DockerError, DockerExecutor, LABEL};
use tbuild_exec::{Executor, conformance};
use tbuild_sandbox::{HELPER_ARG, Sandbox, container, helper_main};

/// The first argument that makes the program a parent that is killed.
const PARENT: &str = "parent";
/// Seconds that nothing else sleeps.
const SLEEP: &str = "91918.5";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [HELPER_ARG] => return helper_main(),
        [container::INIT_ARG] => return container::init_main(),
        [PARENT, host, folder] => {
            let line = format!("setsid sleep {SLEEP} & sleep {SLEEP}");
            step(&executor(host), Path::new(folder), &line);
        }
        _ => tests(),
    }
    ExitCode::SUCCESS
}

fn tests() {
    let dockerd = Dockerd::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let dockerd = runtime.block_on(async {
        let mut dockerd = dockerd;
        dockerd.engine().await;
        dockerd
    });
    addresses();
    same_as_our_own(&dockerd);
    the_init_is_out_of_reach(&dockerd);
    suite(&dockerd);
    dies_with_its_parent(&dockerd);
    nothing_is_left(&dockerd);
}

fn myself() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

fn executor(host: &str) -> DockerExecutor {
    let engine = DockerEngine::connect(Some(host)).expect("an engine");
    DockerExecutor::new(engine, myself(), std::env::temp_dir()).expect("an executor")
}

/// A step over a root that is made in `folder`: what it wrote, and what it said.
fn step(executor: &dyn Executor, folder: &Path, line: &str) -> (PathBuf, String) {
    let root = folder.join("root");
    if !root.exists() {
        root::make(&root);
    }
    shell::run(executor, vec![root], &folder.join(executor.name()), line)
}

fn suite(dockerd: &Dockerd) {
    let folder = tempfile::tempdir().expect("a folder");
    let (root, scratch) = (folder.path().join("root"), folder.path().join("scratch"));
    std::fs::create_dir_all(&scratch).expect("made");
    root::make(&root);
    let executor = executor(&dockerd.host());
    conformance::all(&executor, &root, &scratch);
    conformance::served(&executor, &root, &scratch.join("served"));
}

/// What the suite does not ask for: nothing tells a program that an engine has started it.
fn same_as_our_own(dockerd: &Dockerd) {
    let line = "echo $$; ls -a / /dev /run; cat /proc/self/status | while read -r name value; do \
                case $name in Groups:|Cap*|NoNewPrivs:|Seccomp:|Sig[BIC]*|NSpid:) echo $name $value;; esac; done; \
                cat /proc/self/limits /proc/self/cgroup /proc/self/oom_score_adj /proc/sys/net/ipv4/ping_group_range \
                /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv6/conf/lo/disable_ipv6 /proc/net/if_inet6; \
                while read -r _ target kind rest; do echo $target $kind; done < /proc/mounts; ls /proc/self/fd; env; umask";
    let folder = tempfile::tempdir().expect("a folder");
    let (_, own) = step(&Sandbox::new(myself()), folder.path(), line);
    let (_, through) = step(&executor(&dockerd.host()), folder.path(), line);
    // What is mounted after what else is the kernel's to say.
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    let (own, through) = (sorted(&own), sorted(&through));
    assert!(own == through, "{own}\n--- through docker ---\n{through}");
}

/// The init is the machine's file: a program with the same rights does not get at it.
fn the_init_is_out_of_reach(dockerd: &Dockerd) {
    let folder = tempfile::tempdir().expect("a folder");
    let line = "cat /proc/1/exe 2> /dev/null | head -c 1 | wc -c; ls /proc/1/root 2> /dev/null || echo closed";
    let (_, said) = step(&executor(&dockerd.host()), folder.path(), line);
    assert_eq!(said, "0\nclosed\n");
}

/// Engines that are not of this machine are refused before anything is sent.
fn addresses() {
    let engine = DockerEngine::connect(Some("tcp://127.0.0.1:1")).expect("an address");
    let refused = DockerExecutor::new(engine, myself(), std::env::temp_dir());
    assert!(
        matches!(refused, Err(DockerError::Host { .. })),
        "{refused:?}"
    );
}

fn sleepers() -> usize {
    let begin = format!("sleep\u{0}{SLEEP}");
    std::fs::read_dir("/proc")
        .expect("proc")
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).starts_with(&begin))
        .count()
}

fn eventually(what: &str, is: impl Fn() -> bool) {
    let is = (0..1200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        is()
    });
    assert!(is, "{what}");
}

fn containers(dockerd: &Dockerd) -> String {
    let filter = format!("label={LABEL}");
    let listed = dockerd.docker(&["ps", "--all", "--quiet", "--filter", &filter]);
    assert!(listed.status.success());
    String::from_utf8(listed.stdout).expect("ids")
}

/// The parent that is killed is this program again.
fn dies_with_its_parent(dockerd: &Dockerd) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut parent = Command::new(myself())
        .args([PARENT, &dockerd.host()])
        .arg(folder.path())
        .spawn()
        .expect("spawned");
    eventually("both sleep", || sleepers() == 2);
    parent.kill().expect("killed");
    parent.wait().expect("waited");
    eventually("nothing outlives its parent", || sleepers() == 0);
    eventually("its container is gone", || containers(dockerd).is_empty());
    let begin = format!("tbuild-step-{}-", parent.id());
    let folders = std::fs::read_dir(std::env::temp_dir()).expect("a folder");
    let mut names = folders.flatten().map(|entry| entry.file_name());
    assert!(!names.any(|name| name.to_string_lossy().starts_with(&begin)));
}

/// What a killed process has made and not started goes when the next one comes; the image goes with the last.
fn nothing_is_left(dockerd: &Dockerd) {
    let folder = tempfile::tempdir().expect("a folder");
    let executor = executor(&dockerd.host());
    step(&executor, folder.path(), "true");
    let space = std::os::unix::fs::MetadataExt::ino(
        &std::fs::metadata("/proc/self/ns/pid").expect("a namespace"),
    );
    // No process has this number.
    let label = format!("{LABEL}={space}/4194305/1");
    let made = dockerd.docker(&["create", "--label", &label, "tbuild-empty:1", "/none"]);
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
    assert!(!containers(dockerd).is_empty());
    drop(executor);
    drop(self::executor(&dockerd.host()));
    assert_eq!(containers(dockerd), "");
    let images = dockerd.docker(&["images", "--all", "--quiet"]);
    assert_eq!(String::from_utf8_lossy(&images.stdout), "");
}
