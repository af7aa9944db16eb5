//! The submodules of a commit (gitmodules(5)).

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::GitError;
use super::command::{Repository, succeeded};

/// Another repository's commit inside a tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Submodule {
    /// Its folder.
    pub path: PathBuf,
    /// Its repository.
    pub url: String,
    /// Its commit.
    pub commit: String,
}

/// The submodules that the tree of `commit` holds. `url` is where the tree itself comes from.
pub(super) fn list(
    repository: &Repository<'_>,
    url: &str,
    commit: &str,
) -> Result<Vec<Submodule>, GitError> {
    let output = repository.git(&["ls-tree", "-r", "-z", "--full-tree", commit])?;
    let tree = String::from_utf8_lossy(succeeded("ls-tree", &output)?).into_owned();
    // mode, type, id, tab, path
    let links: Vec<(&str, &str)> = tree
        .split('\0')
        .filter_map(|entry| entry.strip_prefix("160000 commit ")?.split_once('\t'))
        .collect();
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let urls = urls(repository, commit)?;
    let submodule = |(id, path): (&str, &str)| {
        let named = urls.get(path).ok_or_else(|| GitError::Submodule {
            url: url.to_owned(),
            path: path.to_owned(),
        })?;
        Ok(Submodule {
            path: PathBuf::from(path),
            url: absolute(url, named),
            commit: id.to_owned(),
        })
    };
    links.into_iter().map(submodule).collect()
}

/// What .gitmodules says: folder -> URL.
fn urls(repository: &Repository<'_>, commit: &str) -> Result<BTreeMap<String, String>, GitError> {
    let blob = format!("--blob={commit}:.gitmodules");
    let output = repository.git(&["config", &blob, "--null", "--list"])?;
    let mut paths = BTreeMap::new();
    let mut urls = BTreeMap::new();
    // A commit without the file has no URLs; each submodule then says so.
    for entry in String::from_utf8_lossy(&output.stdout).split('\0') {
        let Some((key, value)) = entry.split_once('\n') else {
            continue;
        };
        let Some(key) = key.strip_prefix("submodule.") else {
            continue;
        };
        if let Some(name) = key.strip_suffix(".path") {
            paths.insert(name.to_owned(), value.to_owned());
        } else if let Some(name) = key.strip_suffix(".url") {
            urls.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok(paths
        .into_iter()
        .filter_map(|(name, path)| Some((path, urls.remove(&name)?)))
        .collect())
}

/// A URL that starts with ./ or ../ is relative to the repository's own (git-submodule(1), "add").
fn absolute(base: &str, url: &str) -> String {
    if !url.starts_with("./") && !url.starts_with("../") {
        return url.to_owned();
    }
    let mut base = base.trim_end_matches('/');
    let mut rest = url;
    loop {
        if let Some(next) = rest.strip_prefix("./") {
            rest = next;
        } else if let Some(next) = rest.strip_prefix("../") {
            rest = next;
            base = base.rfind(['/', ':']).map_or("", |at| &base[..at]);
        } else {
            return format!("{base}/{rest}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::absolute;

    #[test]
    fn relative_urls() {
        for (base, url, expected) in [
            (
                "https://example.com/a/b.git",
                "../c.git",
                "https://example.com/a/c.git",
            ),
            (
                "https://example.com/a/b.git/",
                "../../c",
                "https://example.com/c",
            ),
            ("/srv/b", "./c", "/srv/b/c"),
            (
                "https://example.com/a",
                "https://example.test/x",
                "https://example.test/x",
            ),
        ] {
            assert_eq!(absolute(base, url), expected);
        }
    }
}
