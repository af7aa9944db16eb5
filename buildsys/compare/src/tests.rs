//! Images made of trees in memory.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use serde_json::json;
use tbuild_digest::{DiffId, Sha256};
use tbuild_tree::{Entry, Node, Tree, TreePath};

use crate::{
    Contents, FileChange, Image, Layer, LineSide, Options, Report, Style, compare, render,
};

/// Layers in memory: path to content.
#[derive(Default)]
struct Memory(Vec<BTreeMap<TreePath, Vec<u8>>>);

impl Contents for Memory {
    fn file(&self, layer: usize, path: &TreePath) -> io::Result<Box<dyn Read + '_>> {
        let bytes = self.0[layer].get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(bytes.as_slice()))
    }

    fn tar(&self, layer: usize) -> io::Result<Option<Box<dyn Read + '_>>> {
        let tar: Vec<u8> = self.0[layer].values().flatten().copied().collect();
        Ok(Some(Box::new(io::Cursor::new(tar))))
    }

    fn member(&self, layer: usize, _: u64) -> io::Result<Option<TreePath>> {
        Ok(self.0[layer].keys().next().cloned())
    }
}

fn file(path: &str, content: &[u8]) -> (Entry, Vec<u8>) {
    let node = Node::File {
        size: content.len() as u64,
        digest: Sha256::of(content),
    };
    (Entry::new(path.into(), 0o644, node), content.to_vec())
}

type Spec = (&'static str, Vec<(Entry, Vec<u8>)>);

fn image(layers: Vec<Spec>) -> (Memory, Vec<Layer>) {
    let mut memory = Memory::default();
    let mut made = Vec::new();
    for (step, files) in layers {
        let (entries, contents): (Vec<_>, Vec<_>) = files.into_iter().unzip();
        let names = entries.iter().map(|entry: &Entry| entry.path.clone());
        let contents: BTreeMap<TreePath, Vec<u8>> = names.zip(contents).collect();
        let tree = Tree::new(entries).expect("a tree");
        let identity = format!("{:?} {contents:?}", tree.entries());
        made.push(Layer {
            tree: Arc::new(tree),
            diff_id: Some(DiffId::of(identity.as_bytes())),
            step: Some(step.to_owned()),
        });
        memory.0.push(contents);
    }
    (memory, made)
}

fn report(a: Vec<Spec>, b: Vec<Spec>) -> Report {
    let ((left, layers_a), (right, layers_b)) = (image(a), image(b));
    let side = |contents, layers| Image {
        config: Some(json!({"os": "linux"})),
        manifest: None,
        layers,
        contents,
    };
    let options = Options { contents: 10 };
    compare(&side(&left, layers_a), &side(&right, layers_b), options).expect("they compare")
}

fn text(report: &Report) -> String {
    let style = Style {
        a: "one",
        b: "two",
        files: 10,
    };
    render(report, &style)
}

#[test]
fn the_same_image_has_no_difference() {
    let layers = || vec![("RUN x", vec![file("a", b"1")])];
    let report = report(layers(), layers());
    assert!(report.same);
    assert_eq!(text(&report), "");
}

#[test]
fn lines_of_text_and_the_step_are_named() {
    let report = report(
        vec![
            ("FROM", vec![]),
            ("RUN date", vec![file("log/now", b"one\ntwo\nthree\n")]),
        ],
        vec![
            ("FROM", vec![]),
            ("RUN date", vec![file("log/now", b"one\n2\nthree\n")]),
        ],
    );
    assert_eq!(report.layers.len(), 1);
    let layer = &report.layers[0];
    assert_eq!(
        layer.name().and_then(|name| name.step.as_deref()),
        Some("RUN date")
    );
    let file = &layer.files[0];
    assert_eq!(
        (file.path.as_str(), file.change),
        ("/log/now", FileChange::Changed)
    );
    let content = file.content.as_ref().expect("contents differ");
    assert_eq!(content.offset, 4);
    let lines: Vec<_> = content
        .lines
        .iter()
        .map(|line| (line.side, line.number, line.text.as_str()))
        .collect();
    assert_eq!(lines, [(LineSide::A, 2, "two"), (LineSide::B, 2, "2")]);
    assert_eq!(
        text(&report),
        "--- one\n+++ two\nlayer 2: RUN date\n  /log/now\n    size: 14 | 12\n    first difference at byte 4\n    -   2: two\n    +   2: 2\nmerged files: 1 differ, all of them shown above\n"
    );
}

#[test]
fn bytes_are_shown_in_hex() {
    let report = report(
        vec![("RUN", vec![file("x", b"\0\x01same\xff")])],
        vec![("RUN", vec![file("x", b"\0\x01sane\xff")])],
    );
    let content = report.layers[0].files[0]
        .content
        .clone()
        .expect("contents differ");
    assert_eq!(
        (
            content.offset,
            content.a.hex.as_str(),
            content.a.text.as_str()
        ),
        (4, "6d 65 ff", "me.")
    );
    assert!(content.lines.is_empty());
}

#[test]
fn a_difference_far_into_a_large_file_is_found() {
    let mut large = vec![7_u8; 3 << 20];
    let one = file("x", &large);
    *large.last_mut().expect("bytes") = 8;
    let report = report(
        vec![("RUN", vec![one])],
        vec![("RUN", vec![file("x", &large)])],
    );
    let content = report.layers[0].files[0]
        .content
        .clone()
        .expect("contents differ");
    assert_eq!(
        (
            content.offset,
            content.a.hex.as_str(),
            content.b.hex.as_str()
        ),
        ((3 << 20) - 1, "07", "08")
    );
}

#[test]
fn an_excerpt_reaches_over_the_end_of_the_buffer() {
    let mut one = vec![b'a'; (64 << 10) + 20];
    let old = file("x", &one);
    one[(64 << 10) - 1] = b'b';
    let found = crate::content::first_difference(old.1.as_slice(), one.as_slice())
        .expect("reads")
        .expect("differs");
    assert_eq!(found.a.text, "a".repeat(16));
    assert_eq!(found.b.text, format!("b{}", "a".repeat(15)));
}

#[test]
fn header_fields_are_named() {
    let (mut other, bytes) = file("x", b"same");
    other.mode = 0o755;
    (other.uid, other.gid) = (5, 6);
    other.mtime = 1_700_000_000;
    other.xattrs.insert(b"user.a".to_vec(), b"\x01".to_vec());
    let report = report(
        vec![("RUN", vec![file("x", b"same")])],
        vec![("RUN", vec![(other, bytes)])],
    );
    let found = &report.layers[0].files[0];
    assert!(found.content.is_none());
    let fields: Vec<String> = found
        .fields
        .iter()
        .map(|field| {
            format!(
                "{}={}|{}",
                field.field,
                field.a.clone().unwrap_or_default(),
                field.b.clone().unwrap_or_default()
            )
        })
        .collect();
    assert_eq!(
        fields,
        [
            "mode=0644|0755",
            "owner=0:0|5:6",
            "mtime=1980-01-01T00:00:00Z|2023-11-14T22:13:20Z",
            "xattr user.a=|01"
        ]
    );
}

#[test]
fn dates_are_those_of_the_calendar() {
    for (seconds, date) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_827_696, "2000-02-29T12:34:56Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (4_107_542_399, "2100-02-28T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
    ] {
        assert_eq!(crate::fields::date(seconds), date);
    }
}

#[test]
fn a_layer_more_is_told_apart_from_the_others() {
    let report = report(
        vec![("A", vec![file("a", b"1")]), ("C", vec![file("c", b"1")])],
        vec![
            ("A", vec![file("a", b"1")]),
            ("B", vec![file("b", b"1")]),
            ("C", vec![file("c", b"1")]),
        ],
    );
    assert_eq!(report.layers.len(), 1);
    assert!(report.layers[0].a.is_none());
    let merged = &report.files[0];
    assert_eq!(
        (merged.path.as_str(), merged.change, merged.layer_b),
        ("/b", FileChange::OnlyInB, Some(2))
    );
    assert!(text(&report).contains("layer 2 is only in two: B (1 entries)"));
}

#[test]
fn a_layer_that_is_covered_changes_no_merged_file() {
    let cover = || ("B", vec![file("a", b"3")]);
    let report = report(
        vec![("A", vec![file("a", b"1")]), cover()],
        vec![("A", vec![file("a", b"2")]), cover()],
    );
    assert_eq!(
        (report.layers.len(), report.files.len(), report.same),
        (1, 0, false)
    );
    assert!(text(&report).ends_with("merged files: the same\n"));
}

#[test]
fn a_folder_is_compared_by_what_a_container_would_see() {
    let (left, mut folder) = image(vec![("", vec![file("a", b"1"), file("b", b"1")])]);
    folder[0].diff_id = None;
    let (right, layers) = image(vec![
        ("A", vec![file("a", b"1")]),
        ("B", vec![file("b", b"2")]),
    ]);
    let a = Image {
        config: None,
        manifest: None,
        layers: folder,
        contents: &left,
    };
    let b = Image {
        config: Some(json!({})),
        manifest: None,
        layers,
        contents: &right,
    };
    let report = compare(&a, &b, Options { contents: 10 }).expect("they compare");
    assert!(report.layers.is_empty());
    let found: Vec<_> = report
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.layer_b))
        .collect();
    assert_eq!(found, [("/b", Some(2))]);
}

#[test]
fn fields_of_documents_are_named_by_path() {
    let a = json!({"config": {"Env": ["A=1", "B=1"], "User": "x"}, "os": "linux"});
    let b = json!({"config": {"Env": ["A=1", "B=2", "C=3"]}, "os": "linux"});
    let found: Vec<_> = crate::document::compare(&a, &b)
        .into_iter()
        .map(|one| (one.field, one.a, one.b))
        .collect();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        found,
        [
            ("config.Env[1]".to_owned(), text("B=1"), text("B=2")),
            ("config.Env[2]".to_owned(), None, text("C=3")),
            ("config.User".to_owned(), text("x"), None),
        ]
    );
}
