//! What `tbuild doctor` looks at: one file a subject. Each check looks at the real thing: a step is run, a file
//! is written, a group is made.

pub mod cgroups;
pub mod machine;
pub mod programs;
pub mod sandbox;
pub mod store;

use serde::Serialize;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Something that not everybody needs is not there.
    Warn,
    /// tbuild does not work without it.
    Missing,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, a word or two.
    pub check: String,
    /// How it is.
    pub level: Level,
    /// What was found.
    pub text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(check: &str, text: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            level: Level::Ok,
            text: text.into(),
            remedy: None,
        }
    }

    /// Something is not there that only some need.
    pub fn warn(check: &str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level: Level::Warn,
            remedy: Some(remedy.into()),
            ..Self::ok(check, text)
        }
    }

    /// Something is not there that all need.
    pub fn missing(check: &str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level: Level::Missing,
            remedy: Some(remedy.into()),
            ..Self::ok(check, text)
        }
    }
}

/// The folder of PATH that has a program.
pub fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| {
            rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file()
        })
}
