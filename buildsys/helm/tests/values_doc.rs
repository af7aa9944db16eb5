//! docs/values.md says what values.schema.json and values.yaml of the tator chart say. With TBUILD_BLESS=1 it is
//! written, else compared.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read the machine they run on"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tbuild_helm::parse_yaml;

const HEAD: &str = "\
# Values of the tator chart

Made of `charts/tator/values.schema.json` and `charts/tator/values.yaml` by `TBUILD_BLESS=1 cargo test -p tbuild-helm
--test values_doc`; a test fails when it is older than they are. `charts/tator/values-demo.yaml` is an example of a small
site. A key that is not here is an error.
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn the_document_is_what_the_schema_says() {
    let schema: Value = serde_json::from_str(&read("charts/tator/values.schema.json")).unwrap();
    let text = read("charts/tator/values.yaml");
    let made = document(&schema, &text);
    let path = root().join("docs/values.md");
    if std::env::var_os("TBUILD_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &made).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == made,
        "docs/values.md is stale: TBUILD_BLESS=1 cargo test -p tbuild-helm --test values_doc"
    );
}

/// Every default has a place in the schema, and every key that is not gone has a default.
#[test]
fn every_key_has_a_meaning_and_a_default() {
    let schema: Value = serde_json::from_str(&read("charts/tator/values.schema.json")).unwrap();
    let defaults = parse_yaml(&read("charts/tator/values.yaml")).unwrap();
    let mut rows = Vec::new();
    collect(&schema, &schema, &defaults, "", &mut rows);
    assert!(rows.len() > 200, "{}", rows.len());
    for row in &rows {
        assert!(!row.meaning.is_empty(), "{} has no description", row.key);
        let known = ["global", "pv.enabled"].contains(&row.key.as_str());
        assert!(
            row.default.is_some() || row.gone() || known,
            "{} has no default",
            row.key
        );
    }
}

/// One key.
struct Row {
    key: String,
    kind: String,
    default: Option<String>,
    meaning: String,
}

impl Row {
    fn gone(&self) -> bool {
        self.meaning.starts_with("Gone: ")
    }
}

fn document(schema: &Value, text: &str) -> String {
    let defaults = parse_yaml(text).unwrap();
    let mut out = HEAD.to_owned();
    for (section, keys) in sections(text) {
        let mut rows = Vec::new();
        for key in keys {
            let property = &schema["properties"][&key];
            assert!(property.is_object(), "{key} is not in the schema");
            one(schema, property, defaults.get(&key), &key, &mut rows);
        }
        let title = format!("{}{}", section[..1].to_uppercase(), &section[1..]);
        write!(
            out,
            "\n## {title}\n\n| key | type | default | meaning |\n|---|---|---|---|\n"
        )
        .unwrap();
        for row in rows.iter().filter(|row| !row.gone()) {
            let default = row.default.as_deref().unwrap_or("");
            writeln!(
                out,
                "| `{}` | {} | {default} | {} |",
                row.key, row.kind, row.meaning
            )
            .unwrap();
        }
    }
    let mut rows = Vec::new();
    collect(schema, schema, &defaults, "", &mut rows);
    out.push_str("\n## Keys of older values files\n\nOf Tator's own charts. They fail, unless it says otherwise, and before anything is built.\n\n| key | instead |\n|---|---|\n");
    let mut gone: Vec<&Row> = rows.iter().filter(|row| row.gone()).collect();
    gone.sort_by(|a, b| a.key.cmp(&b.key));
    for row in gone {
        let meaning = row.meaning.trim_start_matches("Gone: ");
        writeln!(out, "| `{}` | {meaning} |", row.key).unwrap();
    }
    out
}

/// The sections of values.yaml, each a comment line of dashes and a name, with their top-level keys.
fn sections(text: &str) -> Vec<(String, Vec<String>)> {
    let mut sections = vec![("release".to_owned(), Vec::new())];
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# ---") {
            let name = rest.trim_start_matches('-').trim();
            sections.push((name.to_owned(), Vec::new()));
        } else if let Some((key, _)) = line.split_once(':')
            && !line.starts_with([' ', '#'])
        {
            sections.last_mut().unwrap().1.push(key.to_owned());
        }
    }
    sections
}

/// All keys below an object of the schema.
fn collect(schema: &Value, at: &Value, defaults: &Value, prefix: &str, rows: &mut Vec<Row>) {
    for (key, property) in at["properties"].as_object().into_iter().flatten() {
        let path = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        one(schema, property, defaults.get(key), &path, rows);
    }
}

fn one(schema: &Value, property: &Value, default: Option<&Value>, path: &str, rows: &mut Vec<Row>) {
    let below = property["properties"].is_object();
    let items = property.pointer("/items/properties").is_some();
    if !below {
        rows.push(Row {
            key: path.to_owned(),
            kind: kind(property),
            default: default.map(|value| format!("`{value}`").replace('|', "\\|")),
            meaning: property["description"]
                .as_str()
                .unwrap_or_default()
                .replace('|', "\\|"),
        });
    }
    let none = Value::Null;
    if below {
        collect(schema, property, default.unwrap_or(&none), path, rows);
    } else if items {
        let mut inner = Vec::new();
        collect(
            schema,
            &property["items"],
            &none,
            &format!("{path}[]"),
            &mut inner,
        );
        for row in &mut inner {
            row.default = Some(String::new());
        }
        rows.append(&mut inner);
    }
}

/// What a value may be, in a word or two.
fn kind(property: &Value) -> String {
    let definition = property
        .get("$ref")
        .or_else(|| property.pointer("/allOf/0/$ref"));
    if let Some(definition) = definition.and_then(Value::as_str) {
        return words(definition.rsplit('/').next().unwrap());
    }
    if let Some(choices) = property["enum"].as_array() {
        let choices: Vec<String> = choices.iter().map(|one| format!("`{one}`")).collect();
        return choices.join(", ");
    }
    if let Some(constant) = property.get("const") {
        return format!("`{constant}`");
    }
    match &property["type"] {
        Value::String(one) if one == "array" => format!("list of {}", kind(&property["items"])),
        Value::String(one) => one.clone(),
        Value::Array(several) => {
            let several: Vec<&str> = several.iter().filter_map(Value::as_str).collect();
            several.join(" or ")
        }
        _ => "any".to_owned(),
    }
}

/// `optionalHost` as two words.
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}
