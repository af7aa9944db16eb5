//! Whether there is a program to start, looked up as execvp(3) does it. Runtimes tell of a missing one in words
//! alone, and some make a working folder that is missing.

use std::path::Path;

use rustix::fs::FileType;

use crate::mounts::inside;
use crate::protocol::{Failure, Specification};

/// Where a program is looked for if the action has no PATH (execvp(3)).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// That the program and the folder that it starts in are below `root`; if not, what cannot be started.
pub(super) fn find(specification: &Specification, root: &Path) -> Result<(), Failure> {
    let missing = |what: &str| Failure::new(what, libc::ENOENT);
    let cwd = &specification.cwd;
    if kind(root, cwd).is_none_or(|(kind, _)| kind != FileType::Directory) {
        return Err(missing(&format!("enter {cwd}")));
    }
    let program = specification
        .argv
        .first()
        .ok_or_else(|| missing("nothing"))?;
    let path = specification
        .env
        .get("PATH")
        .map_or(DEFAULT_PATH, String::as_str);
    let candidates: Vec<String> = if program.starts_with('/') {
        vec![program.clone()]
    } else if program.contains('/') {
        vec![format!("{cwd}/{program}")]
    } else {
        path.split(':')
            .map(|folder| format!("{folder}/{program}"))
            .collect()
    };
    let mut found = candidates
        .iter()
        .filter_map(|path| kind(root, path))
        .peekable();
    if found.peek().is_none() {
        return Err(missing(program));
    }
    if found.any(|(kind, mode)| kind == FileType::RegularFile && mode & 0o111 != 0) {
        Ok(())
    } else {
        Err(Failure::new(program.clone(), libc::EACCES))
    }
}

/// Type and permissions of what is at `path` in the root.
fn kind(root: &Path, path: &str) -> Option<(FileType, u32)> {
    let stat = rustix::fs::fstat(inside(root, path).ok()?).ok()?;
    Some((FileType::from_raw_mode(stat.st_mode), stat.st_mode & 0o7777))
}
