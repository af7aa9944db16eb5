//! What a step may do and use, for an engine to see to.

use std::io;

use tbuild_exec::{Action, Ulimit};

/// What a step may do and use: the same as in namespaces of our own.
#[derive(Debug, Clone)]
pub struct Allowed {
    /// Its capabilities, as `CAP_CHOWN`.
    pub capabilities: Vec<String>,
    /// Which system calls are refused: `linux.seccomp` of the OCI runtime specification, in JSON. None are where it
    /// is privileged.
    pub seccomp: Option<String>,
    /// The limits of each process, all of them.
    pub ulimits: Vec<Ulimit>,
    /// How soon a process is killed for want of memory (proc(5), oom_score_adj): as soon as this one.
    pub oom_score: i64,
}

impl Allowed {
    /// What `action` may do and use.
    pub fn of(action: &Action) -> io::Result<Self> {
        let seccomp = if action.privileged {
            None
        } else {
            let filter = crate::runtime::seccomp().map_err(|failure| {
                let why = failure.said.unwrap_or_default();
                io::Error::other(format!("{}: {why}", failure.what))
            })?;
            Some(serde_json::to_string(&filter)?)
        };
        let capabilities = crate::privileges::capabilities(action.privileged);
        let oom_score = std::fs::read_to_string("/proc/self/oom_score_adj")?;
        Ok(Self {
            capabilities: capabilities
                .iter_names()
                .map(|(name, _)| format!("CAP_{name}"))
                .collect(),
            seccomp,
            ulimits: crate::ulimits::all(&action.limits),
            oom_score: oom_score.trim().parse().map_err(io::Error::other)?,
        })
    }
}
