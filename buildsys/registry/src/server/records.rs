//! What the store remembers of repositories: tags, manifests, referrers. Every method may block.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tbuild_digest::BlobDigest;
use tbuild_oci::Descriptor;
use tbuild_store::{Store, StoreError};

/// The store's space for tags: `repository:tag` to a [`Record`] in JSON.
pub const TAGS: &str = "tags";
/// The store's space for manifests that a repository has: `repository@digest` to a [`Record`] in JSON.
pub const MANIFESTS: &str = "manifests";
/// The store's space for manifests with a subject: `repository@subject@digest` to a descriptor in JSON.
pub const REFERRERS: &str = "referrers";

/// A manifest in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub digest: BlobDigest,
    pub media_type: String,
    pub size: u64,
}

/// The store's memory of repositories.
#[derive(Debug, Clone)]
pub(super) struct Records(pub Arc<dyn Store>);

impl Records {
    fn get<T: DeserializeOwned>(&self, space: &str, name: &str) -> Result<Option<T>, StoreError> {
        let bytes = self.0.reference(space, name)?;
        // What cannot be read is as good as gone: it is written again by the next push.
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn put<T: Serialize>(&self, space: &str, name: &str, value: &T) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(value)
            .map_err(|error| StoreError::io(format!("encode {space} {name}"), error.into()))?;
        self.0.set_reference(space, name, Some(&bytes))
    }

    /// The manifest that a tag names.
    pub(super) fn tag(&self, name: &str, tag: &str) -> Result<Option<Record>, StoreError> {
        self.get(TAGS, &format!("{name}:{tag}"))
    }

    pub(super) fn set_tag(&self, name: &str, tag: &str, record: &Record) -> Result<(), StoreError> {
        self.put(TAGS, &format!("{name}:{tag}"), record)
    }

    /// Forgets a tag; false if it is not there.
    pub(super) fn remove_tag(&self, name: &str, tag: &str) -> Result<bool, StoreError> {
        let there = self.tag(name, tag)?.is_some();
        self.0.set_reference(TAGS, &format!("{name}:{tag}"), None)?;
        Ok(there)
    }

    /// A manifest that a repository has.
    pub(super) fn manifest(
        &self,
        name: &str,
        digest: &BlobDigest,
    ) -> Result<Option<Record>, StoreError> {
        self.get(MANIFESTS, &format!("{name}@{digest}"))
    }

    pub(super) fn set_manifest(&self, name: &str, record: &Record) -> Result<(), StoreError> {
        let key = format!("{name}@{}", record.digest);
        if self.get::<Record>(MANIFESTS, &key)?.as_ref() == Some(record) {
            return Ok(());
        }
        self.put(MANIFESTS, &key, record)
    }

    /// Forgets a manifest, the tags that name it and what it refers to; false if it is not there.
    pub(super) fn remove_manifest(
        &self,
        name: &str,
        digest: &BlobDigest,
    ) -> Result<bool, StoreError> {
        if self.manifest(name, digest)?.is_none() {
            return Ok(false);
        }
        for tag in self.tags(name)? {
            if self
                .tag(name, &tag)?
                .is_some_and(|record| record.digest == *digest)
            {
                self.remove_tag(name, &tag)?;
            }
        }
        for key in self.0.references(REFERRERS)? {
            let end = format!("@{digest}");
            if key.ends_with(&end) && key.split('@').next() == Some(name) {
                self.0.set_reference(REFERRERS, &key, None)?;
            }
        }
        let key = format!("{name}@{digest}");
        self.0.set_reference(MANIFESTS, &key, None)?;
        Ok(true)
    }

    /// The tags of a repository, sorted.
    pub(super) fn tags(&self, name: &str) -> Result<Vec<String>, StoreError> {
        let names = self.0.references(TAGS)?;
        let own = names.iter().filter_map(|key| key.split_once(':'));
        let mut tags: Vec<String> = own
            .filter(|(repository, _)| *repository == name)
            .map(|(_, tag)| tag.to_owned())
            .collect();
        tags.sort();
        Ok(tags)
    }

    /// Every repository that has a manifest, sorted.
    pub(super) fn repositories(&self) -> Result<Vec<String>, StoreError> {
        let names = self.0.references(MANIFESTS)?;
        let all: BTreeSet<&str> = names
            .iter()
            .filter_map(|key| key.split('@').next())
            .collect();
        Ok(all.into_iter().map(str::to_owned).collect())
    }

    /// Remembers that `referrer` refers to `subject`.
    pub(super) fn add_referrer(
        &self,
        name: &str,
        subject: &BlobDigest,
        referrer: &Descriptor,
    ) -> Result<(), StoreError> {
        let key = format!("{name}@{subject}@{}", referrer.digest);
        self.put(REFERRERS, &key, referrer)
    }

    /// What refers to `subject`, by digest.
    pub(super) fn referrers(
        &self,
        name: &str,
        subject: &BlobDigest,
    ) -> Result<Vec<Descriptor>, StoreError> {
        let begin = format!("{name}@{subject}@");
        let mut found = Vec::new();
        for key in self.0.references(REFERRERS)? {
            if key.starts_with(&begin) {
                found.extend(self.get::<Descriptor>(REFERRERS, &key)?);
            }
        }
        Ok(found)
    }
}
