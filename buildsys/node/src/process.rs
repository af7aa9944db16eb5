//! Processes named so that a reused pid is not mistaken for them.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// A process of this boot: a pid is used again, its start time is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pid: i32,
    /// Clock ticks between boot and the process's start (proc(5), `/proc/pid/stat`, field 22).
    start: u64,
}

impl ProcessId {
    /// The living process `pid`; none when it is not there.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let (state, start) = stat(pid)?;
        (!dead(state)).then_some(Self { pid, start })
    }

    /// This process.
    pub(crate) fn own() -> Option<Self> {
        Self::of(rustix::process::getpid().as_raw_nonzero().get())
    }

    /// Its number.
    pub(crate) fn pid(self) -> i32 {
        self.pid
    }

    /// Whether it still runs. One that ended and that nobody waited for is dead.
    pub(crate) fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|(state, start)| start == self.start && !dead(state))
    }

    /// Ends it at once, if it is still there.
    pub(crate) fn kill(self) -> Result<(), Errno> {
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.is_alive()) else {
            return Ok(());
        };
        match kill_process(pid, Signal::KILL) {
            Err(Errno::SRCH) => Ok(()),
            done => done,
        }
    }

    /// Waits until it is dead; false when it is not by `deadline`.
    pub(crate) fn wait_dead(self, deadline: Instant) -> bool {
        while self.is_alive() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }
}

/// State letter and start time of a process.
fn stat(pid: i32) -> Option<(u8, u64)> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads `/proc/pid/stat`: the program's name in parentheses may hold anything, parentheses too.
fn parse_stat(stat: &[u8]) -> Option<(u8, u64)> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.as_bytes().first().copied()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

fn dead(state: u8) -> bool {
    matches!(state, b'Z' | b'X' | b'x')
}

/// Whether a process of that program name (at most 15 bytes) runs anywhere on the machine.
pub(crate) fn any_named(name: &str) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else {
        return false;
    };
    entries.filter_map(Result::ok).any(|entry| {
        let pid = entry.file_name().to_string_lossy().parse::<i32>().ok();
        pid.and_then(ProcessId::of).is_some()
            && fs::read_to_string(entry.path().join("comm"))
                .is_ok_and(|comm| comm.trim_end() == name)
    })
}

/// The data folders of the supervisors that run anywhere on the machine.
pub(crate) fn supervised() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let commands = entries
        .filter_map(Result::ok)
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    commands
        .filter_map(|command| {
            let arguments: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
            // As it was called: its role, who called, its folder; an empty one after the last 0.
            let [.., b"supervise", _, folder, b""] = arguments.as_slice() else {
                return None;
            };
            Some(PathBuf::from(std::ffi::OsStr::from_bytes(folder)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_confuse() {
        let mut line =
            b"42 (a) R 1 (b c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 ".to_vec();
        line.extend_from_slice(b"987654 1 2 3\n");
        assert_eq!(parse_stat(&line), Some((b'S', 987_654)));
        assert_eq!(parse_stat(b"42 (cut"), None);
    }

    #[test]
    fn supervisors_are_known_by_their_folders() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", "sleep 60; :", "node", "supervise", "1"])
            .arg(folder.path())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while !supervised().iter().any(|found| found == folder.path()) {
            assert!(began.elapsed() < Duration::from_mins(1), "never seen");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!supervised().iter().any(|found| found == folder.path()));
    }

    #[test]
    fn an_unreaped_child_is_dead_and_a_reused_pid_is_another() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessId::of(child.id() as i32).unwrap();
        assert!(process.is_alive());
        let other = ProcessId {
            start: process.start + 1,
            ..process
        };
        assert!(!other.is_alive());
        other.kill().unwrap();
        assert!(process.is_alive(), "killed by the pid alone");
        process.kill().unwrap();
        assert!(process.wait_dead(Instant::now() + Duration::from_secs(10)));
        child.wait().unwrap();
        assert!(!process.is_alive());
        process.kill().unwrap();
    }
}
