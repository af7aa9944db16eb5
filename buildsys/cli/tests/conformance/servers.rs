//! Servers on loopback that hold the folders of all cases: HTTP, and git's own protocol.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Ended when dropped.
pub struct Servers {
    running: Vec<Child>,
    http: String,
    git: String,
}

impl Servers {
    /// Serves `folder`.
    pub fn start(folder: &Path) -> Self {
        let mut http = Command::new("python3")
            .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0"])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 runs");
        let mut line = String::new();
        BufReader::new(http.stdout.take().expect("its output"))
            .read_line(&mut line)
            .expect("it says where it listens");
        let port = line
            .split("port ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next())
            .expect("a port")
            .to_owned();
        let path = Command::new("git")
            .arg("--exec-path")
            .output()
            .expect("git runs")
            .stdout;
        let path = String::from_utf8(path).expect("a path");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let git = free.local_addr().expect("its address").to_string();
        drop(free);
        // The program itself, without git's wrapper, so that ending it ends it.
        let daemon = Command::new(Path::new(path.trim()).join("git-daemon"))
            .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1"])
            .arg(format!(
                "--port={}",
                git.rsplit(':').next().expect("a port")
            ))
            .arg(format!("--base-path={}", folder.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("git-daemon runs");
        let servers = Self {
            running: vec![http, daemon],
            http: format!("127.0.0.1:{port}"),
            git,
        };
        let open = (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            TcpStream::connect(&servers.git).is_ok()
        });
        assert!(open, "git-daemon listens");
        servers
    }

    /// A value with the addresses of a case's folder for @HTTP@ and @GIT@.
    pub fn fill(&self, value: &str, case: &str) -> String {
        value
            .replace("@HTTP@", &format!("{}/{case}", self.http))
            .replace("@GIT@", &format!("{}/{case}", self.git))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
