use std::collections::HashMap;
use std::io::{self, Read};

use proptest::prelude::*;
use serde_json::json;
use tbuild_digest::Sha256;
use tbuild_tree::{Entry, Node, Tree, TreePath};

use super::*;

const CHART: &str = "apiVersion: v2\nname: demo\nversion: 1.2.3\n";

/// Packages a chart of these files.
fn packaged(files: &[(&str, &str)]) -> Result<Package, PackageError> {
    let mut contents: HashMap<TreePath, Vec<u8>> = HashMap::new();
    let mut entries: Vec<Entry> = Vec::new();
    for (path, text) in files {
        let path = TreePath::from(*path);
        let mut parent = path.parent();
        while let Some(folder) = parent.filter(|folder| !folder.is_root()) {
            if !entries.iter().any(|entry| entry.path == folder) {
                entries.push(Entry::new(folder.clone(), 0o755, Node::Directory));
            }
            parent = folder.parent();
        }
        let node = Node::File {
            size: text.len() as u64,
            digest: Sha256::of(text.as_bytes()),
        };
        entries.push(Entry::new(path.clone(), 0o600, node));
        contents.insert(path, text.as_bytes().to_vec());
    }
    let tree = Tree::new(entries).unwrap();
    package(&tree, &mut |entry| {
        contents
            .get(&entry.path)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    })
}

/// Paths and contents of an archive, in its order.
fn listing(archive: &[u8]) -> Vec<(String, String)> {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let entry = |entry: io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        assert_eq!(entry.header().mode().unwrap(), 0o644);
        assert_eq!(entry.header().mtime().unwrap(), 315_532_800);
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (entry.path().unwrap().display().to_string(), text)
    };
    tar.entries().unwrap().map(entry).collect()
}

fn names(archive: &[u8]) -> Vec<String> {
    listing(archive).into_iter().map(|(path, _)| path).collect()
}

#[test]
fn an_archive_holds_the_chart_in_helms_order() {
    let long = format!("files/{}/{}.txt", "d".repeat(90), "f".repeat(90));
    let package = packaged(&[
        ("Chart.yaml", CHART),
        ("README.md", "read me"),
        ("templates/b.yaml", "b"),
        ("templates/_a.tpl", "a"),
        ("values.schema.json", "{}"),
        ("values.yaml", "a: 1\n"),
        (&long, "long"),
    ])
    .unwrap();
    let long = format!("demo/{long}");
    let expected = [
        "demo/Chart.yaml",
        "demo/values.yaml",
        "demo/values.schema.json",
        "demo/README.md",
        &long,
        "demo/templates/_a.tpl",
        "demo/templates/b.yaml",
    ];
    assert_eq!(names(&package.archive), expected);
    assert_eq!(listing(&package.archive)[3].1, "read me");
    assert_eq!(package.file_name(), "demo-1.2.3.tgz");
    assert_eq!(package.values, json!({"a": 1}));
    assert_eq!(package.schema, Some(json!({})));
}

/// Moves when the archive's bytes move: then every chart out there is another one.
#[test]
fn the_bytes_are_these() {
    let package = packaged(&[
        ("Chart.yaml", CHART),
        ("values.yaml", "a: 1\n"),
        ("templates/x.yaml", "x: 1\n"),
    ])
    .unwrap();
    assert_eq!(
        package.digest().to_string(),
        "sha256:457615e3e48d7bb416e71ce7809d974fe1e42012cb80a5b9643820ab242e260a"
    );
}

#[test]
fn ignored_files_stay_out_and_do_not_count() {
    let ignore = "# comment\n*.swp\n/private/\nvalues-*.yaml\n!templates\n";
    let files = [
        ("Chart.yaml", CHART),
        (".helmignore", "*.swp\n/private/\nvalues-*.yaml\nb?d\n"),
        ("templates/x.yaml", "x"),
    ];
    let mut more = files.to_vec();
    more.extend([
        ("a.swp", ""),
        ("templates/.hidden", ""),
        ("private/key", ""),
        ("values-demo.yaml", ""),
        ("files/bad", ""),
        ("files/private/kept", ""),
    ]);
    let names_left = names(&packaged(&more).unwrap().archive);
    assert_eq!(
        names_left,
        [
            "demo/Chart.yaml",
            "demo/.helmignore",
            "demo/files/private/kept",
            "demo/templates/x.yaml"
        ]
    );
    assert!(
        IgnoreRules::parse(ignore)
            .unwrap()
            .ignores("README.md", false),
        "a negated rule ignores what it does not match"
    );
    assert!(matches!(
        IgnoreRules::parse("a/**"),
        Err(IgnoreError::DoubleStar { line: 1 })
    ));
    assert!(matches!(
        IgnoreRules::parse("\n[a-"),
        Err(IgnoreError::Pattern { line: 2, .. })
    ));
}

#[test]
fn what_is_no_chart_is_an_error_that_says_why() {
    let message = |files: &[(&str, &str)]| packaged(files).unwrap_err().to_string();
    assert_eq!(
        message(&[("values.yaml", "")]),
        "the chart has no Chart.yaml"
    );
    assert_eq!(
        message(&[("Chart.yaml", "apiVersion: v2\nname: demo\nversion: 1.2\n")]),
        "Chart.yaml: version is 1.2: it must be a semantic version"
    );
    assert_eq!(
        message(&[("Chart.yaml", "name: a/b\n")]),
        "Chart.yaml: name is \"a/b\": it must be letters, digits, - _ ."
    );
    let dependent = format!("{CHART}dependencies:\n- name: redis\n  version: 1.0.0\n");
    assert_eq!(
        message(&[("Chart.yaml", &dependent)]),
        "Chart.yaml: dependency redis is not in the chart's charts folder"
    );
    assert!(packaged(&[("Chart.yaml", &dependent), ("charts/redis-1.0.0.tgz", "")]).is_ok());
    assert!(packaged(&[("Chart.yaml", &dependent), ("charts/redis/Chart.yaml", "")]).is_ok());
    assert!(
        matches!(packaged(&[("Chart.yaml", "a: [")]), Err(PackageError::Values { path, .. }) if path == "Chart.yaml")
    );
}

#[test]
fn a_link_is_no_file_of_a_chart() {
    let link = Entry::new(
        "x".into(),
        0o777,
        Node::Symlink {
            target: b"/etc/passwd".to_vec(),
        },
    );
    let tree = Tree::new(vec![link]).unwrap();
    assert!(
        matches!(package(&tree, &mut |_| Ok(Vec::new())), Err(PackageError::Kind(path)) if path == "x".into())
    );
}

#[test]
fn scalars_are_what_helm_takes_them_for() {
    let text = "a: yes\nb: 0644\nc: '0644'\nd: 1.10\ne: 12:30:45\nf: 1_000\ng: ~\nh: {<<: &x {p: 1}, q: 2}\ni: 0x1F\n";
    let expected = json!({
        "a": true, "b": 420, "c": "0644", "d": 1.1, "e": "12:30:45", "f": 1000, "g": null, "h": {"p": 1, "q": 2}, "i": 31,
    });
    assert_eq!(parse_yaml(text).unwrap(), expected);
    assert_eq!(parse_yaml("").unwrap(), json!(null));
    assert_eq!(parse_yaml("# only\n").unwrap(), json!(null));
    assert!(parse_yaml("a: 1\na: 2\n").is_err());
    assert!(parse_yaml("a: 1\n---\nb: 1\n").is_err());
    assert_eq!(
        parse_yaml_documents("---\n# x\n---\na: 1\n---\nb: 1\n").unwrap(),
        [json!({"a": 1}), json!({"b": 1})]
    );
}

#[test]
fn values_merge_in_order() {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let files = [
        file("one", "a: {x: 1, y: 2}\nb: [1, 2]\nc: 1\n"),
        file("two", "a: {y: null, z: 3}\nb: [3]\n"),
        file("three", ""),
    ];
    let merged = merge_values(&files, &json!({"c": {"d": 1}})).unwrap();
    assert_eq!(
        merged,
        json!({"a": {"x": 1, "y": null, "z": 3}, "b": [3], "c": {"d": 1}})
    );
    let error = merge_values(&[file("list.yaml", "- 1\n")], &json!(null)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "values file list.yaml: expected a mapping, found a list"
    );
}

#[test]
fn problems_name_the_key() {
    let schema = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "pv": {"type": "object", "properties": {"path": {"type": "string"}}},
            "workers": {"type": "array", "items": {"type": "object", "required": ["name"]}},
            "a.b": {"type": "string"},
        },
    });
    let values =
        json!({"pv": {"path": 1}, "workers": [{"name": "a"}, {}], "domian": "x", "a.b": 1});
    let problems = validate_values(&schema, &values).unwrap();
    let paths: Vec<&str> = problems
        .iter()
        .map(|problem| problem.path.as_str())
        .collect();
    assert_eq!(paths, ["", "a\\.b", "pv.path", "workers[1]"]);
    assert!(problems[0].message.contains("domian"), "{}", problems[0]);
    assert_eq!(validate_values(&schema, &json!({})).unwrap(), []);
    assert!(validate_values(&json!({"type": 1}), &json!({})).is_err());
}

fn any_name() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec!["a", "b", "ab", "a.b", "x-y"]),
        1..4,
    )
    .prop_map(|parts| parts.join("/"))
}

proptest! {
    #[test]
    fn a_pattern_without_wildcards_matches_itself(name in "[a-c.]{1,6}") {
        prop_assume!(!name.is_empty() && name != ".");
        let rules = IgnoreRules::parse(&name).unwrap();
        prop_assert!(rules.ignores(&name, false));
        let in_a_folder = format!("d/{name}");
        prop_assert!(rules.ignores(&in_a_folder, false));
    }

    #[test]
    fn reading_ignore_files_never_panics(text in "[a*?\\[\\]^!/\\\\\n-]{0,24}", path in any_name()) {
        if let Ok(rules) = IgnoreRules::parse(&text) {
            rules.ignores(&path, false);
        }
    }

    #[test]
    fn reading_yaml_never_panics(text in "[a: \\[\\]{}&*!|>'\"#\n0-9-]{0,40}") {
        let _ = parse_yaml(&text);
    }
}
