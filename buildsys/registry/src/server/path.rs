//! What a path asks for. Names hold slashes, so paths are read from their end.

use tbuild_oci::Reference;

use super::error::ApiError;
use http::StatusCode;

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// `end-1`: whether this is a registry.
    Base,
    /// Docker's list of repositories.
    Catalog,
    /// `end-2`, `end-10`: a blob of a repository, by digest.
    Blob(String, String),
    /// `end-4`, `end-11`: where uploads begin.
    Uploads(String),
    /// `end-5`, `end-6`, `end-13`: an upload under way.
    Upload(String, String),
    /// `end-3`, `end-7`, `end-9`: a manifest, by tag or digest.
    Manifest(String, String),
    /// `end-8`: tags.
    Tags(String),
    /// `end-12`: what refers to a digest.
    Referrers(String, String),
}

impl Endpoint {
    /// Reads a path; none where no endpoint is.
    pub(super) fn parse(path: &str) -> Result<Option<Self>, ApiError> {
        let Some(rest) = path.strip_prefix("/v2") else {
            return Ok(None);
        };
        if rest.is_empty() || rest == "/" {
            return Ok(Some(Self::Base));
        }
        if rest == "/_catalog" {
            return Ok(Some(Self::Catalog));
        }
        let Some(rest) = rest.strip_prefix('/') else {
            return Ok(None);
        };
        let parts: Vec<&str> = rest.split('/').collect();
        let name = |count: usize| checked(&parts[..count]);
        let count = parts.len();
        Ok(Some(match parts.as_slice() {
            [_, .., "tags", "list"] => Self::Tags(name(count - 2)?),
            [_, .., "blobs", "uploads"] => Self::Uploads(name(count - 2)?),
            [_, .., "blobs", "uploads", ""] => Self::Uploads(name(count - 3)?),
            [_, .., "blobs", "uploads", id] => Self::Upload(name(count - 3)?, (*id).to_owned()),
            [_, .., "blobs", digest] => Self::Blob(name(count - 2)?, (*digest).to_owned()),
            [_, .., "manifests", reference] => {
                Self::Manifest(name(count - 2)?, (*reference).to_owned())
            }
            [_, .., "referrers", digest] => Self::Referrers(name(count - 2)?, (*digest).to_owned()),
            _ => return Ok(None),
        }))
    }
}

/// A repository's name. Source: the specification's "Pulling manifests".
fn checked(parts: &[&str]) -> Result<String, ApiError> {
    let name = parts.join("/");
    // Repository rules are the reference's; the host only makes it one.
    let whole = format!("registry.test/{name}").parse::<Reference>();
    match whole {
        Ok(reference) if reference.repository == name => Ok(name),
        _ => {
            let message = format!("{name:?} is no repository name");
            Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "NAME_INVALID",
                message,
            ))
        }
    }
}

/// Whether a text is a tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub(super) fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text
            .bytes()
            .all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

/// The values of a query, decoded.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what follows the question mark.
    pub(super) fn parse(query: Option<&str>) -> Self {
        let url = format!("http://registry.test/?{}", query.unwrap_or_default());
        let pairs = reqwest::Url::parse(&url).map(|url| url.query_pairs().into_owned().collect());
        Self(pairs.unwrap_or_default())
    }

    /// The first value of `name`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_look_like_endpoints() {
        let parse = |path| Endpoint::parse(path).unwrap();
        assert_eq!(
            parse("/v2/blobs/uploads/manifests/v1"),
            Some(Endpoint::Manifest("blobs/uploads".into(), "v1".into()))
        );
        assert_eq!(
            parse("/v2/a/tags/tags/list"),
            Some(Endpoint::Tags("a/tags".into()))
        );
        assert_eq!(
            parse("/v2/a/blobs/uploads/"),
            Some(Endpoint::Uploads("a".into()))
        );
        assert_eq!(parse("/v2/tags/list"), None);
        assert_eq!(parse("/v1/a/tags/list"), None);
    }

    #[test]
    fn bad_names_are_refused() {
        for path in [
            "/v2/A/tags/list",
            "/v2/a//b/tags/list",
            "/v2/../tags/list",
            "/v2/a:b/tags/list",
        ] {
            assert!(Endpoint::parse(path).is_err(), "{path} was taken");
        }
    }
}
