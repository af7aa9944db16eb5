//! A place to build in, and what has to be as it was afterwards.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tbuild_oci::{LayerError, read_archive};
use tbuild_tree::Node;

/// What nobody may read, and nothing that a build makes may hold.
pub const SECRET: &str = "f3b1c5e2-what-only-the-host-knows";

/// No build here takes long; one that takes this long waits for something that never comes.
const PATIENCE: Duration = Duration::from_mins(5);

/// The most memory that tbuild may use, in bytes.
const MEMORY: u64 = 3 << 30;

pub struct Bench {
    folder: tempfile::TempDir,
}

/// How a build ended.
#[derive(Debug)]
pub struct Built {
    pub code: i32,
    /// Standard output and error.
    pub said: String,
    /// The files of the image, a line a file; nothing if it was refused.
    pub files: Vec<String>,
}

impl Bench {
    pub fn new() -> Self {
        let bench = Self {
            folder: tempfile::tempdir().expect("temporary folder"),
        };
        fs::create_dir(bench.context()).expect("context");
        fs::create_dir(bench.outside()).expect("outside");
        fs::write(bench.outside().join("secret"), SECRET).expect("secret");
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn context(&self) -> PathBuf {
        self.path("context")
    }

    /// The folder that stands for the host.
    pub fn outside(&self) -> PathBuf {
        self.path("outside")
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        fs::write(self.context().join(name), content).expect("written");
        self
    }

    /// Puts Debian's static busybox into the context.
    pub fn busybox(&self) -> &Self {
        fs::copy("/bin/busybox", self.context().join("busybox")).expect("busybox-static");
        self
    }

    pub fn command(&self) -> Command {
        // The limit is a shell's, for a process cannot set another's before it runs.
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "ulimit -v $1; shift; exec \"$@\"", "sh"])
            .arg((MEMORY >> 10).to_string())
            .arg(env!("CARGO_BIN_EXE_tbuild"))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.folder.path())
            .current_dir(self.folder.path())
            .arg("--store")
            .arg(self.path("store"))
            .args(["--color", "never", "--progress", "plain"]);
        command
    }

    /// Runs tbuild to its end. That it ends, by itself and in an orderly way, is checked.
    pub fn run(&self, arguments: &[&str]) -> (i32, String) {
        let log = fs::File::create(self.path("log")).expect("log");
        let mut child = self
            .command()
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("tbuild starts");
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("waited for") {
                break status;
            }
            if start.elapsed() > PATIENCE {
                child.kill().expect("killed");
                child.wait().expect("ended");
                panic!("tbuild {arguments:?} hangs: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let said = self.log();
        assert_eq!(status.signal(), None, "{said}");
        let code = status.code().expect("exit code");
        assert!(matches!(code, 0..=4), "exit code {code}: {said}");
        assert!(!said.contains(SECRET), "the secret is told: {said}");
        (code, said)
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).expect("log")).into_owned()
    }

    /// Builds the context with this Dockerfile.
    pub fn build(&self, dockerfile: &str) -> Built {
        self.write("Dockerfile", dockerfile).build_as_it_is()
    }

    /// Builds the context.
    pub fn build_as_it_is(&self) -> Built {
        let out = self.path("out.tar");
        let _old = fs::remove_file(&out);
        let spec = format!("type=tar,dest={}", out.display());
        let (code, said) = self.run(&["build", "context", "-o", &spec]);
        let files = if code == 0 {
            Self::listing(&out)
        } else {
            Vec::new()
        };
        self.unharmed();
        Built { code, said, files }
    }

    /// That the folder outside is as it was, and the store without its secret.
    pub fn unharmed(&self) {
        let names: Vec<_> = fs::read_dir(self.outside())
            .expect("outside")
            .map(|entry| entry.expect("entry").file_name())
            .collect();
        assert_eq!(names, ["secret"], "something was written outside");
        let secret = fs::read_to_string(self.outside().join("secret")).expect("secret");
        assert_eq!(secret, SECRET, "the secret was changed");
        for name in ["pwned", "etc/pwned", "tmp/pwned"] {
            assert!(!Path::new("/").join(name).exists(), "/{name} was written");
        }
    }

    /// The files of a tar, a line each: path, what it is, mode, content where it is short.
    fn listing(file: &Path) -> Vec<String> {
        let mut lines = Vec::new();
        let reader = std::io::BufReader::new(fs::File::open(file).expect("image"));
        read_archive(reader, |member| -> Result<(), LayerError> {
            let entry = &member.entry;
            let what = match &entry.node {
                Node::Directory => "folder".to_owned(),
                Node::File { size, .. } => {
                    let mut text = String::new();
                    if *size < 1000 {
                        let _binary = member.content.read_to_string(&mut text);
                    }
                    assert!(!text.contains(SECRET), "{entry:?} has the secret");
                    format!("file {}", text.trim_end())
                }
                Node::Symlink { target } => format!("-> {}", String::from_utf8_lossy(target)),
                Node::Hardlink { target } => format!("same as {target}"),
                Node::CharDevice { major, minor } => format!("char {major}:{minor}"),
                Node::BlockDevice { major, minor } => format!("block {major}:{minor}"),
                Node::Fifo => "pipe".to_owned(),
                Node::Whiteout => "removed".to_owned(),
            };
            lines.push(format!(
                "{} {:o} {}",
                entry.path,
                entry.mode,
                what.trim_end()
            ));
            Ok(())
        })
        .expect("the image can be read");
        lines
    }
}

impl Built {
    /// That it was refused because of the input, with all of these in what is said.
    pub fn refused(&self, texts: &[&str]) {
        assert!(matches!(self.code, 1 | 2), "{self:?}");
        for text in texts {
            assert!(
                self.said.contains(text),
                "{text:?} is not said: {}",
                self.said
            );
        }
    }

    /// That it was built and has this file.
    pub fn has(&self, line: &str) {
        assert_eq!(self.code, 0, "{}", self.said);
        assert!(
            self.files.iter().any(|file| file == line),
            "{line:?} is missing: {:#?}",
            self.files
        );
    }
}
