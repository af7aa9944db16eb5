//! Nodes on this machine, and what they leave on it: nothing, however they end.
//!
//! Without arguments: what can be tried without Kubernetes' own images, from an image that has no containerd.
//! `full SPEC.json PUSH...`: a whole life of the node of that specification; PUSH is run with the registry's
//! `host:port` when that listens.

#![expect(clippy::print_stderr, reason = "a test's own main reports by itself")]

mod snapshot;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use snapshot::Snapshot;
use tbuild_node::{
    Addresses, BoxError, ClusterImages, Deadlines, DownOutcome, NodeError, NodeEvent, NodePhase,
    NodeSpec, Observer, Phase, UpOutcome, down, status, up,
};

/// Called when the registry listens.
type Push<'a> = Box<dyn FnMut(&str) -> Result<(), BoxError> + 'a>;

/// A test's name, and what it does in a folder of its own.
type Test = (&'static str, fn(&Path));

struct Watching<'a> {
    events: Vec<NodeEvent>,
    push: Push<'a>,
}

impl<'a> Watching<'a> {
    fn new(push: impl FnMut(&str) -> Result<(), BoxError> + 'a) -> Self {
        Self {
            events: Vec::new(),
            push: Box::new(push),
        }
    }

    fn finished(&self, phase: Phase) -> bool {
        let of_phase = |event: &NodeEvent| matches!(event, NodeEvent::Finished { phase: p, .. } if *p == phase);
        self.events.iter().any(of_phase)
    }
}

impl Observer for Watching<'_> {
    fn event(&mut self, event: NodeEvent) {
        self.events.push(event);
    }

    fn push_images(&mut self, registry: &str) -> Result<(), BoxError> {
        (self.push)(registry)
    }
}

/// A node whose image is an empty folder. Its registry is Debian's.
fn spec(folder: &Path) -> NodeSpec {
    let image = folder.join("image");
    fs::create_dir_all(&image).unwrap();
    let config = folder.join("registry.yml");
    let storage = folder.join("registry").display().to_string();
    fs::write(
        &config,
        format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {storage}}}}}\nhttp: {{addr: 127.0.0.1:1, secret: x}}\n"),
    )
    .unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let serve = format!(
        "REGISTRY_HTTP_ADDR=$2 exec docker-registry serve {}",
        config.display()
    );
    NodeSpec {
        name: "test".to_owned(),
        data: folder.join("data"),
        lower: vec![image],
        kubernetes_version: "v1.34.2".to_owned(),
        registry: format!("localhost:{port}"),
        registry_command: ["sh", "-c", &serve, "sh"].map(str::to_owned).into(),
        images: ClusterImages {
            repository: format!("localhost:{port}/k8s"),
            etcd: "3.6.5-0".to_owned(),
            coredns: "v1.12.4".to_owned(),
            pause: "3.10.1".to_owned(),
        },
        addresses: Addresses {
            lan: "10.211.0.0/24".parse().unwrap(),
            pods: "10.245.0.0/16".parse().unwrap(),
            services: "10.97.0.0/16".parse().unwrap(),
        },
        labels: BTreeMap::new(),
        etcd_fsync: false,
        reexec: vec!["internal".to_owned()],
    }
}

fn pid_of_supervisor(data: &Path) -> Option<i32> {
    status(data).unwrap().node.and_then(|node| node.supervisor)
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// A machine that cannot start fails with its reason, and takes everything with it but its logs.
fn a_machine_that_cannot_start_leaves_nothing(folder: &Path) {
    let spec = spec(folder);
    let before = Snapshot::take();
    let mut watching = Watching::new(|_| Ok(()));
    let error = up(&spec, &Deadlines::default(), &mut watching).unwrap_err();
    assert!(
        matches!(
            error,
            NodeError::Phase {
                phase: Phase::Machine,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("cannot run containerd"),
        "{error}"
    );
    assert!(watching.finished(Phase::Registry), "{:?}", watching.events);
    before.assert_restored();
    assert!(spec.data.join("log/supervisor.log").exists());
    assert_eq!(down(&spec.data, false).unwrap(), DownOutcome::Cleaned);
    assert!(!spec.data.exists());
    assert_eq!(down(&spec.data, false).unwrap(), DownOutcome::NotThere);
}

/// While images are pushed, the registry answers on the host's loopback and on the switch's address is
/// nothing else's business; another `up` of another node in the same folder is refused.
fn the_registry_answers_while_images_are_pushed(folder: &Path) {
    let spec = spec(folder);
    let before = Snapshot::take();
    let mut asked = 0;
    let mut watching = Watching::new(|registry| {
        let address = registry.replace("localhost", "127.0.0.1");
        for address in [
            address,
            format!("10.211.0.1:{}", registry.rsplit(':').next().unwrap()),
        ] {
            let mut stream = std::net::TcpStream::connect(&address)?;
            std::io::Write::write_all(&mut stream, b"GET /v2/ HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            std::io::Read::read_to_string(&mut stream, &mut answer)?;
            assert!(answer.contains("200 OK"), "{address}: {answer}");
            asked += 1;
        }
        assert_eq!(status(&spec.data).unwrap().phase, NodePhase::Starting);
        Err("no images today".into())
    });
    let error = up(&spec, &Deadlines::default(), &mut watching).unwrap_err();
    drop(watching);
    assert!(matches!(error, NodeError::Images { .. }), "{error:?}");
    assert_eq!(asked, 2);
    let other = NodeSpec {
        kubernetes_version: "v1.0.0".to_owned(),
        ..spec.clone()
    };
    let error = up(
        &other,
        &Deadlines::default(),
        &mut Watching::new(|_| Ok(())),
    )
    .unwrap_err();
    assert!(matches!(error, NodeError::Differs { .. }), "{error:?}");
    assert_eq!(down(&spec.data, false).unwrap(), DownOutcome::Stopped);
    before.assert_restored();
}

/// kill -9 of the supervisor at any moment leaves nothing that the next `down` does not take away.
fn a_killed_supervisor_leaves_what_down_cleans(folder: &Path) {
    let spec = spec(folder);
    let before = Snapshot::take();
    for delay in [0, 10, 30, 60, 100, 150, 250, 400] {
        let data = spec.data.clone();
        let killer = std::thread::spawn(move || {
            let deadline = Instant::now() + Duration::from_secs(30);
            while Instant::now() < deadline {
                if let Some(pid) = pid_of_supervisor(&data) {
                    std::thread::sleep(Duration::from_millis(delay));
                    if pid_of_supervisor(&data) == Some(pid) {
                        kill(pid);
                    }
                    return;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            panic!("no supervisor within 30 s");
        });
        up(&spec, &Deadlines::default(), &mut Watching::new(|_| Ok(()))).unwrap_err();
        killer.join().unwrap();
        down(&spec.data, false).unwrap();
        before.assert_restored();
    }
}

/// A registry that does not come up is the reason that is told.
fn a_registry_that_ends_is_told(folder: &Path) {
    let mut spec = spec(folder);
    let before = Snapshot::take();
    spec.registry_command = vec!["false".to_owned()];
    let mut watching = Watching::new(|_| Ok(()));
    let deadlines = Deadlines {
        network: Duration::from_secs(3),
        ..Deadlines::default()
    };
    let error = up(&spec, &deadlines, &mut watching).unwrap_err();
    assert!(
        matches!(
            error,
            NodeError::Phase {
                phase: Phase::Registry,
                ..
            }
        ),
        "{error:?}"
    );
    down(&spec.data, false).unwrap();
    before.assert_restored();
}

/// The whole life of a node, with its programs and its supervisor killed on the way.
fn full(spec: &NodeSpec, push: &[OsString]) {
    assert_eq!(
        status(&spec.data).unwrap().phase,
        NodePhase::Down,
        "something is there"
    );
    let before = Snapshot::take();
    let push = |registry: &str| {
        let (program, arguments) = push.split_first().ok_or("no push command")?;
        let status = Command::new(program)
            .args(arguments)
            .arg(registry)
            .status()?;
        if status.success() {
            Ok(())
        } else {
            Err(BoxError::from("push failed"))
        }
    };
    let bring_up = || up(spec, &Deadlines::default(), &mut Watching::new(push)).unwrap();
    assert_eq!(bring_up(), UpOutcome::Created);
    assert_eq!(bring_up(), UpOutcome::AlreadyUp);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(spec.data.join("kubeconfig"))
            .unwrap()
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let init = status(&spec.data).unwrap().node.unwrap().init.unwrap();
    for program in ["containerd", "kubelet"] {
        let old = child_named(init, program).unwrap();
        kill(old);
        wait_for(|| child_named(init, program).is_some_and(|new| new != old));
    }
    wait_for(|| bring_up() == UpOutcome::AlreadyUp);
    kill(pid_of_supervisor(&spec.data).unwrap());
    wait_for(|| status(&spec.data).unwrap().phase == NodePhase::Abandoned);
    assert_eq!(bring_up(), UpOutcome::Restarted);
    assert_eq!(down(&spec.data, true).unwrap(), DownOutcome::Stopped);
    before.assert_restored();
    assert_eq!(status(&spec.data).unwrap().phase, NodePhase::Stopped);
    assert_eq!(bring_up(), UpOutcome::Restarted);
    assert_eq!(down(&spec.data, false).unwrap(), DownOutcome::Stopped);
    before.assert_restored();
    assert!(!spec.data.exists());
}

fn wait_for(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < deadline, "not within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn child_named(parent: i32, name: &str) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let mut children = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    children.find(|pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name)
    })
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments
        .split_first()
        .and_then(|(first, rest)| Some((first.to_str()?, rest)))
    {
        Some(("internal", rest)) => return tbuild_node::internal_main(rest),
        Some(("full", [spec, push @ ..])) => {
            let spec = fs::read(PathBuf::from(spec)).unwrap();
            full(&serde_json::from_slice(&spec).unwrap(), push);
            return ExitCode::SUCCESS;
        }
        // `cargo test -- FILTER` and cargo's own flags are for harnesses that have them.
        _ => {}
    }
    let tests: [Test; 4] = [
        (
            "a machine that cannot start leaves nothing",
            a_machine_that_cannot_start_leaves_nothing,
        ),
        (
            "the registry answers while images are pushed",
            the_registry_answers_while_images_are_pushed,
        ),
        (
            "a killed supervisor leaves what down cleans",
            a_killed_supervisor_leaves_what_down_cleans,
        ),
        ("a registry that ends is told", a_registry_that_ends_is_told),
    ];
    for (name, test) in tests {
        let folder = tempfile::tempdir().unwrap();
        test(folder.path());
        eprintln!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}
