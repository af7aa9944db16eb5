use std::collections::HashMap;
use std::io::{self, Cursor, Read, Write};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use tbuild_digest::{BlobDigest, Sha256};
use tbuild_tree::{Entry, Node, Tree, TreePath};

use super::*;

/// Contents by path.
struct Memory(HashMap<TreePath, Vec<u8>>);

impl FileContent for Memory {
    fn open<'a>(&'a mut self, entry: &Entry) -> io::Result<Box<dyn Read + 'a>> {
        let bytes = self.0.get(&entry.path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(bytes.as_slice()))
    }
}

fn file(path: &str, content: &[u8]) -> Entry {
    let node = Node::File {
        size: content.len() as u64,
        digest: Sha256::of(content),
    };
    Entry::new(path.into(), 0o644, node)
}

fn dir(path: &str) -> Entry {
    Entry::new(path.into(), 0o755, Node::Directory)
}

/// A tree and its contents: each file holds its own path, repeated.
fn sample(entries: Vec<Entry>, contents: &[(&str, &[u8])]) -> (Tree, Memory) {
    let contents = contents
        .iter()
        .map(|(path, bytes)| (TreePath::from(*path), bytes.to_vec()))
        .collect();
    (Tree::new(entries).expect("a tree"), Memory(contents))
}

fn everything() -> (Tree, Memory) {
    let long = format!("{}/{}", "folder".repeat(20), "name".repeat(30));
    let mut owned = file("bin/tool", b"#!/bin/sh\n");
    (owned.mode, owned.uid, owned.gid) = (0o4755, 3_000_000, 7);
    let mut capable = file("bin/capable", b"x");
    capable.xattrs.insert(
        b"security.capability".to_vec(),
        vec![1, 0, 0, 2, 0, 4, 0, 0],
    );
    let mut opaque = dir("opaque");
    opaque.opaque = true;
    let entries = vec![
        dir("bin"),
        owned,
        capable,
        Entry::new(
            "bin/again".into(),
            0o644,
            Node::Hardlink { target: "a".into() },
        ),
        Entry::new(
            "bin/link".into(),
            0o777,
            Node::Symlink {
                target: b"../else where".to_vec(),
            },
        ),
        file("a", b"first name"),
        dir("dev"),
        Entry::new(
            "dev/null".into(),
            0o666,
            Node::CharDevice { major: 1, minor: 3 },
        ),
        Entry::new(
            "dev/loop0".into(),
            0o660,
            Node::BlockDevice { major: 7, minor: 0 },
        ),
        Entry::new("dev/pipe".into(), 0o600, Node::Fifo),
        dir(&"folder".repeat(20)),
        file(&long, b"far down"),
        file("\u{fc}ber", b"not ASCII"),
        opaque,
        file("opaque/new", b""),
        Entry::new("bin/gone".into(), 0, Node::Whiteout),
        Entry::new("removed".into(), 0, Node::Whiteout),
    ];
    let contents: &[(&str, &[u8])] = &[
        ("bin/tool", b"#!/bin/sh\n"),
        ("bin/capable", b"x"),
        ("a", b"first name"),
        (&long, b"far down"),
        ("\u{fc}ber", b"not ASCII"),
        ("opaque/new", b""),
    ];
    sample(entries, contents)
}

fn written(tree: &Tree, content: &mut Memory) -> (Vec<u8>, LayerIndex) {
    let mut bytes = Vec::new();
    let index = write_layer(tree, content, &mut bytes).expect("it can be written");
    (bytes, index)
}

#[test]
fn a_layer_reads_back_as_its_tree() {
    let (tree, mut content) = everything();
    let (bytes, index) = written(&tree, &mut content);
    assert_eq!(**index.tree(), tree);
    let read = index_layer(bytes.as_slice()).expect("it can be read");
    assert_eq!(**read.tree(), tree);
    assert_eq!(read, index, "offsets too");
    for (path, expected) in &content.0 {
        let at = usize::try_from(index.offset(path).expect("a file")).expect("small");
        assert_eq!(
            &bytes[at..at + expected.len()],
            expected.as_slice(),
            "{path}"
        );
    }
    assert_eq!(index.offset(&"bin/again".into()), index.offset(&"a".into()));
    assert_eq!(
        LayerIndex::decode(&index.encode()).expect("it decodes"),
        index
    );
}

#[test]
fn names_and_values_hold_any_byte() {
    let mut noted = file("a", b"x");
    // Whoever looks for line ends takes this for a record that renames the file.
    let value = b"note\n17 path=elsewhere\n".to_vec();
    noted.xattrs.insert(b"user.note".to_vec(), value);
    let odd = b"new\nline/17 path=elsewhere\n\xff\x80".as_slice();
    let deep = vec![b"d".as_slice(); 6000].join(&b'/');
    let mut entries = vec![noted];
    for path in [odd, &deep] {
        let path = TreePath::from_clean(path).expect("clean");
        entries.push(Entry::new(path.clone(), 0o644, Node::Fifo));
        let link = Node::Hardlink { target: "a".into() };
        entries.push(Entry::new(path.join(b"e"), 0o644, link));
    }
    let (tree, mut content) = sample(entries, &[("a", b"x")]);
    let (bytes, index) = written(&tree, &mut content);
    assert_eq!(
        index_layer(bytes.as_slice()).expect("it can be read"),
        index
    );
    let long = TreePath::from_clean(&vec![b'p'; MAX_PATH + 1]).expect("clean");
    let (tree, mut content) = sample(vec![Entry::new(long, 0o644, Node::Fifo)], &[]);
    let (bytes, _) = written(&tree, &mut content);
    let error = index_layer(bytes.as_slice()).expect_err("too long");
    assert!(error.to_string().contains("16385"), "{error}");
}

#[test]
fn layer_bytes_stay_as_they_are() {
    let (tree, mut content) = everything();
    let (bytes, _) = written(&tree, &mut content);
    // Every layer's identity hangs on these bytes. If this has to move, every digest in the world does.
    assert_eq!(BlobDigest::of(&bytes).hex(), GOLDEN_LAYER);
}
const GOLDEN_LAYER: &str = "2fe43fd74f0f4592d77c08c4db5fa03f670231b39c61b1224e7d8feb4c2c67d4";

#[test]
fn gzip_bytes_stay_as_they_are() {
    let input: Vec<u8> = (0..3_000_000_u32)
        .flat_map(|number| (number / 7).wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let mut packed = Vec::new();
    compress(input.as_slice(), &mut packed).expect("memory");
    assert_eq!(
        BlobDigest::of(&packed).hex(),
        GOLDEN_GZIP,
        "{COMPRESSOR_ID} has to move with its bytes"
    );
    let mut back = Vec::new();
    decompress(packed.as_slice())
        .expect("gzip")
        .read_to_end(&mut back)
        .expect("whole");
    assert!(back == input);
    // gzip itself agrees.
    assert!(pipe("gzip", &["-dc"], &packed) == input);
    assert!(
        Chunker::new(input.as_slice()).count() > 4,
        "several members"
    );
}
const GOLDEN_GZIP: &str = "3ca04144d13dac3105bea4c1082cd9cfdd710d2ff2cb7159f1a1c56cb6d65c6b";

/// Runs a program with standard input, and gives its standard output.
fn pipe(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("it ends");
    feeder.join().expect("no panic").expect("it reads all");
    assert!(output.status.success(), "{program} failed");
    output.stdout
}

#[test]
fn gnu_tar_reads_what_is_written() {
    let (tree, mut content) = everything();
    let (bytes, _) = written(&tree, &mut content);
    let listing = pipe(
        "tar",
        &["--numeric-owner", "--utc", "--full-time", "-tvf", "-"],
        &bytes,
    );
    let listing = String::from_utf8(listing).expect("UTF-8 once escaped");
    for line in [
        "-rwsr-xr-x 3000000/7        10 1980-01-01 00:00:00 bin/tool",
        "lrwxrwxrwx 0/0               0 1980-01-01 00:00:00 bin/link -> ../else where",
        "hrw-r--r-- 0/0               0 1980-01-01 00:00:00 bin/again link to a",
        "crw-rw-rw- 0/0             1,3 1980-01-01 00:00:00 dev/null",
        "prw------- 0/0               0 1980-01-01 00:00:00 dev/pipe",
        ".wh.removed",
        "opaque/.wh..wh..opq",
    ] {
        assert!(listing.contains(line), "{line:?} is not in\n{listing}");
    }
    let first_whiteout = listing.find(".wh.removed").expect("there");
    assert!(
        first_whiteout < listing.find(" a\n").expect("there"),
        "whiteouts come before siblings\n{listing}"
    );
}

#[test]
fn reads_what_gnu_tar_writes() {
    let folder = std::env::temp_dir().join(format!("tbuild-oci-{}", std::process::id()));
    let long = "n".repeat(180);
    std::fs::create_dir_all(folder.join("d")).expect("a folder");
    std::fs::write(folder.join("d").join(&long), "content").expect("a file");
    std::fs::hard_link(folder.join("d").join(&long), folder.join("a")).expect("a link");
    std::os::unix::fs::symlink("/abs", folder.join("s")).expect("a link");
    for format in ["gnu", "pax", "ustar"] {
        if format == "ustar" {
            std::fs::rename(folder.join("d").join(&long), folder.join("d/short")).expect("renamed");
        }
        let path = folder.to_str().expect("UTF-8");
        let tar = pipe(
            "tar",
            &[
                "--format",
                format,
                "--sort=name",
                "-C",
                path,
                "-cf",
                "-",
                ".",
            ],
            b"",
        );
        let index = index_layer(tar.as_slice()).expect("it can be read");
        let tree = index.tree();
        let first = tree.get(&"a".into()).expect("a");
        assert!(
            matches!(first.node, Node::File { size: 7, .. }),
            "{first:?}"
        );
        let name = if format == "ustar" {
            "d/short".to_owned()
        } else {
            format!("d/{long}")
        };
        let second = tree.get(&name.as_str().into()).expect("the other name");
        assert_eq!(second.node, Node::Hardlink { target: "a".into() });
        assert_eq!(
            tree.get(&"s".into()).expect("s").node,
            Node::Symlink {
                target: b"/abs".to_vec()
            }
        );
    }
    std::fs::remove_dir_all(folder).expect("removed");
}

#[test]
fn content_that_changed_is_refused() {
    let (tree, _) = sample(vec![file("f", b"then")], &[]);
    for now in [&b"now"[..], b"now!", b"longer than then"] {
        let mut content = Memory(HashMap::from([("f".into(), now.to_vec())]));
        let error = write_layer(&tree, &mut content, &mut Vec::new()).expect_err("it changed");
        assert_eq!(error.to_string(), "/f changed while it was being read");
    }
}

#[test]
fn a_file_named_like_a_whiteout_is_refused() {
    let (tree, mut content) = sample(vec![file("d/.wh.x", b"")], &[("d/.wh.x", b"")]);
    let error = write_layer(&tree, &mut content, &mut Vec::new())
        .expect_err("it would be read as a whiteout");
    assert!(matches!(error, LayerError::Reserved(_)));
}

#[test]
fn references_read_as_docker_reads_them() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let table = [
        ("nginx", "docker.io/library/nginx"),
        ("user/app:1.0", "docker.io/user/app:1.0"),
        ("localhost/app", "localhost/app"),
        ("localhost:5000/a/b:t", "localhost:5000/a/b:t"),
        ("r.test:443/app", "r.test:443/app"),
        ("[::1]:5000/app", "[::1]:5000/app"),
        ("r.test/a__b/c-d--e", "r.test/a__b/c-d--e"),
    ];
    for (text, expected) in table {
        assert_eq!(text.parse::<Reference>().expect(text).to_string(), expected);
    }
    let both = format!("r.test/app:t@{digest}")
        .parse::<Reference>()
        .expect("both");
    assert_eq!((both.tag.as_deref(), both.selector()), (Some("t"), digest));
    for text in [
        "",
        "UPPER",
        "a//b",
        "a:",
        "a:b:c",
        "a@sha256:0",
        "-a",
        "a_",
        "r.test/",
        "a___b",
        ":tag",
    ] {
        assert!(text.parse::<Reference>().is_err(), "{text:?} was taken");
    }
}

#[test]
fn configs_keep_what_they_do_not_know() {
    let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Volumes":null,"Healthcheck":{"Test":["NONE"]},"OnBuild":["RUN x"],"ArgsEscaped":true},"rootfs":{"type":"layers","diff_ids":[]},"container":"abc","x":1e-307}"#;
    let config = ImageConfig::from_bytes(text.as_bytes()).expect("it reads");
    let again = String::from_utf8(config.to_bytes()).expect("JSON");
    for part in [
        r#""ArgsEscaped":true"#,
        r#""container":"abc""#,
        r#""x":1e-307"#,
        r#""OnBuild":["RUN x"]"#,
        r#""Test":["NONE"]"#,
    ] {
        assert!(again.contains(part), "{part} is not in {again}");
    }
}

#[test]
fn archives_are_as_docker_and_oci_lay_them_out() {
    let layer = b"layer".to_vec();
    let opener = || -> Opener<'static> {
        let bytes = layer.clone();
        Box::new(move || Ok(Box::new(Cursor::new(bytes.clone()))))
    };
    let diff_id = tbuild_digest::DiffId::of(&layer);
    let plain = PlainLayer {
        diff_id,
        size: 5,
        open: opener(),
    };
    let mut tar = Vec::new();
    write_archive(
        &docker_archive(b"{}", vec![plain], &["a:b".to_owned()]),
        &mut tar,
    )
    .expect("memory");
    let index = index_layer(tar.as_slice()).expect("a tar");
    assert!(
        index
            .tree()
            .get(&format!("{}/layer.tar", diff_id.hex()).as_str().into())
            .is_some()
    );
    let descriptor = Descriptor::new(media_type::LAYER, BlobDigest::of(&layer), 5);
    let (files, manifest) = oci_layout(b"{}", vec![(descriptor, opener())], &[]);
    assert_eq!(files[0].path, "oci-layout");
    assert!(
        files
            .iter()
            .any(|file| file.path == format!("blobs/sha256/{}", manifest.hex()))
    );
}

/// A reader that gives at most so many bytes at once.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(buffer.len()).min(self.0.len());
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn hostile_indexes_and_layers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _any = LayerIndex::decode(&bytes);
        let _any = index_layer(bytes.as_slice());
    }

    #[test]
    fn damaged_indexes_and_layers_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (tree, mut content) = everything();
        let (mut tar, index) = written(&tree, &mut content);
        let place = at.index(tar.len());
        tar[place] = byte;
        let _any = index_layer(tar.as_slice());
        let mut encoded = index.encode();
        let place = at.index(encoded.len());
        encoded[place] = byte;
        if let Ok(decoded) = LayerIndex::decode(&encoded) {
            prop_assert_eq!(decoded.encode(), encoded, "one encoding an index");
        }
    }

    #[test]
    fn pieces_do_not_depend_on_how_they_are_read(seed in any::<u64>(), step in 1_usize..100_000) {
        let mut state = seed | 1;
        let input: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        }).take(3 << 20).collect();
        let whole: Vec<usize> = Chunker::new(input.as_slice()).map(|piece| piece.expect("memory").len()).collect();
        let dribbled: Vec<usize> = Chunker::new(Dribble(&input, step)).map(|piece| piece.expect("memory").len()).collect();
        prop_assert_eq!(whole, dribbled);
    }

    #[test]
    fn references_survive_their_text(text in "[a-z0-9./:@_-]{1,40}") {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string().parse::<Reference>(), Ok(reference));
        }
    }
}
