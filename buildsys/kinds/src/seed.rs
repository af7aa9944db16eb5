//! A new store that has what another one fetched: records by key, and the blobs that they name.

use std::collections::BTreeSet;

use tbuild_digest::{ActionKey, BlobDigest, Sha256};
use tbuild_store::{Store as _, StoreError};
use tbuild_store_local::LocalStore;

use crate::world::INDEX;

/// The store's spaces that say what comes from elsewhere, and cannot be worked out again without asking there.
pub const ELSEWHERE: [&str; 3] = [
    crate::pull::CONFIGS,
    crate::remote::FILES,
    crate::remote::TREES,
];

/// Gives `to` the record of an action with the blobs that it names. False if `from` has no such record.
pub fn seed_record(
    from: &LocalStore,
    to: &LocalStore,
    key: &ActionKey,
) -> Result<bool, StoreError> {
    let Some(record) = from.action(key)? else {
        return Ok(false);
    };
    seed_blobs(from, to, &String::from_utf8_lossy(&record))?;
    to.put_action(key, &record)?;
    Ok(true)
}

/// Gives `to` the blobs that a text names by their SHA-256, as far as `from` has them: those of a lockfile.
pub fn seed_blobs(from: &LocalStore, to: &LocalStore, text: &str) -> Result<(), StoreError> {
    let named: BTreeSet<_> = Sha256::named_in(text).map(BlobDigest).collect();
    for digest in named {
        if !to.adopt_blob(from, &digest)? {
            continue;
        }
        let name = digest.hex();
        if let Some(index) = from.reference(INDEX, &name)? {
            to.set_reference(INDEX, &name, Some(&index))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_gets_what_a_record_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |name: &str| LocalStore::open(&folder.path().join(name)).expect("a store");
        let (from, to) = (open("from"), open("to"));
        let (named, other) = (
            from.put_blob(b"named").expect("kept"),
            from.put_blob(b"other").expect("kept"),
        );
        let key = ActionKey::of(b"key");
        let record = format!("{{\"layer\":\"{named}\",\"gone\":\"{}\"}}", "0".repeat(64));
        from.put_action(&key, record.as_bytes()).expect("recorded");
        assert!(seed_record(&from, &to, &key).expect("seeded"));
        assert_eq!(
            to.read_blob(&named).expect("read").as_deref(),
            Some(b"named".as_slice())
        );
        assert_eq!(to.read_blob(&other).expect("read"), None);
        assert_eq!(
            to.action(&key).expect("read").as_deref(),
            Some(record.as_bytes())
        );
        assert!(!seed_record(&from, &to, &ActionKey::of(b"another")).expect("seeded"));
    }
}
