use std::collections::BTreeSet;

use tbuild_digest::ActionKey;
use tbuild_graph::KeyManifest;
use tbuild_realise::Record;
use tbuild_store::Store as _;
use tbuild_store_local::LocalStore;

use crate::{BundleError, Content, load, write};

/// A space of references.
const SPACE: &str = "elsewhere";

struct Bench {
    folder: tempfile::TempDir,
    from: LocalStore,
    content: Content,
}

/// A store with a record that names two blobs, a reference to one of them and one to something else.
fn bench() -> Bench {
    let folder = tempfile::tempdir().expect("a folder");
    let from = LocalStore::open(&folder.path().join("from")).expect("a store");
    let layer = from.put_blob(&vec![7; 3 << 20]).expect("kept");
    let config = from.put_blob(b"config").expect("kept");
    let other = from.put_blob(b"other").expect("kept");
    let manifest = KeyManifest::new("run/1").text("command", "true");
    let key = manifest.key();
    let record = Record {
        node: "step:1".to_owned(),
        manifest,
        result: serde_json::json!({"layer": layer.to_string(), "config": config.hex(), "gone": "0".repeat(64)}),
        impure: Vec::new(),
        duration_ms: 1,
        finished: 2,
        log: None,
    };
    let record = serde_json::to_vec(&record).expect("JSON");
    from.put_action(&key, &record).expect("recorded");
    for (name, value) in [("a name/with:signs", config), ("another", other)] {
        from.set_reference(SPACE, name, Some(value.to_string().as_bytes()))
            .expect("set");
    }
    let content = Content {
        targets: vec!["cluster".to_owned()],
        actions: BTreeSet::from([key]),
        texts: Vec::new(),
        spaces: vec![SPACE],
        ..Content::default()
    };
    Bench {
        folder,
        from,
        content,
    }
}

impl Bench {
    fn bundle(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let manifest = write(&self.from, &self.content, &mut bytes, &mut |_, _| ());
        let manifest = manifest.expect("written");
        assert_eq!((manifest.blobs, manifest.actions), (2, 1));
        assert_eq!(manifest.bytes, (3 << 20) + 6);
        bytes
    }

    fn store(&self, name: &str) -> LocalStore {
        LocalStore::open(&self.folder.path().join(name)).expect("a store")
    }

    fn refused(&self, bytes: &[u8]) -> BundleError {
        let to = self.store("refused");
        let error = load(&to, bytes, &[SPACE], &mut |_, _| ()).expect_err("it is refused");
        let key = self.content.actions.first().expect("a key");
        assert_eq!(to.action(key).expect("read"), None, "{error}");
        assert!(error.is_malformed(), "{error:?}");
        error
    }
}

/// The same bundle with another tar in it.
fn changed(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut tar = zstd::decode_all(bytes).expect("zstd");
    change(&mut tar);
    zstd::encode_all(tar.as_slice(), 1).expect("zstd")
}

fn find(text: &[u8], part: &[u8]) -> usize {
    let found = text.windows(part.len()).position(|window| window == part);
    found.expect("it is there")
}

#[test]
fn a_store_gets_all_that_a_bundle_holds() {
    let bench = bench();
    let bytes = bench.bundle();
    assert_eq!(bytes, bench.bundle(), "the same content is the same bytes");
    let to = bench.store("to");
    let mut seen = Vec::new();
    let mut progress = |done, all| seen.push((done, all));
    let loaded = load(&to, bytes.as_slice(), &[SPACE], &mut progress).expect("loaded");
    assert_eq!((loaded.new_blobs, loaded.new_actions), (2, 1));
    assert_eq!(loaded.manifest.targets, ["cluster"]);
    assert_eq!(seen.last(), Some(&((3 << 20) + 6, (3 << 20) + 6)));
    let key = bench.content.actions.first().expect("a key");
    assert_eq!(
        to.action(key).expect("read"),
        bench.from.action(key).expect("read")
    );
    assert_eq!(
        to.references(SPACE).expect("read"),
        ["a name/with:signs"],
        "what names nothing of the bundle is not in it"
    );
    let again = load(&to, bytes.as_slice(), &[SPACE], &mut |_, _| ()).expect("loaded");
    assert_eq!((again.new_blobs, again.new_actions), (0, 0));
}

#[test]
fn what_is_missing_is_named() {
    let mut bench = bench();
    let key = ActionKey::of(b"nothing");
    bench.content.actions.insert(key);
    let error = write(&bench.from, &bench.content, Vec::new(), &mut |_, _| ());
    assert!(matches!(error, Err(BundleError::NoRecord(missing)) if missing == key));
}

#[test]
fn a_bundle_that_is_cut_off_is_refused() {
    let bench = bench();
    let bytes = bench.bundle();
    for length in [0, 1, 100, bytes.len() / 2, bytes.len() - 5] {
        bench.refused(&bytes[..length]);
    }
    // The tar ends at the record, as if it were whole.
    let short = changed(&bytes, |tar| {
        let at = find(tar, b"actions/");
        tar.truncate(at);
        tar.extend([0; 1024]);
    });
    let error = bench.refused(&short);
    assert!(
        matches!(
            error,
            BundleError::Short {
                what: "records",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn what_is_not_what_its_name_says_is_refused() {
    let bench = bench();
    let bytes = bench.bundle();
    let blob = changed(&bytes, |tar| {
        let at = find(tar, b"config");
        tar[at] ^= 1;
    });
    assert!(matches!(bench.refused(&blob), BundleError::Blob { .. }));
    let record = changed(&bytes, |tar| {
        let at = find(tar, b"run/1");
        tar[at] ^= 1;
    });
    assert!(matches!(bench.refused(&record), BundleError::Record(_)));
    let member = changed(&bytes, |tar| {
        // A name with the same sum of its letters, which the header holds.
        let at = find(tar, b"blobs/sha256/");
        tar.swap(at, at + 1);
    });
    assert!(matches!(bench.refused(&member), BundleError::Member(_)));
    let version = changed(&bytes, |tar| {
        let at = find(tar, b"\"version\":1");
        tar[at + 10] = b'2';
    });
    let error = bench.refused(&version);
    assert!(error.to_string().contains("its version is 2"), "{error}");
}

#[test]
fn references_stay_in_their_spaces() {
    let bench = bench();
    let bytes = bench.bundle();
    let to = bench.store("other");
    let error = load(&to, bytes.as_slice(), &["last"], &mut |_, _| ()).expect_err("refused");
    assert!(error.to_string().contains("\"elsewhere\""), "{error}");
    assert_eq!(to.references(SPACE).expect("read"), Vec::<String>::new());
}
