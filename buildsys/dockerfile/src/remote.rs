//! Sources of ADD and of named contexts that are not files: URLs and git repositories.
//!
//! Source: Dockerfile reference, "ADD", and Docker's "Build context", "URL queries" and "URL fragments".

use crate::values::clean_path;

/// A source that is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// One file over HTTP.
    Http {
        /// The URL as written.
        url: String,
        /// What the file is called: the last part of the URL's path.
        name: String,
    },
    /// A revision of a git repository.
    Git(GitRemote),
}

/// A revision of a git repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GitRemote {
    /// The repository: what git clones.
    pub url: String,
    /// Branch, tag or commit; none is the repository's own choice.
    pub revision: Option<String>,
    /// The folder of it that is wanted, without leading slash; empty: all of it.
    pub folder: String,
    /// The commit that the revision must be, or its beginning.
    pub checksum: Option<String>,
    /// Whether `.git` is kept, where the URL says.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are left out.
    pub skip_submodules: bool,
}

/// Why a remote source cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {why}")]
pub struct RemoteError {
    /// The source.
    pub url: String,
    /// What is wrong.
    pub why: String,
}

impl Remote {
    /// Reads a source; none if it is a path.
    pub fn parse(text: &str) -> Result<Option<Self>, RemoteError> {
        let error = |why: String| RemoteError {
            url: text.to_owned(),
            why,
        };
        if text.starts_with("./") || text.starts_with("../") {
            return Ok(None);
        }
        let (rest, fragment) = match text.split_once('#') {
            Some((rest, fragment)) => (rest, fragment),
            None => (text, ""),
        };
        let (address, query) = match rest.split_once('?') {
            Some((address, query)) => (address, query),
            None => (rest, ""),
        };
        let http = has_scheme(text, "http") || has_scheme(text, "https");
        let git = if http {
            path_of(address).strip_suffix(".git").is_some()
        } else {
            has_scheme(text, "git") || has_scheme(text, "ssh") || is_scp(address)
        };
        if git {
            return git_remote(address, query, fragment)
                .map(|git| Some(Self::Git(git)))
                .map_err(error);
        }
        if !http {
            return Ok(None);
        }
        let name = path_of(address).rsplit('/').find(|name| !name.is_empty());
        let name = name.map_or_else(|| "__unnamed__".to_owned(), decode);
        if name.contains(['/', '\0']) || name == "." || name == ".." {
            return Err(error("it ends in no file name".to_owned()));
        }
        Ok(Some(Self::Http {
            url: text.to_owned(),
            name,
        }))
    }
}

fn has_scheme(text: &str, scheme: &str) -> bool {
    text.split_once("://")
        .is_some_and(|(found, _)| found.eq_ignore_ascii_case(scheme))
}

/// The path of a URL without query and fragment.
fn path_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.find('/').map_or("", |slash| &rest[slash..])
}

/// `user@host:path`, as scp(1) and git take it.
fn is_scp(address: &str) -> bool {
    let Some((user, rest)) = address.split_once('@') else {
        return false;
    };
    let Some((host, _)) = rest.split_once(':') else {
        return false;
    };
    let plain = |text: &str, more: &[char]| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || more.contains(&c))
    };
    plain(user, &['_']) && plain(host, &['.'])
}

fn git_remote(address: &str, query: &str, fragment: &str) -> Result<GitRemote, String> {
    let (revision, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
    let mut git = GitRemote {
        url: address.to_owned(),
        revision: Some(decode(revision)).filter(|revision| !revision.is_empty()),
        folder: decode(folder),
        ..GitRemote::default()
    };
    let (mut tag, mut branch) = (None, None);
    let mut seen: Vec<String> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (decode(key), decode(&value.replace('+', " ")));
        if seen.contains(&key) {
            return Err(format!("{key} is given twice"));
        }
        let switch = || match value.as_str() {
            "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(format!("{key} is true or false, not {value:?}")),
        };
        match key.as_str() {
            "submodules" => git.skip_submodules = !switch()?,
            "keep-git-dir" => git.keep_git_dir = Some(switch()?),
            // How the commit is fetched does not change what it holds.
            "fetch-by-commit" => {
                switch()?;
            }
            _ if value.is_empty() => return Err(format!("{key} has no value")),
            "ref" => same(&mut git.revision, value, "revision")?,
            "tag" => tag = Some(value),
            "branch" => branch = Some(value),
            "subdir" if git.folder.is_empty() => git.folder = value,
            "subdir" if git.folder != value => {
                return Err(format!("two folders: {} and {value}", git.folder));
            }
            "subdir" => {}
            "checksum" | "commit" => git.checksum = Some(value),
            // Times are canonical either way.
            "mtime" if value == "checkout" || value == "commit" => {}
            "mtime" => return Err(format!("mtime is checkout or commit, not {value:?}")),
            _ => return Err(format!("there is no query {key}")),
        }
        seen.push(key);
    }
    if tag.is_some() && branch.is_some() {
        return Err("a branch and a tag at once".to_owned());
    }
    for (name, prefix) in [(tag, "refs/tags/"), (branch, "refs/heads/")] {
        let Some(name) = name else { continue };
        let whole = if name.starts_with(prefix) {
            name
        } else {
            format!("{prefix}{name}")
        };
        same(&mut git.revision, whole, "revision")?;
    }
    git.folder = clean_path("/", &git.folder).split_off(1);
    Ok(git)
}

/// Sets what must not be set to something else already.
fn same(place: &mut Option<String>, value: String, what: &str) -> Result<(), String> {
    match place {
        Some(known) if *known != value => Err(format!("two {what}s: {known} and {value}")),
        _ => {
            *place = Some(value);
            Ok(())
        }
    }
}

/// Percent-decoding (RFC 3986, 2.1). What is no escape stays, and so does what would not be UTF-8.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digit = |at: usize| tail.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (*first, digit(0), digit(1)) {
            bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}
