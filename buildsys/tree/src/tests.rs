use std::sync::Arc;

use proptest::prelude::*;
use tbuild_digest::Sha256;

use super::*;

fn dir(path: &str) -> Entry {
    Entry::new(path.into(), 0o755, Node::Directory)
}

fn file(path: &str, content: &str) -> Entry {
    let node = Node::File {
        size: content.len() as u64,
        digest: Sha256::of(content.as_bytes()),
    };
    Entry::new(path.into(), 0o644, node)
}

fn link(path: &str, target: &str) -> Entry {
    Entry::new(
        path.into(),
        0o777,
        Node::Symlink {
            target: target.into(),
        },
    )
}

fn gone(path: &str) -> Entry {
    Entry::new(path.into(), 0, Node::Whiteout)
}

fn tree(entries: Vec<Entry>) -> Tree {
    Tree::new(entries).unwrap()
}

fn rootfs(layers: Vec<Vec<Entry>>) -> Rootfs {
    Rootfs::new(
        layers
            .into_iter()
            .map(|entries| Arc::new(tree(entries)))
            .collect(),
    )
}

#[test]
fn a_folders_content_follows_it_at_once() {
    let sorted = tree(vec![
        file("a-b", ""),
        file("a/c", ""),
        dir("a"),
        file("a.d", ""),
    ]);
    let order: Vec<String> = sorted
        .entries()
        .iter()
        .map(|entry| entry.path.to_string())
        .collect();
    assert_eq!(order, ["/a", "/a/c", "/a-b", "/a.d"]);
    assert_eq!(sorted.below(&"a".into()).len(), 2);
}

#[test]
fn a_path_may_stand_once() {
    assert_eq!(
        Tree::new(vec![dir("a"), dir("a")]),
        Err(TreeError::Duplicate("a".into()))
    );
}

#[test]
fn digest_ignores_time_and_place_but_not_mode() {
    let one = tree(vec![dir("x"), file("x/f", "1")]);
    let mut other = one.clone().into_entries();
    other[1].mtime = 7;
    assert_eq!(one.digest(), tree(other.clone()).digest());
    other[1].mode = 0o755;
    assert_ne!(one.digest(), tree(other).digest());
    let moved = tree(vec![dir("y"), dir("y/x"), file("y/x/f", "1")]);
    assert_eq!(one.digest_at(&"x".into()), moved.digest_at(&"y/x".into()));
}

/// Every kind of entry, with parents left out and an entry of the root's own.
fn everything() -> Vec<Entry> {
    let mut owned = file("bin/tool", "x");
    (owned.mode, owned.uid, owned.gid) = (0o4755, 3_000_000, 7);
    owned.xattrs.insert(b"user.a".to_vec(), b"1".to_vec());
    let mut opaque = dir("opaque");
    opaque.opaque = true;
    vec![
        dir(""),
        file("a", "first"),
        dir("bin"),
        owned,
        Entry::new("bin/z".into(), 0o644, Node::Hardlink { target: "a".into() }),
        link("bin/link", "../x"),
        Entry::new(
            "dev/null".into(),
            0o666,
            Node::CharDevice { major: 1, minor: 3 },
        ),
        Entry::new(
            "dev/deep/down/loop0".into(),
            0o660,
            Node::BlockDevice { major: 7, minor: 0 },
        ),
        Entry::new("dev/deep/pipe".into(), 0o600, Node::Fifo),
        dir("full"),
        dir("full/inner"),
        dir("full/inner/empty"),
        file("full/inner/implied/f", "y"),
        file("full-not", "z"),
        opaque,
        gone("opaque/x"),
        gone("removed"),
    ]
}

#[test]
fn digests_stay_as_they_are() {
    // Keys hang on these: what moves them throws every cache away.
    let tree = tree(everything());
    let found = [
        "",
        "bin",
        "dev",
        "dev/deep",
        "full",
        "full/inner",
        "bin/tool",
        "opaque",
    ]
    .map(|path| {
        tree.digest_at(&path.into())
            .map_or("none".to_owned(), |digest| digest.0.hex()[..16].to_owned())
    });
    assert_eq!(found, GOLDEN);
}
const GOLDEN: [&str; 8] = [
    "0326d1a660ea34c1",
    "ed0667e747a5d388",
    "none",
    "none",
    "2a37a6fdaa8a2c9d",
    "974d33abaddb5820",
    "ad06360d0b2fcd66",
    "d34decce95e84898",
];

#[test]
fn depth_costs_no_stack() {
    let deep = "d/".repeat(20_000);
    let entries = (1..=200).map(|depth| dir(&deep[..depth * 200])).collect();
    let all = tree(entries);
    assert_ne!(all.digest(), tree(vec![]).digest());
    let chain = tree((1..=3_000).map(|depth| dir(&deep[..depth * 2])).collect());
    assert_eq!(chain.below(&"d/d".into()).len(), 2_999);
    assert_ne!(chain.digest(), all.digest());
}

#[test]
fn lookup_sees_whiteouts_and_opaque_folders() {
    let mut opaque = dir("o");
    opaque.opaque = true;
    let view = rootfs(vec![
        vec![dir("d"), file("d/f", "1"), dir("o"), file("o/old", "1")],
        vec![gone("d/f"), opaque, file("o/new", "2")],
    ]);
    assert!(view.get(&"d".into()).is_some());
    assert!(view.get(&"d/f".into()).is_none());
    assert!(view.get(&"o/old".into()).is_none());
    assert!(view.get(&"o/new".into()).is_some());
    let flat = view.flatten().unwrap();
    let paths: Vec<String> = flat
        .entries()
        .iter()
        .map(|entry| entry.path.to_string())
        .collect();
    assert_eq!(paths, ["/d", "/o", "/o/new"]);
}

#[test]
fn links_resolve_inside_the_view() {
    let view = rootfs(vec![vec![
        dir("usr"),
        dir("usr/bin"),
        file("usr/bin/sh", "x"),
        link("bin", "usr/bin"),
        link("up", "../../../usr"),
        link("loop", "loop"),
    ]]);
    assert_eq!(
        view.resolve(&"bin/sh".into(), true).unwrap().path,
        "usr/bin/sh".into()
    );
    assert_eq!(
        view.resolve(&"up/bin/sh".into(), true).unwrap().path,
        "usr/bin/sh".into()
    );
    assert_eq!(
        view.resolve(&"bin".into(), false).unwrap().path,
        "bin".into()
    );
    assert_eq!(
        view.resolve(&"bin/new/x".into(), true).unwrap().path,
        "usr/bin/new/x".into()
    );
    assert!(matches!(
        view.resolve(&"loop/x".into(), true),
        Err(RootfsError::Loop(_))
    ));
    assert!(matches!(
        view.resolve(&"bin/sh/x".into(), true),
        Err(RootfsError::NotADirectory { .. })
    ));
}

fn any_entries() -> impl Strategy<Value = Vec<Entry>> {
    let name = prop::sample::select(vec!["a", "b", "a/x", "a/y", "b/x", "b/x/z", "c"]);
    let entry = (name, 0..4_u8).prop_map(|(path, kind)| match kind {
        0 => dir(path),
        1 => file(path, path),
        2 => gone(path),
        _ => link(path, "a"),
    });
    prop::collection::vec(entry, 0..6).prop_map(|mut entries| {
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries.dedup_by(|a, b| a.path == b.path);
        // A layer that a builder wrote names every parent, and holds nothing below what is no folder.
        for path in ["a", "b", "b/x"] {
            let path = TreePath::from(path);
            let needed = entries
                .iter()
                .any(|entry| entry.path != path && entry.path.below(&path).is_some());
            if needed && !entries.iter().any(|entry| entry.path == path) {
                entries.push(Entry::new(path, 0o755, Node::Directory));
            }
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let solid: Vec<TreePath> = entries
            .iter()
            .filter(|entry| !entry.is_directory())
            .map(|entry| entry.path.clone())
            .collect();
        entries.retain(|entry| {
            !solid
                .iter()
                .any(|path| *path != entry.path && entry.path.below(path).is_some())
        });
        entries
    })
}

#[test]
fn everything_about_the_root_counts() {
    let plain = dir("");
    let mut opaque = plain.clone();
    opaque.opaque = true;
    let mut marked = plain.clone();
    marked.xattrs.insert(b"user.a".to_vec(), Vec::new());
    let mut closed = plain.clone();
    closed.mode = 0o700;
    let digests = [plain, opaque, marked, closed].map(|root| tree(vec![root]).digest());
    for (at, digest) in digests.iter().enumerate() {
        assert!(!digests[..at].contains(digest), "{at}");
    }
}

#[test]
fn only_clean_paths_are_taken_unchanged() {
    for path in ["", "a", "a/b", "..a", "a..", ".a/...", "a b"] {
        assert_eq!(TreePath::from_clean(path.as_bytes()), Some(path.into()));
    }
    for path in [
        "/", "/a", "a/", "a//b", ".", "..", "a/.", "a/..", "./a", "../a", "a/./b", "a/../b",
    ] {
        assert_eq!(TreePath::from_clean(path.as_bytes()), None, "{path}");
    }
}

proptest! {
    #[test]
    fn paths_order_by_their_components(a in "[a!./]{0,20}", b in "[a!./]{0,20}") {
        let (a, b) = (TreePath::clean(a.as_bytes()), TreePath::clean(b.as_bytes()));
        prop_assert_eq!(a.cmp(&b), a.components().cmp(b.components()));
        prop_assert_eq!(a.lies_below(&b), a.below(&b).is_some());
        prop_assert_eq!(TreePath::from_clean(a.as_bytes()), Some(a));
    }

    #[test]
    fn clean_paths_are_fixed_points(path in "[a./]{0,12}") {
        let once = TreePath::clean(path.as_bytes());
        prop_assert_eq!(TreePath::clean(once.as_bytes()), once);
    }

    #[test]
    fn flatten_and_lookup_agree(layers in prop::collection::vec(any_entries(), 1..4)) {
        let view = rootfs(layers);
        let flat = view.flatten().unwrap();
        for path in ["a", "b", "a/x", "a/y", "b/x", "b/x/z", "c"] {
            let path = TreePath::from(path);
            if let Some(entry) = flat.get(&path) {
                prop_assert_eq!(Some(entry.clone()), view.get(&path), "{}", path);
            } else {
                prop_assert_eq!(None, view.get(&path), "{}", path);
            }
        }
    }
}
