//! References: which image, where. Source: OCI distribution spec, "Pulling manifests" (names and tags), and
//! Docker's rules for what a short name means.

use std::fmt;
use std::str::FromStr;

use tbuild_digest::BlobDigest;

/// What a short name is looked up in.
const DEFAULT_REGISTRY: &str = "docker.io";

/// `registry/repository[:tag][@digest]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// `host[:port]`.
    pub registry: String,
    /// Lower-case path.
    pub repository: String,
    /// The tag.
    pub tag: Option<String>,
    /// The digest; where both are given, it counts.
    pub digest: Option<BlobDigest>,
}

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no image reference: {why}")]
pub struct ReferenceError {
    /// The text.
    text: String,
    /// What is wrong.
    why: &'static str,
}

impl Reference {
    /// The tag or digest that a manifest is asked for by; `latest` where neither is given.
    pub fn selector(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// The same image by digest.
    #[must_use]
    pub fn with_digest(&self, digest: BlobDigest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let wrong = |why| ReferenceError {
            text: text.to_owned(),
            why,
        };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (
                name,
                Some(
                    digest
                        .parse()
                        .map_err(|_| wrong("the digest is not sha256 and 64 hex digits"))?,
                ),
            ),
            None => (text, None),
        };
        // A colon after the last slash begins a tag; before it, a port.
        let slash = name.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match name[slash..].find(':') {
            Some(at) => (&name[..slash + at], Some(&name[slash + at + 1..])),
            None => (name, None),
        };
        let (registry, repository) = match name.split_once('/') {
            Some((host, rest))
                if host.contains(['.', ':']) || host == "localhost" || host.starts_with('[') =>
            {
                (host.to_owned(), rest.to_owned())
            }
            _ if name.contains('/') => (DEFAULT_REGISTRY.to_owned(), name.to_owned()),
            _ => (DEFAULT_REGISTRY.to_owned(), format!("library/{name}")),
        };
        if name.is_empty() || !repository.split('/').all(is_component) {
            let upper = repository.chars().any(char::is_uppercase);
            return Err(wrong(if upper {
                "the repository must be lower case"
            } else {
                "the repository is malformed"
            }));
        }
        if repository.len() + registry.len() > 255 {
            return Err(wrong("it is longer than 255 bytes"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong("the tag is malformed"));
        }
        Ok(Self {
            registry,
            repository,
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(part: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = bytes.first().is_some_and(|byte| word(*byte))
        && bytes.last().is_some_and(|byte| word(*byte));
    let separators =
        part.split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    ends && separators.into_iter().all(|separator| {
        matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
    })
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag
            .bytes()
            .all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest
            .iter()
            .try_for_each(|digest| write!(f, "@{digest}"))
    }
}
