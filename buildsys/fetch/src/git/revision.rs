//! From a revision as a user writes it to a commit whose objects are here.

use super::GitError;
use super::command::{Repository, words};

/// Brings the commit that `rev` names into `repository` and returns its full id.
pub(super) fn fetch(repository: &Repository<'_>, url: &str, rev: &str) -> Result<String, GitError> {
    let none = || GitError::NoRevision {
        url: url.to_owned(),
        rev: rev.to_owned(),
    };
    if rev.is_empty()
        || rev.starts_with('-')
        || rev.contains(|c: char| c.is_control() || " ~^:?*[\\".contains(c))
    {
        return Err(none());
    }
    if is_commit_id(rev) {
        let rev = rev.to_ascii_lowercase();
        if !has(repository, &rev)? {
            single(repository, url, &rev)?;
        }
        return if has(repository, &rev)? {
            Ok(rev)
        } else {
            Err(none())
        };
    }
    if let Some(id) = advertised(repository, url, rev)? {
        if !has(repository, &id)? {
            single(repository, url, &id)?;
        }
        // A tag may be an object of its own.
        return peel(repository, &id)?.ok_or_else(none);
    }
    if rev.len() < 4 || !rev.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(none());
    }
    everything(repository, url)?;
    let output = repository.git(&[
        "rev-parse",
        "--quiet",
        "--verify",
        &format!("{rev}^{{commit}}"),
    ])?;
    match std::str::from_utf8(&output.stdout).map(str::trim) {
        Ok(commit) if output.status.success() && is_commit_id(commit) => Ok(commit.to_owned()),
        _ if words(&output).contains("ambiguous") => Err(GitError::Ambiguous {
            url: url.to_owned(),
            rev: rev.to_owned(),
        }),
        _ => Err(none()),
    }
}

fn is_commit_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a commit and all that it needs is here. An interrupted fetch leaves no such thing behind: git makes
/// objects visible when a pack is whole.
fn has(repository: &Repository<'_>, id: &str) -> Result<bool, GitError> {
    Ok(peel(repository, id)?.is_some())
}

fn peel(repository: &Repository<'_>, id: &str) -> Result<Option<String>, GitError> {
    let output = repository.git(&[
        "rev-parse",
        "--quiet",
        "--verify",
        &format!("{id}^{{commit}}"),
    ])?;
    let commit = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(Some(commit).filter(|commit| output.status.success() && is_commit_id(commit)))
}

/// The commit that the server gives for a name: of a tag that is an object of its own, what it is a tag of.
pub(super) fn named(
    repository: &Repository<'_>,
    url: &str,
    rev: &str,
) -> Result<Option<String>, GitError> {
    if rev.starts_with('-') || is_commit_id(rev) {
        return Ok(None);
    }
    let peeled = advertised(repository, url, &format!("{rev}^{{}}"))?;
    match peeled {
        Some(commit) => Ok(Some(commit)),
        None => advertised(repository, url, rev),
    }
}

/// The id that the server gives for a name, looked up as git does: as it stands, as a tag, as a branch
/// (gitrevisions(7)).
fn advertised(
    repository: &Repository<'_>,
    url: &str,
    rev: &str,
) -> Result<Option<String>, GitError> {
    let output = repository.git(&["ls-remote", "--quiet", "--", url])?;
    if !output.status.success() {
        return Err(GitError::Fetch {
            url: url.to_owned(),
            words: words(&output),
        });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let find = |name: &str| {
        text.lines()
            .find_map(|line| {
                line.split_once('\t')
                    .filter(|(_, reference)| *reference == name)
            })
            .map(|(id, _)| id.to_owned())
    };
    let names = [
        rev.to_owned(),
        format!("refs/{rev}"),
        format!("refs/tags/{rev}"),
        format!("refs/heads/{rev}"),
    ];
    // Other full references (refs/pull/1/head) are found as they stand.
    Ok(names.iter().find_map(|name| find(name)))
}

/// Fetches one commit without its history; where the server does not give commits by id, everything.
fn single(repository: &Repository<'_>, url: &str, id: &str) -> Result<(), GitError> {
    let output = repository.git(&[
        "fetch",
        "--quiet",
        "--no-tags",
        "--depth=1",
        "--no-write-fetch-head",
        "--",
        url,
        id,
    ])?;
    if output.status.success() {
        return Ok(());
    }
    everything(repository, url)
}

/// Fetches every branch and tag with its history.
fn everything(repository: &Repository<'_>, url: &str) -> Result<(), GitError> {
    let shallow = repository.folder.join("shallow").exists();
    let mut arguments = vec![
        "fetch",
        "--quiet",
        "--no-tags",
        "--force",
        "--no-write-fetch-head",
    ];
    // Only what was cut off before needs this, and git refuses it where nothing was.
    arguments.extend(shallow.then_some("--unshallow"));
    arguments.extend([
        "--",
        url,
        "+refs/heads/*:refs/heads/*",
        "+refs/tags/*:refs/tags/*",
    ]);
    let output = repository.git(&arguments)?;
    if output.status.success() {
        Ok(())
    } else {
        Err(GitError::Fetch {
            url: url.to_owned(),
            words: words(&output),
        })
    }
}
