//! What an action may use.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most that an action and all that it starts may use together; none is no limit of its own. They never
/// decide what an action makes, only whether it ends: no key holds them, but for what a program is told of them
/// ([`Limits::shm`] and [`Limits::ulimits`]).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Memory in bytes, swap included.
    pub memory: Option<u64>,
    /// Processors, in thousandths of one.
    pub cpus: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Bytes of /dev/shm.
    pub shm: Option<u64>,
    /// Limits of each process, by setrlimit(2).
    pub ulimits: Vec<Ulimit>,
}

impl Limits {
    /// Whether something is limited that takes a cgroup.
    pub fn need_cgroup(&self) -> bool {
        self.memory.is_some() || self.cpus.is_some() || self.pids.is_some()
    }
}

/// A limit of each process: `--ulimit` of docker build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile` and the like: the name of RLIMIT_... in lower case.
    pub name: String,
    /// What counts; none is unlimited.
    pub soft: Option<u64>,
    /// What the process may raise it to; none is unlimited.
    pub hard: Option<u64>,
}

/// The names that [`Ulimit`] knows.
const NAMES: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// What is wrong with the text of a [`Ulimit`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UlimitError {
    /// Its form.
    #[error("{0:?} is not NAME=SOFT[:HARD]")]
    Form(String),
    /// Its name.
    #[error("there is no limit {0:?}; there are {names}", names = NAMES.join(", "))]
    Name(String),
    /// Its numbers.
    #[error("{0}: the soft limit is above the hard one")]
    Order(String),
}

impl FromStr for Ulimit {
    type Err = UlimitError;

    /// Reads `nofile=1024:2048`; -1 is unlimited, and one number is both.
    fn from_str(text: &str) -> Result<Self, UlimitError> {
        let form = || UlimitError::Form(text.to_owned());
        let (name, values) = text.split_once('=').ok_or_else(form)?;
        if !NAMES.contains(&name) {
            return Err(UlimitError::Name(name.to_owned()));
        }
        let number = |text: &str| match text {
            "-1" => Ok(None),
            text => text.parse().map(Some).map_err(|_| form()),
        };
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let (soft, hard) = (number(soft)?, number(hard)?);
        if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
            return Err(UlimitError::Order(text.to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            soft,
            hard,
        })
    }
}

impl std::fmt::Display for Ulimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let show = |value: Option<u64>| value.map_or("-1".to_owned(), |value| value.to_string());
        write!(f, "{}={}:{}", self.name, show(self.soft), show(self.hard))
    }
}

#[cfg(test)]
mod tests {
    use super::{Ulimit, UlimitError};

    #[test]
    fn ulimits_are_read_as_docker_reads_them() {
        for (text, shown) in [
            ("nofile=10", "nofile=10:10"),
            ("nofile=10:20", "nofile=10:20"),
            ("core=0:-1", "core=0:-1"),
        ] {
            let limit: Ulimit = text.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(limit.to_string(), shown);
        }
        for text in ["nofile", "nofile=", "nofile=x", "nofile=1:2:3", "nofile=-2"] {
            let error = text.parse::<Ulimit>().err();
            assert_eq!(error, Some(UlimitError::Form(text.to_owned())));
        }
        assert!(matches!(
            "files=1".parse::<Ulimit>(),
            Err(UlimitError::Name(_))
        ));
        assert!(matches!(
            "nofile=-1:5".parse::<Ulimit>(),
            Err(UlimitError::Order(_))
        ));
    }
}
