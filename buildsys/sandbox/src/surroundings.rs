//! Other surroundings for a whole process and all that it starts: what two builds of one thing may not depend on.

use std::io;

use rustix::fs::Mode;
use rustix::process::{Signal, WaitOptions, waitpid};
use rustix::thread::{CpuSet, UnshareFlags};
use serde::{Deserialize, Serialize};

use crate::fork::{Side, fork, leave, unshare};

/// Surroundings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surroundings {
    /// The name of the machine.
    pub hostname: String,
    /// The umask.
    pub umask: u32,
    /// How many processors may be used; all of them if none.
    pub cpus: Option<usize>,
    /// Seconds that the machine seems to run longer than it does: what /proc/uptime and the monotonic clock say
    /// (time_namespaces(7)). The time of day is the same in every namespace.
    pub uptime: u64,
}

impl Surroundings {
    /// Enters them, before the process has started a thread, and goes on in them: from here on another process
    /// may be waiting for this one in its place. Returns what could not be had, in words.
    pub fn enter(&self) -> Vec<String> {
        let mut missing = Vec::new();
        let mut note = |what: &str, result: io::Result<()>| {
            if let Err(error) = result {
                missing.push(format!("{what}: {error}"));
            }
        };
        rustix::process::umask(Mode::from_raw_mode(self.umask));
        if let Some(count) = self.cpus {
            note("number of processors", restrict(count));
        }
        note("host name", self.name());
        if self.uptime > 0 {
            note("uptime", self.age());
        }
        missing
    }

    fn name(&self) -> io::Result<()> {
        unshare(UnshareFlags::NEWUTS)?;
        Ok(rustix::system::sethostname(self.hostname.as_bytes())?)
    }

    /// Only what is forked afterwards lives in a new time namespace, and only before that is its time set.
    fn age(&self) -> io::Result<()> {
        unshare(UnshareFlags::NEWTIME)?;
        let offsets = format!("monotonic {0} 0\nboottime {0} 0\n", self.uptime);
        std::fs::write("/proc/self/timens_offsets", offsets)?;
        match fork()? {
            Side::Child => Ok(rustix::process::set_parent_process_death_signal(Some(
                Signal::TERM,
            ))?),
            Side::Parent(child) => {
                crate::fork::ignore_endings();
                loop {
                    match waitpid(Some(child), WaitOptions::empty()) {
                        Ok(Some((_, status))) => leave(
                            status
                                .exit_status()
                                .or(status.terminating_signal().map(|signal| 128 + signal))
                                .unwrap_or(1),
                        ),
                        Ok(None) | Err(rustix::io::Errno::INTR) => {}
                        Err(_) => leave(1),
                    }
                }
            }
        }
    }
}

/// Leaves the process the first `count` of its processors.
fn restrict(count: usize) -> io::Result<()> {
    let all = rustix::thread::sched_getaffinity(None)?;
    if (all.count() as usize) <= count {
        return Err(io::Error::other(format!("there are {}", all.count())));
    }
    let mut few = CpuSet::new();
    (0..CpuSet::MAX_CPU)
        .filter(|cpu| all.is_set(*cpu))
        .take(count)
        .for_each(|cpu| few.set(cpu));
    Ok(rustix::thread::sched_setaffinity(None, &few)?)
}
