//! On files that the real tools made: CPython, gzip, GNU ar, ldconfig.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tbuild_dockerfile::Normalizer;
use tbuild_sandbox::capture;
use tbuild_tree::{Entry, Node, Rootfs, SOURCE_DATE_EPOCH, Tree};

use super::{apply, normalizer_for};

fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env_remove("SOURCE_DATE_EPOCH")
        .env_remove("PYTHONPYCACHEPREFIX")
        .output()
        .unwrap_or_else(|error| panic!("{program} starts: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn write(root: &Path, path: &str, content: &str) -> PathBuf {
    let file = root.join(path);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    std::fs::write(&file, content).expect("written");
    file
}

fn touch(file: &Path, date: &str) {
    let file = file.to_str().expect("text");
    run("touch", &["-d", date, file], Path::new("/"));
}

/// What a step that wrote `upper` leaves, once `wanted` is put right.
fn normalized(upper: &Path, lower: &Rootfs, wanted: &[Normalizer]) -> Tree {
    let tree = capture(upper, lower).expect("captured").tree;
    apply(upper, &tree, lower, wanted).expect("normalized");
    capture(upper, lower).expect("captured").tree
}

/// Digests by path.
fn digests(tree: &Tree) -> BTreeMap<String, String> {
    let file = |entry: &Entry| match &entry.node {
        Node::File { digest, .. } => Some((entry.path.to_string(), digest.hex())),
        _ => None,
    };
    tree.entries().iter().filter_map(file).collect()
}

/// Makes the same thing at two times, puts both right, and expects the same files.
fn same_at_two_times(
    make: impl Fn(&Path, &str),
    wanted: &[Normalizer],
) -> (tempfile::TempDir, Tree) {
    let (one, other) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    make(one.path(), "2001-02-03T04:05:06Z");
    make(other.path(), "2020-10-11T12:13:14Z");
    let plain =
        |folder: &Path| digests(&capture(folder, &Rootfs::default()).expect("captured").tree);
    assert_ne!(
        plain(one.path()),
        plain(other.path()),
        "without it, they differ"
    );
    let tree = normalized(one.path(), &Rootfs::default(), wanted);
    let second = normalized(other.path(), &Rootfs::default(), wanted);
    assert_eq!(digests(&tree), digests(&second));
    (one, tree)
}

const PROGRAM: &str = "import m, sys; print(m.__cached__, m.value)";

fn compile(root: &Path, date: &str) {
    touch(&write(root, "lib/m.py", "value = {'a', 'b'} and 5\n"), date);
    run(
        "python3",
        &[
            "-m",
            "compileall",
            "-q",
            "--invalidation-mode",
            "timestamp",
            "lib",
        ],
        root,
    );
}

/// Whether Python takes the compiled file as it is, told by what it says when it is verbose.
fn is_taken(root: &Path) -> bool {
    let output = Command::new("python3")
        .args(["-v", "-c", PROGRAM])
        .env("PYTHONPATH", root.join("lib"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python3 starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    said.lines()
        .any(|line| line.contains("matches") && line.contains("/lib/m.py"))
}

#[test]
fn compiled_python_is_valid_for_the_times_of_the_layer() {
    let (folder, _) = same_at_two_times(compile, &[Normalizer::Pyc]);
    assert_eq!(
        folder
            .path()
            .join("lib/m.py")
            .metadata()
            .expect("there")
            .mtime(),
        SOURCE_DATE_EPOCH
    );
    assert!(is_taken(folder.path()), "Python does not compile again");
    // And an edit is still seen.
    touch(&folder.path().join("lib/m.py"), "2022-01-01T00:00:00Z");
    assert!(!is_taken(folder.path()));
}

#[test]
fn a_source_of_a_lower_layer_keeps_its_time() {
    let upper = tempfile::tempdir().expect("a folder");
    compile(upper.path(), "2001-02-03T04:05:06Z");
    let node = Node::File {
        size: 1,
        digest: tbuild_digest::Sha256([1; 32]),
    };
    let mut source = Entry::new("lib/m.py".into(), 0o644, node);
    source.mtime = 1_234_567_890;
    let lower = Rootfs::new(vec![Arc::new(Tree::new(vec![source]).expect("a tree"))]);
    std::fs::remove_file(upper.path().join("lib/m.py")).expect("removed");
    let tree = normalized(upper.path(), &lower, &[Normalizer::Pyc]);
    let compiled = tree
        .entries()
        .iter()
        .find(|entry| entry.path.as_bytes().ends_with(b".pyc"))
        .expect("there");
    let bytes = std::fs::read(
        upper
            .path()
            .join(String::from_utf8_lossy(compiled.path.as_bytes()).as_ref()),
    )
    .expect("read");
    assert_eq!(bytes[8..12], 1_234_567_890_u32.to_le_bytes());
}

#[test]
fn compiled_python_can_go_unchecked_or_go() {
    let (folder, _) = same_at_two_times(compile, &[Normalizer::PycUnchecked]);
    touch(&folder.path().join("lib/m.py"), "2022-01-01T00:00:00Z");
    assert!(is_taken(folder.path()), "nobody looks at the source");
    let (_, tree) = same_at_two_times(compile, &[Normalizer::PycRemove]);
    let paths: Vec<_> = tree
        .entries()
        .iter()
        .map(|entry| entry.path.to_string())
        .collect();
    assert_eq!(paths, ["/lib", "/lib/m.py"]);
}

#[test]
fn compiled_python_checked_by_hash_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "lib/m.py", "value = 5\n");
    run(
        "python3",
        &[
            "-m",
            "compileall",
            "-q",
            "--invalidation-mode",
            "checked-hash",
            "lib",
        ],
        folder.path(),
    );
    let before = capture(folder.path(), &Rootfs::default())
        .expect("captured")
        .tree;
    for one in [Normalizer::Pyc, Normalizer::PycUnchecked] {
        assert!(!apply(folder.path(), &before, &Rootfs::default(), &[one]).expect("normalized"));
    }
}

#[test]
fn key_stores_have_one_order() {
    let path = "etc/ssl/certs/java/cacerts";
    let make = |root: &Path, date: &str| {
        let mut aliases = ["debian:one.pem", "debian:other.pem"];
        if date.starts_with("2001") {
            aliases.reverse();
        }
        let mut store = tbuild_netlock::KeyStore::default();
        for alias in aliases {
            store.trust(alias, alias.as_bytes());
        }
        let file = write(root, path, "");
        std::fs::write(file, store.to_bytes()).expect("written");
    };
    let (folder, _) = same_at_two_times(make, &[Normalizer::Java]);
    let bytes = std::fs::read(folder.path().join(path)).expect("read");
    assert!(tbuild_netlock::KeyStore::parse(&bytes).is_some());
    let other = write(folder.path(), path, "no key store");
    let tree = capture(folder.path(), &Rootfs::default())
        .expect("captured")
        .tree;
    let lower = Rootfs::default();
    assert!(!apply(folder.path(), &tree, &lower, &[Normalizer::Java]).expect("normalized"));
    assert_eq!(std::fs::read(other).expect("read"), b"no key store");
}

#[test]
fn gzip_headers_lose_their_time_below_share_alone() {
    let make = |root: &Path, date: &str| {
        let file = write(root, "usr/share/doc/x/changelog", "words\n");
        touch(&file, date);
        run("gzip", &["usr/share/doc/x/changelog"], root);
    };
    let (folder, _) = same_at_two_times(make, &[Normalizer::Gzip]);
    assert_eq!(
        run(
            "gzip",
            &["-dc", "usr/share/doc/x/changelog.gz"],
            folder.path()
        ),
        "words\n"
    );
    let other = tempfile::tempdir().expect("a folder");
    let file = write(other.path(), "srv/data", "words\n");
    touch(&file, "2020-10-11T12:13:14Z");
    run("gzip", &["srv/data"], other.path());
    let before = capture(other.path(), &Rootfs::default())
        .expect("captured")
        .tree;
    assert!(
        !apply(
            other.path(),
            &before,
            &Rootfs::default(),
            &[Normalizer::Gzip]
        )
        .expect("normalized")
    );
}

#[test]
fn static_libraries_are_as_ar_d_makes_them() {
    let sources = |root: &Path, date: &str| {
        for name in ["one", "two_with_a_name_of_more_than_sixteen_letters"] {
            write(
                root,
                &format!("{name}.c"),
                &format!("int {name}(void) {{ return 1; }}\n"),
            );
            run("cc", &["-c", &format!("{name}.c")], root);
            touch(&root.join(format!("{name}.o")), date);
            std::fs::remove_file(root.join(format!("{name}.c"))).expect("removed");
        }
    };
    let objects = ["one.o", "two_with_a_name_of_more_than_sixteen_letters.o"];
    let make = |root: &Path, date: &str| {
        sources(root, date);
        run("ar", &["rcU", "libx.a", objects[0], objects[1]], root);
    };
    let (folder, tree) = same_at_two_times(make, &[Normalizer::Ar]);
    run(
        "ar",
        &["rcD", "reference", objects[0], objects[1]],
        folder.path(),
    );
    let reference = std::fs::read(folder.path().join("reference")).expect("read");
    assert_eq!(
        std::fs::read(folder.path().join("libx.a")).expect("read"),
        reference
    );
    assert!(tree.get(&"libx.a".into()).is_some());
    run("ar", &["t", "libx.a"], folder.path());
}

#[test]
fn the_cache_of_ldconfig_goes() {
    let root = tempfile::tempdir().expect("a folder");
    for folder in ["etc", "lib", "usr/lib", "var/cache/ldconfig"] {
        std::fs::create_dir_all(root.path().join(folder)).expect("made");
    }
    write(root.path(), "x.c", "int x(void) { return 1; }\n");
    run(
        "cc",
        &[
            "-shared",
            "-Wl,-soname,libx.so.1",
            "-o",
            "usr/lib/libx.so.1.0",
            "x.c",
        ],
        root.path(),
    );
    write(root.path(), "etc/ld.so.conf", "");
    run(
        "/sbin/ldconfig",
        &["-r", root.path().to_str().expect("text")],
        Path::new("/"),
    );
    assert!(
        root.path().join(super::LDCONFIG).exists(),
        "ldconfig wrote its cache"
    );
    let tree = normalized(root.path(), &Rootfs::default(), &[Normalizer::Ldconfig]);
    assert!(tree.get(&super::LDCONFIG.into()).is_none());
    assert!(tree.get(&"etc/ld.so.cache".into()).is_some());
}

#[test]
fn what_apt_writes_besides_packages_goes_and_what_was_there_comes_back() {
    let upper = tempfile::tempdir().expect("a folder");
    for path in [
        "var/log/apt/history.log",
        "var/log/dpkg.log",
        "var/lib/apt/lists/x_InRelease",
        "var/lib/apt/extended_states",
        "var/cache/apt/pkgcache.bin",
    ] {
        write(upper.path(), path, "now");
    }
    let node = Node::File {
        size: 4,
        digest: tbuild_digest::Sha256::of(b"then"),
    };
    let log = Entry::new("var/log/dpkg.log".into(), 0o644, node);
    let lower = Rootfs::new(vec![Arc::new(Tree::new(vec![log]).expect("a tree"))]);
    let tree = normalized(upper.path(), &lower, &[Normalizer::Apt]);
    let files: Vec<String> = digests(&tree).into_keys().collect();
    assert_eq!(files, ["/var/lib/apt/extended_states"]);
}

#[test]
fn a_machine_has_no_id_yet() {
    let upper = tempfile::tempdir().expect("a folder");
    write(
        upper.path(),
        "etc/machine-id",
        "0123456789abcdef0123456789abcdef\n",
    );
    write(
        upper.path(),
        "var/lib/dbus/machine-id",
        "0123456789abcdef0123456789abcdef\n",
    );
    let tree = normalized(upper.path(), &Rootfs::default(), &[Normalizer::MachineId]);
    let id = tree.get(&"etc/machine-id".into()).expect("there");
    assert!(matches!(id.node, Node::File { size: 0, .. }));
    assert!(tree.get(&"var/lib/dbus/machine-id".into()).is_none());
}

#[test]
fn no_link_leads_out_of_the_layer() {
    let (upper, host) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    write(host.path(), "apt/history.log", "of the host");
    std::fs::create_dir_all(upper.path().join("var")).expect("made");
    std::os::unix::fs::symlink(host.path(), upper.path().join("var/log")).expect("linked");
    std::fs::create_dir_all(upper.path().join("etc")).expect("made");
    std::os::unix::fs::symlink(
        host.path().join("apt/history.log"),
        upper.path().join("etc/machine-id"),
    )
    .expect("linked");
    normalized(upper.path(), &Rootfs::default(), &Normalizer::ALL[..6]);
    assert_eq!(
        std::fs::read_to_string(host.path().join("apt/history.log")).expect("read"),
        "of the host"
    );
}

#[test]
fn hard_links_and_modes_stay() {
    let upper = tempfile::tempdir().expect("a folder");
    let file = write(upper.path(), "usr/share/man/man1/a.1", "words\n");
    run("gzip", &["usr/share/man/man1/a.1"], upper.path());
    let first = file.with_extension("1.gz");
    std::fs::hard_link(&first, upper.path().join("usr/share/man/man1/b.1.gz")).expect("linked");
    run(
        "chmod",
        &["4755", first.to_str().expect("text")],
        Path::new("/"),
    );
    let tree = normalized(upper.path(), &Rootfs::default(), &[Normalizer::Gzip]);
    assert!(matches!(
        tree.get(&"usr/share/man/man1/b.1.gz".into())
            .expect("there")
            .node,
        Node::Hardlink { .. }
    ));
    assert_eq!(
        tree.get(&"usr/share/man/man1/a.1.gz".into())
            .expect("there")
            .mode,
        0o4755
    );
}

#[test]
fn hints_name_the_one_for_a_path() {
    assert_eq!(
        normalizer_for("/usr/lib/python3/x.pyc"),
        Some(Normalizer::Pyc)
    );
    assert_eq!(
        normalizer_for("/var/log/apt/term.log"),
        Some(Normalizer::Apt)
    );
    assert_eq!(
        normalizer_for("/usr/share/doc/x/y.gz"),
        Some(Normalizer::Gzip)
    );
    assert_eq!(normalizer_for("/srv/y.gz"), None);
}
