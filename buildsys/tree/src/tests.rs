use std::sync::Arc;

use proptest::prelude::*;
use tbuild_digest::Sha256;

use super::*;

fn dir(path: &str) -> Entry {
    Entry::new(path.into(), 0o755, Node::Directory)
}

fn file(path: &str, content: &str) -> Entry {
    let node = Node::File { size: content.len() as u64, digest: Sha256::of(content.as_bytes()) };
    Entry::new(path.into(), 0o644, node)
}

fn link(path: &str, target: &str) -> Entry {
    Entry::new(path.into(), 0o777, Node::Symlink { target: target.into() })
}

fn gone(path: &str) -> Entry {
    Entry::new(path.into(), 0, Node::Whiteout)
}

fn tree(entries: Vec<Entry>) -> Tree {
    Tree::new(entries).unwrap()
}

fn rootfs(layers: Vec<Vec<Entry>>) -> Rootfs {
    Rootfs::new(layers.into_iter().map(|entries| Arc::new(tree(entries))).collect())
}

#[test]
fn a_folders_content_follows_it_at_once() {
    let sorted = tree(vec![file("a-b", ""), file("a/c", ""), dir("a"), file("a.d", "")]);
    let order: Vec<String> = sorted.entries().iter().map(|entry| entry.path.to_string()).collect();
    assert_eq!(order, ["/a", "/a/c", "/a-b", "/a.d"]);
    assert_eq!(sorted.below(&"a".into()).len(), 2);
}

#[test]
fn a_path_may_stand_once() {
    assert_eq!(Tree::new(vec![dir("a"), dir("a")]), Err(TreeError::Duplicate("a".into())));
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
    let paths: Vec<String> = flat.entries().iter().map(|entry| entry.path.to_string()).collect();
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
    assert_eq!(view.resolve(&"bin/sh".into(), true).unwrap().path, "usr/bin/sh".into());
    assert_eq!(view.resolve(&"up/bin/sh".into(), true).unwrap().path, "usr/bin/sh".into());
    assert_eq!(view.resolve(&"bin".into(), false).unwrap().path, "bin".into());
    assert_eq!(view.resolve(&"bin/new/x".into(), true).unwrap().path, "usr/bin/new/x".into());
    assert!(matches!(view.resolve(&"loop/x".into(), true), Err(RootfsError::Loop(_))));
    assert!(matches!(view.resolve(&"bin/sh/x".into(), true), Err(RootfsError::NotADirectory { .. })));
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
            let needed = entries.iter().any(|entry| entry.path != path && entry.path.below(&path).is_some());
            if needed && !entries.iter().any(|entry| entry.path == path) {
                entries.push(Entry::new(path, 0o755, Node::Directory));
            }
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let solid: Vec<TreePath> =
            entries.iter().filter(|entry| !entry.is_directory()).map(|entry| entry.path.clone()).collect();
        entries.retain(|entry| !solid.iter().any(|path| *path != entry.path && entry.path.below(path).is_some()));
        entries
    })
}

proptest! {
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
