//! Layers of the kinds that break builders: written by a step, captured, made a tar, read, unpacked, and captured
//! again: each time the same. Runs as root.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read the machine they run on"
)]

mod common;

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use common::{Bench, copy_tree};
use tbuild_oci::index_layer;
use tbuild_sandbox::{UpperContent, capture};
use tbuild_store_local::{remove_tree, unpack_layer};
use tbuild_tree::{Entry, Node, Rootfs, Tree, TreePath};

/// Captures what a step left, and checks that the layer survives the way through a tar and back.
fn survives(bench: &Bench, upper: &Path, below: &Rootfs) -> Tree {
    let tree = capture(upper, below).expect("captured").tree;
    let mut content = UpperContent::new(upper).expect("opened");
    let mut tar = Vec::new();
    let written = tbuild_oci::write_layer(&tree, &mut content, &mut tar).expect("written");
    let read = index_layer(tar.as_slice()).expect("read");
    assert_eq!(
        read.tree().entries(),
        tree.entries(),
        "the tar says the same"
    );
    assert_eq!(read, written, "contents are where the writer says");
    let again = bench.folder("again");
    unpack_layer(tar.as_slice(), &again).expect("unpacked");
    let unpacked = capture(&again, below).expect("captured").tree;
    assert_eq!(
        unpacked.entries(),
        tree.entries(),
        "unpacked, it is the same"
    );
    remove_tree(&again).expect("removed");
    tree
}

fn get(tree: &Tree, path: &[u8]) -> Entry {
    let path = TreePath::clean(path);
    tree.get(&path)
        .unwrap_or_else(|| panic!("{path} is missing: {tree:?}"))
        .clone()
}

#[test]
fn files_of_all_kinds() {
    let bench = Bench::new(&["busybox", "setcap", "setfattr"]);
    let line = r"
        mkdir -p /k/a /k/b; cd /k
        echo one >a/1; ln a/1 b/2; ln a/1 a/0; ln b/2 /k/zz
        mkfifo fifo; mknod char c 5 1; mknod block b 7 200; mknod -m 600 large c 511 1048575
        ln -s /nowhere link; ln -s $(head -c 4000 /dev/zero | tr '\0' x) long
        cp /usr/bin/busybox cap; setcap cap_net_bind_service,cap_setuid+ep cap
        setfattr -n user.note -v value a/1; setfattr -n user.empty b; setfattr -n user.bin -v 0x00ff0a3d b
        echo s >suid; chown 12:34 suid; chmod 6755 suid; mkdir sticky; chmod 3777 sticky; mkdir closed; chmod 0 closed
        chown 4294967294:2097152 long -h
        printf x | dd of=sparse bs=1 seek=1000000 2>/dev/null; truncate -s 3000000 sparse
        echo n >$(printf 'bad\377\200name'); mkdir $(printf 'd\303\050'); echo x >$(printf 'new\nline'); echo x >' '
        echo x >$(printf 'd\303\050')/-; : >empty
    ";
    let upper = bench.run(line);
    let _socket = std::os::unix::net::UnixListener::bind(upper.join("k/socket")).expect("bound");
    let tree = survives(&bench, &upper, &bench.below());
    let node = |path: &[u8]| get(&tree, path).node;
    assert_eq!(
        node(b"k/a/1"),
        Node::Hardlink {
            target: "k/a/0".into()
        }
    );
    assert_eq!(
        node(b"k/b/2"),
        Node::Hardlink {
            target: "k/a/0".into()
        }
    );
    assert_eq!(
        node(b"k/zz"),
        Node::Hardlink {
            target: "k/a/0".into()
        }
    );
    assert_eq!(
        get(&tree, b"k/a/0").xattrs[b"user.note".as_slice()],
        b"value"
    );
    assert_eq!(node(b"k/fifo"), Node::Fifo);
    assert_eq!(node(b"k/char"), Node::CharDevice { major: 5, minor: 1 });
    assert_eq!(
        node(b"k/block"),
        Node::BlockDevice {
            major: 7,
            minor: 200
        }
    );
    assert_eq!(
        node(b"k/large"),
        Node::CharDevice {
            major: 511,
            minor: 1_048_575
        }
    );
    assert!(matches!(node(b"k/long"), Node::Symlink { target } if target.len() == 4000));
    assert_eq!(
        (get(&tree, b"k/long").uid, get(&tree, b"k/long").gid),
        (4_294_967_294, 2_097_152)
    );
    assert!(get(&tree, b"k/cap").xattrs[b"security.capability".as_slice()].len() >= 20);
    assert_eq!(
        get(&tree, b"k/b").xattrs[b"user.bin".as_slice()],
        [0, 0xff, 0x0a, 0x3d]
    );
    assert_eq!(get(&tree, b"k/b").xattrs[b"user.empty".as_slice()], b"");
    let suid = get(&tree, b"k/suid");
    assert_eq!((suid.mode, suid.uid, suid.gid), (0o6755, 12, 34));
    assert_eq!(
        (get(&tree, b"k/sticky").mode, get(&tree, b"k/closed").mode),
        (0o3777, 0)
    );
    assert!(matches!(
        node(b"k/sparse"),
        Node::File {
            size: 3_000_000,
            ..
        }
    ));
    for name in [
        b"k/bad\xff\x80name".as_slice(),
        b"k/d\xc3\x28/-",
        b"k/new\nline",
        b"k/ ",
    ] {
        assert!(matches!(node(name), Node::File { size: 2, .. }));
    }
    assert_eq!(
        tree.get(&"k/socket".into()),
        None,
        "a socket is no part of a layer"
    );
    assert!(upper.join("k/socket").symlink_metadata().is_err());
}

#[test]
fn removals_and_replacements() {
    let bench = Bench::new(&["busybox"]);
    let below = bench.run(
        "mkdir -p /t/gone/sub /t/same/sub /t/swap /t/deep/x/y; touch /t/gone/sub/f /t/same/sub/f /t/swap/f /t/deep/x/y/1 \
         /t/deep/x/y/2; echo f >/t/file; ln /t/file /t/file2; echo f >/t/tofolder; ln -s file /t/tolink",
    );
    let first = survives(&bench, &below, &bench.below());
    let bench = bench.over(&below, first);
    let line = "cd /t; rm -r gone; rm -r same; mkdir -p same/new; rm -r swap; echo now >swap; rm tofolder; mkdir tofolder; \
                echo x >tofolder/x; rm tolink; mkdir tolink; rm deep/x/y/1; rm file2; mkdir made; touch made/f; rm -r made; \
                mv deep/x/y/2 deep/x/3; chmod 700 file; chmod 644 file";
    let upper = bench.run(line);
    let tree = survives(&bench, &upper, &bench.below());
    let text = tree.entries().iter().map(|entry| {
        let mark = match (&entry.node, entry.opaque) {
            (Node::Whiteout, _) => "-",
            (_, true) => "!",
            _ => "",
        };
        format!("{mark}{}", entry.path)
    });
    assert_eq!(
        text.collect::<Vec<_>>(),
        [
            "/t",
            "/t/deep",
            "/t/deep/x",
            "/t/deep/x/3",
            "/t/deep/x/y",
            "-/t/deep/x/y/1",
            "-/t/deep/x/y/2",
            "-/t/file2",
            "-/t/gone",
            "!/t/same",
            "/t/same/new",
            "/t/swap",
            "!/t/tofolder",
            "/t/tofolder/x",
            "!/t/tolink"
        ]
    );
    // What the next step sees.
    let bench = bench.over(&upper, tree);
    let said = bench.says("cd /t; find . | sort | tr '\\n' ' '; cat swap");
    assert_eq!(
        said,
        ". ./deep ./deep/x ./deep/x/3 ./deep/x/y ./file ./same ./same/new ./swap ./tofolder ./tofolder/x ./tolink now\n"
    );
}

#[test]
fn long_and_deep() {
    let bench = Bench::new(&["busybox", "perl"]);
    // One path of 4,095 bytes, which is the longest that open takes, and one of 12,000 that only steps reach.
    let upper = bench.run(
        r#"perl -e 'mkdir "/p"; chdir "/p"; for (1..17) { $n = "n" x 239; mkdir $n or die; chdir $n or die } open F, ">", "x" x 12;
           print F "end"; chdir "/"; mkdir "/q"; chdir "/q"; for (1..3000) { mkdir "ddd" or die $!; chdir "ddd" or die $! }
           open F, ">", "leaf"; print F "leaf"'"#,
    );
    let tree = survives(&bench, &upper, &bench.below());
    let longest = tree
        .entries()
        .iter()
        .map(|entry| entry.path.as_bytes().len())
        .max();
    assert_eq!(longest, Some(12_006));
    assert!(
        tree.entries()
            .iter()
            .any(|entry| entry.path.as_bytes().len() == 4094)
    );
    let bench = bench.over(&upper, tree);
    let upper = bench.run(r#"perl -e 'chdir "/q"; for (1..3000) { chdir "ddd" or die $! } open F, ">", "leaf"; print F "new"; mkdir "e"'"#);
    let tree = survives(&bench, &upper, &bench.below());
    assert_eq!(
        tree.entries().len(),
        3003,
        "the way there, the file, the folder"
    );
    // Beyond what a layer may hold: refused by name, and removed all the same.
    let upper = bench.run(r#"perl -e 'mkdir "/r"; chdir "/r"; for (1..9000) { mkdir "d" or die $!; chdir "d" or die $! }'"#);
    let error = capture(&upper, &bench.below()).expect_err("too deep");
    assert!(error.to_string().contains("16384"), "{error}");
    remove_tree(&upper).expect("removed");
    assert!(!upper.exists());
}

#[test]
fn many_files() {
    let bench = Bench::in_memory(&["busybox"]);
    let upper = bench.folder("upper");
    for folder in 0..100 {
        let folder = upper.join(format!("m/{folder}"));
        std::fs::create_dir_all(&folder).expect("made");
        for file in 0..1000 {
            std::fs::write(folder.join(file.to_string()), b"x").expect("written");
        }
    }
    let tree = survives(&bench, &upper, &bench.below());
    assert_eq!(tree.entries().len(), 100_101);
}

#[test]
fn nothing_is_followed_out_of_the_layer() {
    let bench = Bench::new(&["busybox"]);
    let outside = bench.folder("outside");
    std::fs::write(outside.join("secret"), "secret").expect("written");
    let upper = bench.run("mkdir /l; ln -s / /l/root; ln -s ../../../../../../.. /l/up");
    std::os::unix::fs::symlink(&outside, upper.join("l/out")).expect("linked");
    let before = outside.metadata().expect("there").mtime();
    let tree = survives(&bench, &upper, &bench.below());
    assert_eq!(tree.entries().len(), 4, "links are links");
    assert_eq!(outside.metadata().expect("there").mtime(), before);
    remove_tree(&upper).expect("removed");
    assert!(outside.join("secret").exists());
}

#[test]
fn whiteouts_are_devices_on_disk() {
    let bench = Bench::new(&["busybox"]);
    let upper = bench.run("rm /etc/kept");
    let stat = upper.join("etc/kept").symlink_metadata().expect("there");
    assert!(stat.file_type().is_char_device() && stat.rdev() == 0);
    let copy = bench.folder("copy");
    copy_tree(&upper, &copy);
    assert_eq!(
        get(&survives(&bench, &copy, &bench.below()), b"etc/kept").node,
        Node::Whiteout
    );
}
