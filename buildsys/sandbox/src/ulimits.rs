//! Limits of each process, by name.

use rustix::process::{Resource, getrlimit};
use tbuild_exec::{Limits, Ulimit};

/// The names of `--ulimit`.
const RESOURCES: [(&str, Resource); 16] = [
    ("as", Resource::As),
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

/// What a name stands for.
pub(crate) fn resource(name: &str) -> Option<Resource> {
    let found = RESOURCES.iter().find(|(known, _)| *known == name);
    found.map(|(_, resource)| *resource)
}

/// All that a program has to be given where it inherits none of this process's: no core files, what is asked for, and
/// for the rest what this process has.
pub(crate) fn all(limits: &Limits) -> Vec<Ulimit> {
    let one = |(name, resource): &(&str, Resource)| {
        let asked = limits
            .ulimits
            .iter()
            .rev()
            .find(|limit| limit.name == *name);
        if let Some(limit) = asked {
            return limit.clone();
        }
        let own = getrlimit(*resource);
        let (soft, hard) = match *name {
            "core" => (Some(0), Some(0)),
            _ => (own.current, own.maximum),
        };
        Ulimit {
            name: (*name).to_owned(),
            soft,
            hard,
        }
    };
    RESOURCES.iter().map(one).collect()
}
