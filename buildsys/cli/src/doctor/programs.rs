//! The programs that tbuild calls.

use super::{Finding, find_program};

/// Program, Debian package, who needs it.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("git", "git", "git sources and ADD of repositories"),
    (
        "gpgv",
        "gpgv",
        "bases that are built from a distribution's packages",
    ),
    (
        "setpriv",
        "util-linux",
        "releases and charts: helm is started by it",
    ),
    ("ip", "iproute2", "tbuild node"),
    ("crun", "crun", "--executor crun"),
];

/// What is not there is a warning: none of them is needed by all.
pub fn all() -> Vec<Finding> {
    let look = |(name, package, user): &(&str, &str, &str)| match find_program(name) {
        Some(path) => Finding::ok(name, path.display().to_string()),
        None => Finding::warn(
            name,
            format!("not in PATH: {user} will not work"),
            format!("install {package}"),
        ),
    };
    PROGRAMS.iter().map(look).collect()
}
