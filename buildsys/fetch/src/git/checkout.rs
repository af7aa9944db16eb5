//! A commit's files in a folder.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::GitError;
use super::command::{Repository, succeeded};

/// Writes the files of `commit` into `folder`, by an index of their own, so that the repository stays as it is.
pub(super) fn write(
    repository: &Repository<'_>,
    commit: &str,
    folder: &Path,
) -> Result<(), GitError> {
    fs::create_dir_all(folder).map_err(GitError::io(format!("make {}", folder.display())))?;
    let index = tempfile::tempdir_in(&repository.folder)
        .map_err(GitError::io("make a folder for an index"))?;
    let index_file = index.path().join("index");
    let env = [("GIT_INDEX_FILE", index_file.as_os_str())];
    let output = repository.plain_git(&["read-tree", commit].map(OsStr::new), &env)?;
    succeeded("read-tree", &output)?;
    let mut work_tree = OsStr::new("--work-tree=").to_owned();
    work_tree.push(folder);
    let settings = [
        "-c",
        "core.autocrlf=false",
        "-c",
        "core.bare=false",
        "-c",
        "core.symlinks=true",
        "-c",
        "core.fileMode=true",
    ];
    let mut arguments: Vec<&OsStr> = settings.map(OsStr::new).to_vec();
    arguments.push(&work_tree);
    arguments.extend(["checkout-index", "--all", "--force", "--quiet"].map(OsStr::new));
    let output = repository.plain_git(&arguments, &env)?;
    succeeded("checkout-index", &output)?;
    Ok(())
}

/// Sets permissions that do not depend on the umask: git records no more than whether a file is a program.
pub(super) fn normalise(folder: &Path) -> Result<(), GitError> {
    let fail = |path: &Path| GitError::io(format!("set the permissions of {}", path.display()));
    let set = |path: &Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(fail(path))
    };
    set(folder, 0o755)?;
    for entry in fs::read_dir(folder).map_err(fail(folder))? {
        let entry = entry.map_err(fail(folder))?;
        let path = entry.path();
        let meta = entry.metadata().map_err(fail(&path))?;
        if meta.is_dir() {
            normalise(&path)?;
        } else if meta.is_file() {
            let program = meta.permissions().mode() & 0o100 != 0;
            set(&path, if program { 0o755 } else { 0o644 })?;
        }
    }
    Ok(())
}
