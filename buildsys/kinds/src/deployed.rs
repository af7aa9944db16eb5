//! What clusters and nodes have of the store, so that it is not collected: images of releases, which may be pulled or
//! rolled back to, and layers that a node's root lies over.

use std::collections::BTreeSet;
use std::path::Path;

use tbuild_store::{Store, StoreError};

use crate::LayerRef;

/// The store's space for it, by where it is deployed. A JSON list, what was deployed last first; each entry a list of
/// texts that name digests.
pub(crate) const DEPLOYED: &str = "deployed";
/// As many as helm keeps revisions (helm upgrade --history-max).
const KEPT: usize = 10;

type History = Vec<BTreeSet<String>>;

fn release(cluster: &str, namespace: &str, release: &str) -> String {
    format!("{cluster} {namespace}/{release}")
}

fn node(data: &Path) -> String {
    format!("node {}", data.display())
}

/// Notes that a release of a cluster (its URL) is to run these images.
pub(crate) fn note_release(
    store: &dyn Store,
    (cluster, namespace, name): (&str, &str, &str),
    images: impl IntoIterator<Item = String>,
) -> Result<(), StoreError> {
    note(store, &release(cluster, namespace, name), images)
}

/// Forgets a release that was uninstalled.
pub fn forget_release(
    store: &dyn Store,
    (cluster, namespace, name): (&str, &str, &str),
) -> Result<(), StoreError> {
    store.set_reference(DEPLOYED, &release(cluster, namespace, name), None)
}

/// Notes that the node whose data are in a folder has its root over these layers.
pub fn note_node(store: &dyn Store, data: &Path, layers: &[LayerRef]) -> Result<(), StoreError> {
    let layers = layers.iter().map(|layer| layer.diff_id.to_string());
    note(store, &node(data), layers)
}

/// Forgets a node that is gone, and the releases of its cluster.
pub fn forget_node(
    store: &dyn Store,
    data: &Path,
    cluster: Option<&str>,
) -> Result<(), StoreError> {
    store.set_reference(DEPLOYED, &node(data), None)?;
    let Some(cluster) = cluster else {
        return Ok(());
    };
    for name in store.references(DEPLOYED)? {
        if name
            .strip_prefix(cluster)
            .is_some_and(|rest| rest.starts_with(' '))
        {
            store.set_reference(DEPLOYED, &name, None)?;
        }
    }
    Ok(())
}

fn note(
    store: &dyn Store,
    name: &str,
    what: impl IntoIterator<Item = String>,
) -> Result<(), StoreError> {
    let kept = store.reference(DEPLOYED, name)?;
    let kept = kept.and_then(|bytes| serde_json::from_slice::<History>(&bytes).ok());
    let mut history = kept.unwrap_or_default();
    let now: BTreeSet<String> = what.into_iter().collect();
    if history.first() == Some(&now) {
        return Ok(());
    }
    history.retain(|before| *before != now);
    history.insert(0, now);
    history.truncate(KEPT);
    let bytes = serde_json::to_vec(&history)
        .map_err(|error| StoreError::io(format!("encode {name}"), error.into()))?;
    store.set_reference(DEPLOYED, name, Some(&bytes))
}

#[cfg(test)]
mod tests {
    use tbuild_store_local::LocalStore;

    use super::*;

    #[test]
    fn as_many_stay_as_can_be_rolled_back_to() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(&folder.path().join("store")).unwrap();
        let site = ("https://one/", "default", "site");
        let read = || -> History {
            let bytes = store.reference(DEPLOYED, "https://one/ default/site");
            serde_json::from_slice(&bytes.unwrap().unwrap()).unwrap()
        };
        for number in 0..12 {
            note_release(&store, site, [format!("image{number}")]).unwrap();
        }
        assert_eq!(read().len(), KEPT);
        assert!(read()[0].contains("image11"));
        // Back to an earlier one.
        note_release(&store, site, ["image5".to_owned()]).unwrap();
        assert_eq!(read().len(), KEPT);
        assert!(read()[0].contains("image5") && read()[1].contains("image11"));

        let other = ("https://one/x", "default", "site");
        note_release(&store, other, ["other".to_owned()]).unwrap();
        note_node(&store, Path::new("/data"), &[]).unwrap();
        forget_node(&store, Path::new("/data"), Some("https://one/")).unwrap();
        assert_eq!(
            store.references(DEPLOYED).unwrap(),
            ["https://one/x default/site"]
        );
        forget_release(&store, other).unwrap();
        assert!(store.references(DEPLOYED).unwrap().is_empty());
    }
}
