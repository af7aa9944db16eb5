//! What a step may do and use, for an engine to see to.

use std::io;

use tbuild_exec::{Action, Ulimit};

/// What a step may do and use: the same as in namespaces of our own.
#[derive(Debug, Clone)]
pub struct Allowed {
    /// The capabilities of a program that is not privileged, as `CAP_CHOWN`.
    pub capabilities: Vec<String>,
    /// Which system calls are refused such a program: `linux.seccomp` of the OCI runtime specification, in JSON.
    pub seccomp: String,
    /// The limits of each process, all of them.
    pub ulimits: Vec<Ulimit>,
    /// How soon a process is killed for want of memory (proc(5), oom_score_adj). The init is to outlive the program
    /// where memory is limited, and lets it have the usual score.
    pub oom_score: i64,
}

impl Allowed {
    /// What `action` may do and use.
    pub fn of(action: &Action) -> io::Result<Self> {
        let seccomp = crate::runtime::seccomp().map_err(|failure| {
            let why = failure.said.unwrap_or_default();
            io::Error::other(format!("{}: {why}", failure.what))
        })?;
        let capabilities = crate::privileges::capabilities(false);
        let oom_score = match action.limits.memory {
            Some(_) => -900,
            None => std::fs::read_to_string("/proc/self/oom_score_adj")?
                .trim()
                .parse()
                .map_err(io::Error::other)?,
        };
        Ok(Self {
            capabilities: capabilities
                .iter_names()
                .map(|(name, _)| format!("CAP_{name}"))
                .collect(),
            seccomp: serde_json::to_string(&seccomp)?,
            ulimits: crate::ulimits::all(&action.limits),
            oom_score,
        })
    }
}
