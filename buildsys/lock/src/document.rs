//! A lock as text.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{BaseLock, GitLock, ImageLock, LockError, NetworkLock, ToolLock, UrlLock};

/// The schema that this tbuild writes and reads.
pub const SCHEMA: u32 = 1;

const NOTE: &str =
    "# Written by `tbuild lock`: review it as a diff, change it with `tbuild lock --update`.\n";

/// What is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A base made of packages.
    Base,
    /// A git source.
    Git,
    /// A registry's image.
    Image,
    /// What the steps of an image asked of the network.
    Network,
    /// A source behind a URL.
    Url,
    /// A tool.
    Tool,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "base",
            Self::Git => "git",
            Self::Image => "image",
            Self::Network => "network",
            Self::Url => "url",
            Self::Tool => "tool",
        })
    }
}

/// The name of a lock's file below `lockfiles/`: what cannot stand in a file name on every system becomes `-`,
/// and the parts of a reference stay readable (`base-debian-bookworm.lock`).
pub fn file_name(kind: Kind, name: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    let name: String = name
        .chars()
        .map(|c| if safe(c) { c } else { '-' })
        .collect();
    format!("{kind}-{name}.lock")
}

/// Any lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lock {
    /// A base made of packages.
    Base(BaseLock),
    /// A git source.
    Git(GitLock),
    /// A registry's image.
    Image(ImageLock),
    /// What the steps of an image asked of the network.
    Network(NetworkLock),
    /// A source behind a URL.
    Url(UrlLock),
    /// A tool.
    Tool(ToolLock),
}

/// What every lock begins with.
#[derive(Deserialize)]
struct Head {
    schema: u32,
    kind: Kind,
}

/// A lock's head and fields in one table.
#[derive(Serialize)]
struct Document<'a, T> {
    schema: u32,
    kind: Kind,
    #[serde(flatten)]
    lock: &'a T,
}

impl Lock {
    /// Reads a lock. `file` only names it in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, LockError> {
        let head: Head =
            toml::from_str(text).map_err(|error| LockError::syntax(file, text, &error))?;
        if head.schema != SCHEMA {
            return Err(LockError::Schema {
                file: file.to_owned(),
                found: head.schema,
                known: SCHEMA,
            });
        }
        let mut lock = match head.kind {
            Kind::Base => Self::Base(fields(file, text)?),
            Kind::Git => Self::Git(fields(file, text)?),
            Kind::Image => Self::Image(fields(file, text)?),
            Kind::Network => Self::Network(fields(file, text)?),
            Kind::Url => Self::Url(fields(file, text)?),
            Kind::Tool => Self::Tool(fields(file, text)?),
        };
        lock.sort();
        let (duplicate, fault) = match &lock {
            Self::Base(base) => (base.duplicate(), None),
            Self::Network(network) => (network.duplicate(), network.fault()),
            Self::Tool(tool) => (tool.duplicate(), tool.fault()),
            Self::Git(_) | Self::Image(_) | Self::Url(_) => (None, None),
        };
        let file = file.to_owned();
        match (duplicate, fault) {
            (Some(what), _) => Err(LockError::Duplicate { file, what }),
            (None, Some(what)) => Err(LockError::Incomplete { file, what }),
            (None, None) => Ok(lock),
        }
    }

    /// What is locked.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Base(_) => Kind::Base,
            Self::Git(_) => Kind::Git,
            Self::Image(_) => Kind::Image,
            Self::Network(_) => Kind::Network,
            Self::Url(_) => Kind::Url,
            Self::Tool(_) => Kind::Tool,
        }
    }

    /// The canonical text: equal locks give equal bytes, whatever order their lists had.
    pub fn to_text(&self) -> String {
        let mut sorted = self.clone();
        sorted.sort();
        let kind = sorted.kind();
        match &sorted {
            Self::Base(lock) => text(kind, lock),
            Self::Git(lock) => text(kind, lock),
            Self::Image(lock) => text(kind, lock),
            Self::Network(lock) => text(kind, lock),
            Self::Url(lock) => text(kind, lock),
            Self::Tool(lock) => text(kind, lock),
        }
    }

    fn sort(&mut self) {
        match self {
            Self::Base(lock) => lock.sort(),
            Self::Network(lock) => lock.sort(),
            Self::Tool(lock) => lock.sort(),
            Self::Git(_) | Self::Image(_) | Self::Url(_) => {}
        }
    }
}

/// The fields of one kind; the head's are taken out first, because flattening would lose the spans.
fn fields<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, LockError> {
    let mut table =
        toml::de::DeTable::parse(text).map_err(|error| LockError::syntax(file, text, &error))?;
    for head in ["schema", "kind"] {
        table.get_mut().remove(head);
    }
    T::deserialize(toml::de::Deserializer::from(table))
        .map_err(|error| LockError::syntax(file, text, &error))
}

fn text<T: Serialize>(kind: Kind, lock: &T) -> String {
    let document = Document {
        schema: SCHEMA,
        kind,
        lock,
    };
    // Strings, numbers and lists of tables that come last: TOML can write all of it.
    let body = toml::to_string(&document).unwrap_or_default();
    format!("{NOTE}{body}")
}

macro_rules! from_lock {
    ($($variant:ident $lock:ident),*) => {$(
        impl From<$lock> for Lock {
            fn from(lock: $lock) -> Self {
                Self::$variant(lock)
            }
        }

        impl $lock {
            /// Reads a lock of this kind. `file` only names it in errors.
            pub fn parse(file: &str, text: &str) -> Result<Self, LockError> {
                match Lock::parse(file, text)? {
                    Lock::$variant(lock) => Ok(lock),
                    other => Err(LockError::Kind {
                        file: file.to_owned(),
                        found: other.kind(),
                        wanted: Kind::$variant,
                    }),
                }
            }

            /// The canonical text.
            pub fn to_text(&self) -> String {
                Lock::from(self.clone()).to_text()
            }
        }
    )*};
}

from_lock!(Base BaseLock, Git GitLock, Image ImageLock, Network NetworkLock, Url UrlLock, Tool ToolLock);
