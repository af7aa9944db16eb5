//! What helm recorded of a release, read from the labels of its Secrets alone: their contents, which hold every
//! value, never travel.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;

use crate::{Cluster, KubeError};

/// The label of a release that holds the key of its desired state.
pub(crate) const KEY: &str = "tbuild-key";

/// A release's newest revision (helm's storage driver "secret").
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ReleaseState {
    /// Number of the revision.
    pub revision: u32,
    /// helm's word: `deployed`, `failed`, `pending-install`, `pending-upgrade`, `pending-rollback`,
    /// `uninstalling`, `uninstalled`, `superseded`.
    pub status: String,
    /// When helm wrote it last, in seconds since 1970.
    pub modified: Option<u64>,
    /// The revision that is in place, if any: not the newest one while that is pending or failed.
    pub deployed: Option<u32>,
    /// The release's own labels (`helm --labels`), `tbuild-key` among them.
    pub labels: BTreeMap<String, String>,
}

impl ReleaseState {
    /// The key of the desired state that this revision was made from.
    pub fn key(&self) -> Option<&str> {
        self.labels.get(KEY).map(String::as_str)
    }

    /// Whether a helm is at it, or died at it.
    pub fn is_pending(&self) -> bool {
        self.status.starts_with("pending-") || self.status == "uninstalling"
    }
}

/// A revision of a release.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RevisionView {
    /// Its number.
    pub revision: u32,
    /// As [`ReleaseState::status`].
    pub status: String,
    /// When helm made it, in seconds since 1970.
    pub created: Option<u64>,
}

impl Cluster {
    /// The revisions of a release that helm keeps, oldest first.
    pub async fn revisions(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Vec<RevisionView>, KubeError> {
        let secrets = self.namespaced::<Secret>(namespace);
        let of_release = ListParams::default().labels(&format!("owner=helm,name={name}"));
        let action = format!("list revisions of release {namespace}/{name}");
        let list = self
            .ask(&action, secrets.list_metadata(&of_release))
            .await?;
        let view = |metadata: kube::core::ObjectMeta| {
            let labels = metadata.labels?;
            Some(RevisionView {
                revision: labels.get("version")?.parse().ok()?,
                status: labels.get("status").cloned().unwrap_or_default(),
                created: labels
                    .get("createdAt")
                    .and_then(|seconds| seconds.parse().ok())
                    .or_else(|| u64::try_from(metadata.creation_timestamp?.0.as_second()).ok()),
            })
        };
        let found = list
            .items
            .into_iter()
            .filter_map(|item| view(item.metadata));
        let mut revisions: Vec<_> = found.collect();
        revisions.sort_by_key(|one| one.revision);
        Ok(revisions)
    }

    /// What helm recorded last of a release; none when there is none.
    pub async fn release_state(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<ReleaseState>, KubeError> {
        let secrets = self.namespaced::<Secret>(namespace);
        let of_release = ListParams::default().labels(&format!("owner=helm,name={name}"));
        let action = format!("list revisions of release {namespace}/{name}");
        let list = self
            .ask(&action, secrets.list_metadata(&of_release))
            .await?;
        let labels = list
            .items
            .into_iter()
            .filter_map(|item| item.metadata.labels);
        Ok(newest(labels.collect()))
    }
}

fn newest(revisions: Vec<BTreeMap<String, String>>) -> Option<ReleaseState> {
    let number = |labels: &BTreeMap<String, String>| labels.get("version")?.parse::<u32>().ok();
    let is_deployed = |labels: &&BTreeMap<String, String>| {
        labels
            .get("status")
            .is_some_and(|status| status == "deployed")
    };
    let deployed = revisions
        .iter()
        .filter(is_deployed)
        .filter_map(number)
        .max();
    let (revision, mut labels) = revisions
        .into_iter()
        .filter_map(|labels| Some((number(&labels)?, labels)))
        .max_by_key(|(revision, _)| *revision)?;
    let status = labels.remove("status").unwrap_or_default();
    let modified = labels
        .remove("modifiedAt")
        .or_else(|| labels.get("createdAt").cloned())
        .and_then(|seconds| seconds.parse().ok());
    for of_helm in ["owner", "name", "version", "createdAt"] {
        labels.remove(of_helm);
    }
    Some(ReleaseState {
        revision,
        status,
        modified,
        deployed,
        labels,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(version: &str, status: &str) -> BTreeMap<String, String> {
        [
            ("owner", "helm"),
            ("name", "tator"),
            ("version", version),
            ("status", status),
            ("modifiedAt", "1700000000"),
            (KEY, "abc"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    #[test]
    fn the_newest_is_by_number_and_the_deployed_one_may_be_older() {
        let revisions = vec![
            revision("9", "deployed"),
            revision("10", "pending-upgrade"),
            revision("8", "superseded"),
        ];
        let state = newest(revisions).unwrap();
        assert_eq!((state.revision, state.deployed), (10, Some(9)));
        assert!(state.is_pending());
        assert_eq!(state.key(), Some("abc"));
        assert_eq!(state.modified, Some(1_700_000_000));
        assert_eq!(state.labels.len(), 1);
        assert_eq!(newest(Vec::new()), None);
    }
}
