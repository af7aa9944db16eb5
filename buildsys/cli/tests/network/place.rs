//! A network of the tests' own, with one origin in it, and a folder to build in.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// What the origin says and no lock may hold.
const SECRET: &str = "secret-of-";

pub struct Place {
    folder: tempfile::TempDir,
    origin: Child,
    /// Variables of tbuild's.
    pub env: Vec<(&'static str, String)>,
}

/// How a build ended.
#[derive(Debug)]
pub struct Built {
    pub code: i32,
    /// Standard output: the image's id.
    pub id: String,
    /// Standard error.
    pub said: String,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("context")).expect("made");
        fs::copy("/bin/busybox", path("context/busybox")).expect("busybox-static");
        fs::write(path("hosts"), "192.0.2.1 origin.example.com\n").expect("written");
        fs::create_dir_all(path("config/tbuild")).expect("made");
        let origins = "[origin.own]\nurls = [\"http://origin.example.com/base\", \"http://origin.example.com/second\"]\n";
        fs::write(path("config/tbuild/origins.toml"), origins).expect("written");
        let made = Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "7",
            ])
            .args(["-subj", "/CN=origin.example.com"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-addext", "subjectAltName=DNS:origin.example.com"])
            .arg("-keyout")
            .arg(path("key.pem"))
            .arg("-out")
            .arg(path("certificate.pem"))
            .stderr(Stdio::null())
            .status();
        assert!(made.expect("openssl").success());
        let origin = start(folder.path());
        Self {
            folder,
            origin,
            env: Vec::new(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The origin again, which remembers nothing; stopped if it was there.
    pub fn restart(&mut self) {
        self.stop();
        self.origin = start(self.folder.path());
    }

    /// Takes the origin away, and the network that it was in.
    pub fn stop(&mut self) {
        let _gone = self.origin.kill();
        self.origin.wait().expect("ended");
    }

    /// Puts a program of this machine and what it is linked with into the context's folder `root`.
    pub fn install(&self, program: &str) -> &Self {
        let linked = Command::new("ldd").arg(program).output().expect("ldd");
        let text = String::from_utf8(linked.stdout).expect("text");
        let libraries = text.split_whitespace().filter(|word| word.starts_with('/'));
        for file in libraries.chain([program]) {
            let to = self.path("context/root").join(&file[1..]);
            fs::create_dir_all(to.parent().expect("a folder")).expect("made");
            fs::copy(file, to).expect("copied");
        }
        self
    }

    pub fn write(&self, name: &str, content: &str) -> &Self {
        fs::write(self.path("context").join(name), content).expect("written");
        self
    }

    /// A Dockerfile of busybox with these lines after it.
    pub fn dockerfile(&self, lines: &str) -> &Self {
        let base = "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n";
        self.write("Dockerfile", &format!("{base}{lines}"))
    }

    /// Builds the context with what it asks recorded.
    pub fn build(&mut self, arguments: &[&str]) -> Built {
        let build = ["build", "--network", "record", "-t", "app:1", "context"];
        self.run(&[&build, arguments].concat())
    }

    /// Runs tbuild in the origin's network, or in one with nothing.
    pub fn run(&mut self, arguments: &[&str]) -> Built {
        let is_there = self.origin.try_wait().expect("looked").is_none();
        let tbuild = env!("CARGO_BIN_EXE_tbuild");
        let mut command = if is_there {
            self.beside(tbuild)
        } else {
            let mut command = Command::new("unshare");
            command.args(["--net", tbuild]);
            command
        };
        let output = command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.folder.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("SSL_CERT_FILE", self.path("certificate.pem"))
            .envs(self.env.clone())
            .arg("-C")
            .arg(self.folder.path())
            .arg("--store")
            .arg(self.path("store"))
            .args(["--color", "never", "--progress", "plain"])
            .args(arguments)
            .output()
            .expect("tbuild starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let lock = self.lock();
        assert!(!lock.contains(SECRET), "a secret is locked: {lock}");
        Built {
            code: output.status.code().expect("an exit code"),
            id: text(&output.stdout),
            said: text(&output.stderr),
        }
    }

    /// The same, which has to go well.
    pub fn builds(&mut self, arguments: &[&str]) -> Built {
        let built = self.build(arguments);
        assert_eq!(built.code, 0, "{}", built.said);
        built
    }

    pub fn lock(&self) -> String {
        fs::read_to_string(self.path("lockfiles/network-app.lock")).unwrap_or_default()
    }

    /// A command in the network and among the mounts of the origin.
    pub fn beside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--net", "--mount", "--target"])
            .arg(self.origin.id().to_string())
            .arg(program);
        command
    }

    /// Takes away what the store knows of steps that have run; files stay.
    pub fn forget(&self) {
        let actions = self.path("store/actions");
        fs::remove_dir_all(&actions).expect("removed");
        fs::create_dir(actions).expect("made");
    }

    /// Takes away all that the store has.
    pub fn empty_store(&self) {
        fs::remove_dir_all(self.path("store")).expect("removed");
    }

    /// What the origin was asked since the last time.
    pub fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("asked")).unwrap_or_default();
        let _none = fs::remove_file(self.path("asked"));
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts the origin in a network of its own, and waits until it answers.
fn start(folder: &std::path::Path) -> Child {
    let line = "ip link set lo up && ip address add 192.0.2.1/32 dev lo && mount --bind \"$0/hosts\" /etc/hosts && \
                exec python3 \"$1\" \"$0\"";
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/network/origin.py");
    let mut child = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c", line])
        .arg(folder)
        .arg(script)
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare");
    let mut said = String::new();
    let stdout = child.stdout.take().expect("piped");
    BufReader::new(stdout)
        .read_line(&mut said)
        .expect("the origin says that it is ready");
    assert_eq!(said, "ready\n");
    child
}
