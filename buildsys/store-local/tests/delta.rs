//! Snapshots over another layer's: what overlayfs shows of them is what it shows of the whole layer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use tbuild_digest::DiffId;
use tbuild_oci::{LayerIndex, index_layer};
use tbuild_store::{Store as _, StoreError};
use tbuild_store_local::LocalStore;

/// What a layer has at a path: its kind, its mode, and its content or where it links to.
type Tree = BTreeMap<String, (tar::EntryType, u32, Vec<u8>)>;

const FILE: tar::EntryType = tar::EntryType::Regular;
const FOLDER: tar::EntryType = tar::EntryType::Directory;
const LINK: tar::EntryType = tar::EntryType::Symlink;

fn base() -> Tree {
    let mut tree = Tree::new();
    for folder in 0..8 {
        tree.insert(format!("app/{folder}"), (FOLDER, 0o755, Vec::new()));
        for file in 0..10 {
            let content = format!("{folder} {file}\n").repeat(file);
            let path = format!("app/{folder}/{file}");
            tree.insert(path, (FILE, 0o644, content.into()));
        }
    }
    tree.insert("app".to_owned(), (FOLDER, 0o750, Vec::new()));
    tree.insert("app/link".to_owned(), (LINK, 0o777, b"0/1".to_vec()));
    tree
}

fn archive(tree: &Tree) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, (kind, mode, content)) in tree {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_uid(12);
        header.set_gid(34);
        header.set_mtime(1_000_000_000);
        header.set_path(path).unwrap();
        let is_file = *kind == FILE;
        header.set_size(if is_file { content.len() as u64 } else { 0 });
        if matches!(*kind, LINK | tar::EntryType::Link) {
            header
                .set_link_name(str::from_utf8(content).unwrap())
                .unwrap();
        }
        header.set_cksum();
        let content: &[u8] = if is_file { content } else { b"" };
        tar.append(&header, content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn put(store: &LocalStore, tree: &Tree) -> (DiffId, LayerIndex) {
    let tar = archive(tree);
    store.put_blob(&tar).unwrap();
    (DiffId::of(&tar), index_layer(tar.as_slice()).unwrap())
}

/// Everything that overlayfs shows of `lower`, topmost first.
fn shown(lower: &[PathBuf]) -> BTreeSet<String> {
    let mount = tempfile::tempdir().unwrap();
    let lower: Vec<_> = lower.iter().map(|path| path.to_str().unwrap()).collect();
    let script = r#"mount -t overlay overlay -o "ro,lowerdir=$1" "$2"; cd "$2"
        find . -printf '%p %y %m %U %G %T@ %l\n' | sort; find . -type f -links +1; find . -type f | sort | xargs sha256sum"#;
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-ec", script, "sh", &lower.join(":")])
        .arg(mount.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    // The root's own time is that of the folder's making, in a layer that does not name it.
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter(|line| !line.starts_with(". "))
        .map(str::to_owned)
        .collect()
}

/// Edits the base layer; says whether two folders came of it, after checking that they show the layer.
fn is_delta(edit: impl Fn(&mut Tree)) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    // What lower layers have must show through, or not, as it does of the whole layer.
    let mut below = Tree::new();
    below.insert("app".to_owned(), (FOLDER, 0o700, Vec::new()));
    below.insert("app/0".to_owned(), (FOLDER, 0o711, Vec::new()));
    below.insert("app/0/below".to_owned(), (FILE, 0o600, b"below".to_vec()));
    below.insert("app/0/5".to_owned(), (FILE, 0o600, b"below".to_vec()));
    let below = store.ensure_snapshot(&put(&store, &below).0).unwrap();
    let first = put(&store, &base());
    store.ensure_snapshot(&first.0).unwrap();
    let mut edited = base();
    edit(&mut edited);
    let second = put(&store, &edited);
    let over = (&second.0, &second.1);
    let folders = store
        .ensure_snapshot_over(over, (&first.0, &first.1))
        .unwrap();
    let again = store.ensure_snapshot_over(over, (&first.0, &first.1));
    assert_eq!(again.unwrap(), folders);
    let whole = store.ensure_snapshot(&second.0).unwrap();
    let stacked = |folders: &[PathBuf]| shown(&[folders, std::slice::from_ref(&below)].concat());
    let (two, one) = (stacked(&folders), stacked(&[whole]));
    let differ: Vec<_> = two.symmetric_difference(&one).collect();
    assert!(differ.is_empty(), "{differ:#?}");
    folders.len() == 2
}

fn set(
    path: &'static str,
    kind: tar::EntryType,
    mode: u32,
    content: &'static str,
) -> impl Fn(&mut Tree) {
    move |tree| {
        tree.insert(path.to_owned(), (kind, mode, content.into()));
    }
}

#[test]
fn small_edits_are_laid_over_the_layer_before() {
    assert!(is_delta(set("app/3/4", FILE, 0o644, "edited")), "content");
    assert!(
        is_delta(set("app/3/4", FILE, 0o755, "3 4\n3 4\n3 4\n3 4\n")),
        "mode"
    );
    assert!(is_delta(set("app/3", FOLDER, 0o700, "")), "a folder's mode");
    assert!(
        is_delta(set("app/0/5", FILE, 0o644, "over below")),
        "over a lower layer"
    );
    assert!(
        is_delta(set("app/3/4", LINK, 0o777, "5")),
        "a file becomes a link"
    );
    assert!(
        is_delta(set("app/link", FILE, 0o644, "file")),
        "a link becomes a file"
    );
    assert!(
        is_delta(set("app/link", LINK, 0o777, "0/2")),
        "a link's target"
    );
    assert!(is_delta(set("app/3/new", FILE, 0o644, "new")), "a new file");
    assert!(
        is_delta(set("other", FILE, 0o644, "new")),
        "a new file at the root"
    );
    assert!(is_delta(|tree| {
        set("app/3/new", FOLDER, 0o710, "")(tree);
        set("app/3/new/deep", FOLDER, 0o710, "")(tree);
        set("app/3/new/deep/file", FILE, 0o600, "new")(tree);
    }));
    assert!(
        is_delta(set("implied/by/file", FILE, 0o644, "new")),
        "folders implied"
    );
}

#[test]
fn what_two_folders_cannot_show_is_unpacked_whole() {
    let gone = |tree: &mut Tree| drop(tree.remove("app/0/5"));
    assert!(
        !is_delta(gone),
        "a file gone, of which a lower layer has one"
    );
    assert!(
        !is_delta(|tree| drop(tree.remove("app/link"))),
        "the last entry gone"
    );
    assert!(!is_delta(|tree| {
        tree.retain(|path, _| !path.starts_with("app/0/"));
        set("app/0", FILE, 0o644, "was a folder")(tree);
    }));
    assert!(
        !is_delta(set("app/link", FOLDER, 0o755, "")),
        "a link becomes a folder"
    );
    assert!(
        !is_delta(set("app/link2", tar::EntryType::Link, 0o644, "app/0/1")),
        "a hard link"
    );
    assert!(
        !is_delta(set("app/0/.wh.below", FILE, 0o644, "")),
        "a whiteout"
    );
    assert!(
        !is_delta(set("app/0/.wh..wh..opq", FILE, 0o644, "")),
        "an opaque folder"
    );
    assert!(!is_delta(|tree| {
        for (_, _, content) in tree.values_mut() {
            content.push(b'\n');
        }
    }));
}

#[test]
fn a_base_that_is_gone_or_a_blob_that_rots() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let first = put(&store, &base());
    let mut edited = base();
    set("app/3/4", FILE, 0o644, "edited")(&mut edited);
    let second = put(&store, &edited);
    let over = || store.ensure_snapshot_over((&second.0, &second.1), (&first.0, &first.1));
    let whole = over().unwrap();
    assert_eq!(whole.len(), 1, "the base has no snapshot");
    std::fs::remove_dir_all(&whole[0]).unwrap();

    store.ensure_snapshot(&first.0).unwrap();
    let blob = second.0.as_uncompressed_blob();
    let path = folder.path().join("blobs/sha256").join(blob.hex());
    let rotten = String::from_utf8(std::fs::read(&path).unwrap())
        .unwrap()
        .replace("edited", "rotten");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, rotten).unwrap();
    let error = over().unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(digest) if digest == blob));
    assert!(store.blob_size(&blob).unwrap().is_none());
    let left = |folder: &Path| std::fs::read_dir(folder).unwrap().count();
    assert_eq!(
        left(&folder.path().join("snapshots")),
        1,
        "the base's alone"
    );
}
