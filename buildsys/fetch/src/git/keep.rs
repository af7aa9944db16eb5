//! `.git` of a checkout: one commit without its history, the same bytes each time.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use super::GitError;
use super::command::{Repository, succeeded};

/// Writes `.git` into `folder`, which holds the files of `commit` from the repository at `url`: detached, or on
/// the branch or tag that `rev` names in full.
pub(super) fn write(
    repository: &Repository<'_>,
    url: &str,
    rev: &str,
    commit: &str,
    folder: &Path,
) -> Result<(), GitError> {
    let git = folder.join(".git");
    let fail = |what: &str| GitError::io(format!("write {what} of a checkout"));
    for made in [
        "objects/pack",
        "objects/info",
        "refs/heads",
        "refs/tags",
        "info",
    ] {
        fs::create_dir_all(git.join(made)).map_err(fail(made))?;
    }
    let put = |name: &str, text: String| fs::write(git.join(name), text).map_err(fail(name));
    put("HEAD", format!("{commit}\n"))?;
    let format = if commit.len() == 64 {
        "\trepositoryformatversion = 1\n\tfilemode = true\n\tbare = false\n[extensions]\n\tobjectformat = sha256\n"
    } else {
        "\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n"
    };
    let remote = format!(
        "[remote \"origin\"]\n\turl = {}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n",
        quoted(&crate::http::redact(url))
    );
    put("config", format!("[core]\n{format}{remote}"))?;
    for kind in ["refs/heads/", "refs/tags/"] {
        if let Some(name) = rev.strip_prefix(kind) {
            let path = git.join(kind).join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(fail(rev))?;
            }
            fs::write(path, format!("{commit}\n")).map_err(fail(rev))?;
        }
    }
    let header = repository.git(&["cat-file", "commit", commit])?;
    let header = succeeded("cat-file", &header)?;
    // What its parents are is in the commit; that they are not here has to be said.
    let has_parents = header
        .split(|byte| *byte == b'\n')
        .take_while(|line| !line.is_empty())
        .any(|line| line.starts_with(b"parent "));
    if has_parents {
        put("shallow", format!("{commit}\n"))?;
    }
    objects(repository, commit, &git)?;
    index(repository, commit, &git)
}

/// All that the commit needs in one pack: no deltas and one thread, so that nothing is left to chance.
fn objects(repository: &Repository<'_>, commit: &str, git: &Path) -> Result<(), GitError> {
    let tree = repository.git(&["ls-tree", "-r", "-t", "-z", "--full-tree", commit])?;
    let tree = succeeded("ls-tree", &tree)?;
    let root = repository.git(&["rev-parse", "--verify", &format!("{commit}^{{tree}}")])?;
    let root = String::from_utf8_lossy(succeeded("rev-parse", &root)?)
        .trim()
        .to_owned();
    let mut ids = vec![commit.to_owned(), root];
    for entry in tree.split(|byte| *byte == 0) {
        // mode, type, id, tab, path
        let entry = entry
            .split(|byte| *byte == b'\t')
            .next()
            .unwrap_or_default();
        let entry = String::from_utf8_lossy(entry);
        let mut words = entry.split(' ').skip(1);
        if let (Some("blob" | "tree"), Some(id)) = (words.next(), words.next()) {
            ids.push(id.to_owned());
        }
    }
    ids.sort();
    ids.dedup();
    let base = git.join("objects/pack/pack").into_os_string();
    let arguments: Vec<&OsStr> = [
        "-c",
        "pack.compression=6",
        "-c",
        "pack.writeReverseIndex=false",
        "pack-objects",
        "--quiet",
        "--threads=1",
        "--window=0",
        "--no-reuse-delta",
        "--no-reuse-object",
    ]
    .map(OsStr::new)
    .into_iter()
    .chain([base.as_os_str()])
    .collect();
    let output = repository.plain_git_with(&arguments, &[], (ids.join("\n") + "\n").as_bytes())?;
    succeeded("pack-objects", &output)?;
    Ok(())
}

/// An index without what this machine says of the files: git looks at each once.
fn index(repository: &Repository<'_>, commit: &str, git: &Path) -> Result<(), GitError> {
    let file = git.join("index");
    let env = [("GIT_INDEX_FILE", file.as_os_str())];
    let output = repository.plain_git(&["read-tree", commit].map(OsStr::new), &env)?;
    succeeded("read-tree", &output)?;
    Ok(())
}

/// A value of a configuration file (git-config(1), "Syntax").
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
