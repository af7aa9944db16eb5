//! Emulators registered for this process alone.
//!
//! Since Linux 6.7 a user namespace has a binfmt_misc of its own (binfmt_misc, "FS_USERNS_MOUNT"), and what it
//! holds is gone with its last mount. So where tbuild lives in a user namespace that it entered for itself, it may
//! start the emulators that are installed, and nothing outside sees any of it. In the machine's first namespace
//! the same would be a change of the machine, which is for its owner: there the holder has a user namespace of its
//! own, in which every id is itself, and the programs of steps enter it as they start.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// Where distributions keep what systemd-binfmt registers (binfmt.d(5)).
const FOLDERS: [&str; 2] = ["/usr/lib/binfmt.d", "/usr/local/lib/binfmt.d"];
/// Mounts, registers the lines of its input up to an empty one, and holds the mount until the input ends. A line
/// that the kernel refuses is an emulator that is not there.
const HOLD: &str = "read -r mapped; mount -t binfmt_misc binfmt_misc \"$1\" || exit 1; \
    while read -r line && [ \"$line\" ]; do printf %s \"$line\" >\"$1/register\"; done 2>/dev/null; \
    echo ready; read -r end";

/// Every id stands for itself (user_namespaces(7)).
const ALL_IDS: &str = "0 0 4294967295";

/// Holds emulators in place for this process and what it starts, until it is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    holder: Child,
    /// Its end is the holder's.
    input: Option<ChildStdin>,
    /// The user namespace to be in, where it is another than this process's.
    user_namespace: Option<PathBuf>,
}

impl Registration {
    /// Registers what is installed, in a user namespace of its own or in the one that this process is in. `folder` is
    /// an empty one to mount on, in a mount namespace that nothing else is in.
    pub(super) fn make(folder: &Path, in_its_own: bool) -> io::Result<Self> {
        let namespaces: &[&str] = if in_its_own {
            &["--user", "--mount"]
        } else {
            &["--mount"]
        };
        let mut holder = Command::new("unshare")
            .args(namespaces)
            .args(["sh", "-c", HOLD, "sh"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let process = PathBuf::from(format!("/proc/{}", holder.id()));
        let mut registration = Self {
            input: holder.stdin.take(),
            holder,
            user_namespace: in_its_own.then(|| process.join("ns/user")),
        };
        if in_its_own {
            registration.map_ids(&process)?;
        }
        if let Some(input) = &mut registration.input {
            writeln!(input)?;
            for line in installed() {
                writeln!(input, "{line}")?;
            }
            writeln!(input)?;
        }
        let mut answer = String::new();
        if let Some(output) = registration.holder.stdout.take() {
            BufReader::new(output).read_line(&mut answer)?;
        }
        if answer == "ready\n" {
            Ok(registration)
        } else {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// The user namespace whose programs it is for; none for this process's own.
    pub(super) fn user_namespace(&self) -> Option<&Path> {
        self.user_namespace.as_deref()
    }

    /// Says who is who in the holder's user namespace, once it is in it.
    fn map_ids(&mut self, process: &Path) -> io::Result<()> {
        let own = std::fs::read_link("/proc/self/ns/user")?;
        while std::fs::read_link(process.join("ns/user"))? == own {
            if self.holder.try_wait()?.is_some() {
                return Err(io::ErrorKind::Unsupported.into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        std::fs::write(process.join("uid_map"), ALL_IDS)?;
        std::fs::write(process.join("gid_map"), ALL_IDS)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ended = self.holder.wait();
    }
}

/// The lines that register qemu's emulators of user programs.
fn installed() -> Vec<String> {
    let mut lines = Vec::new();
    for folder in FOLDERS {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("qemu-") {
                let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
                lines.extend(text.lines().filter_map(line).map(str::to_owned));
            }
        }
    }
    lines.sort();
    lines
}

/// A line that registers something: `:NAME:TYPE:...`, not a comment.
fn line(text: &str) -> Option<&str> {
    let text = text.trim();
    text.starts_with(':').then_some(text)
}
