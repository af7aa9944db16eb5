//! Manifests and tags.

use http::{HeaderMap, Method};
use tbuild_digest::BlobDigest;
use tbuild_oci::{Descriptor, Reference, media_type};

use super::request::{Ask, Scope};
use super::{RegistryClient, RegistryError};

/// The largest manifest read, in bytes.
const LARGEST: u64 = 8 << 20;
/// The largest page of tags read, in bytes.
const LARGEST_PAGE: u64 = 8 << 20;
/// Pages of tags followed.
const MOST_PAGES: usize = 10_000;

/// The kinds of manifest that we read.
fn accept() -> String {
    [
        media_type::MANIFEST,
        media_type::INDEX,
        media_type::DOCKER_MANIFEST,
        media_type::DOCKER_INDEX,
    ]
    .join(", ")
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// What all kinds of manifest have.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed {
    media_type: String,
}

/// The media type that an answer has, without parameters.
fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = text(headers, "content-type")?;
    Some(value.split(';').next().unwrap_or(value).trim().to_owned())
}

/// The digest that an answer says its content has.
fn content_digest(headers: &HeaderMap) -> Option<BlobDigest> {
    text(headers, "docker-content-digest")?.parse().ok()
}

impl RegistryClient {
    /// The manifest that a reference names, without its bytes; none if the registry does not have it.
    pub async fn head_manifest(
        &self,
        reference: &Reference,
    ) -> Result<Option<Descriptor>, RegistryError> {
        self.find_manifest(reference, &Scope::pull(reference)).await
    }

    pub(super) async fn find_manifest(
        &self,
        reference: &Reference,
        scope: &Scope,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let base = self.endpoint(&reference.registry).base(self).await?;
        let path = format!(
            "{}/manifests/{}",
            reference.repository,
            reference.selector()
        );
        let ask = Ask::head(base.join(&path)?).header("accept", &accept());
        let answer = self.send(&base, scope, &ask).await?;
        if answer.status() == http::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = self
            .expect(&base, scope, answer, &reference.to_string())
            .await?;
        let headers = answer.headers();
        // A HEAD has no body, so its length is read from the header alone.
        let size = text(headers, "content-length").and_then(|size| size.parse().ok());
        let digest = content_digest(headers).or(reference.digest);
        match (content_type(headers), digest, size) {
            (Some(kind), Some(digest), Some(size)) => Ok(Some(Descriptor::new(kind, digest, size))),
            // The headers are optional in the specification: the bytes say it all.
            _ => match self.get_manifest(reference).await {
                Ok((descriptor, _)) => Ok(Some(descriptor)),
                Err(RegistryError::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// The manifest that a reference names: what it is, and its bytes. The digest is checked against the
    /// reference's, else against the one that the registry says.
    pub async fn get_manifest(
        &self,
        reference: &Reference,
    ) -> Result<(Descriptor, Vec<u8>), RegistryError> {
        let base = self.endpoint(&reference.registry).base(self).await?;
        let path = format!(
            "{}/manifests/{}",
            reference.repository,
            reference.selector()
        );
        let ask = Ask::get(base.join(&path)?).header("accept", &accept());
        let scope = Scope::pull(reference);
        let what = reference.to_string();
        let answer = self.send(&base, &scope, &ask).await?;
        let answer = self.expect(&base, &scope, answer, &what).await?;
        let kind = content_type(answer.headers());
        let promised = reference
            .digest
            .or_else(|| content_digest(answer.headers()));
        let bytes = self.read_small(&base, answer, &what, LARGEST).await?;
        let digest = BlobDigest::of(&bytes);
        if let Some(promised) = promised
            && promised != digest
        {
            return Err(RegistryError::digest(what, &promised, digest.0));
        }
        let own = serde_json::from_slice::<Typed>(&bytes).ok();
        let kind = own.map(|own| own.media_type).or(kind).unwrap_or_default();
        let descriptor = Descriptor::new(kind, digest, bytes.len() as u64);
        Ok((descriptor, bytes))
    }

    /// Sends a manifest whose blobs are there, under the reference's tag, or its digest if it has one.
    /// Returns what it is.
    pub async fn put_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<Descriptor, RegistryError> {
        let descriptor = Descriptor::new(media_type, BlobDigest::of(&bytes), bytes.len() as u64);
        if let Some(expected) = reference.digest
            && expected != descriptor.digest
        {
            let actual = descriptor.digest.0;
            return Err(RegistryError::digest(
                reference.to_string(),
                &expected,
                actual,
            ));
        }
        let base = self.endpoint(&reference.registry).base(self).await?;
        // A reference with a tag and the digest of these very bytes is pushed under its tag.
        let selector = match &reference.tag {
            Some(tag) => tag.clone(),
            None => reference.selector(),
        };
        let url = base.join(&format!("{}/manifests/{selector}", reference.repository))?;
        let ask = Ask::new(Method::PUT, url)
            .header("content-type", media_type)
            .bytes(bytes);
        let scope = Scope::push(reference);
        let what = reference.to_string();
        let answer = self.send(&base, &scope, &ask).await?;
        let answer = self.expect(&base, &scope, answer, &what).await?;
        match content_digest(answer.headers()) {
            Some(stored) if stored != descriptor.digest => {
                Err(RegistryError::digest(what, &descriptor.digest, stored.0))
            }
            _ => Ok(descriptor),
        }
    }

    /// The tags of a repository, as the registry sorts them.
    pub async fn tags(&self, repository: &Reference) -> Result<Vec<String>, RegistryError> {
        #[derive(serde::Deserialize)]
        struct Page {
            // Some say null where there is none.
            tags: Option<Vec<String>>,
        }
        let base = self.endpoint(&repository.registry).base(self).await?;
        let scope = Scope::pull(repository);
        let what = format!("the tags of {}", repository.repository);
        let wrong = |why: String| RegistryError::Protocol {
            registry: base.registry.clone(),
            why,
        };
        let mut url = base.join(&format!("{}/tags/list", repository.repository))?;
        let mut tags = Vec::new();
        for _ in 0..MOST_PAGES {
            let answer = self.send(&base, &scope, &Ask::get(url.clone())).await?;
            let answer = self.expect(&base, &scope, answer, &what).await?;
            let next = text(answer.headers(), "link").and_then(next_page);
            let next = next.and_then(|link| url.join(link).ok());
            let bytes = self.read_small(&base, answer, &what, LARGEST_PAGE).await?;
            let page: Page = serde_json::from_slice(&bytes)
                .map_err(|error| wrong(format!("{what} are malformed: {error}")))?;
            tags.extend(page.tags.unwrap_or_default());
            match next {
                Some(next) if base.owns(&next) => url = next,
                Some(_) => return Err(wrong(format!("{what} go on at another server"))),
                None => return Ok(tags),
            }
        }
        Err(wrong(format!("{what} have no end")))
    }
}

/// Where the next page is (RFC 8288).
fn next_page(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let next = parameters
        .split(';')
        .any(|parameter| matches!(parameter.trim(), "rel=\"next\"" | "rel=next"));
    next.then_some(target)
}

#[cfg(test)]
mod tests {
    use super::next_page;

    #[test]
    fn links() {
        assert_eq!(
            next_page("</v2/a/tags/list?n=1&last=b>; rel=\"next\""),
            Some("/v2/a/tags/list?n=1&last=b")
        );
        assert_eq!(next_page("</v2/>; rel=\"prev\""), None);
        assert_eq!(next_page("nonsense"), None);
    }
}
