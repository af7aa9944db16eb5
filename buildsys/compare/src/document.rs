//! Two JSON documents, field by field.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::report::FieldDifference;

/// The fields that differ, by path, in the order of their names.
pub(crate) fn compare(a: &Value, b: &Value) -> Vec<FieldDifference> {
    let mut found = Vec::new();
    walk("", Some(a), Some(b), &mut found);
    found
}

fn walk(path: &str, a: Option<&Value>, b: Option<&Value>, found: &mut Vec<FieldDifference>) {
    if a == b {
        return;
    }
    match (a, b) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                let inner = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                walk(&inner, one.get(name), other.get(name), found);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for at in 0..one.len().max(other.len()) {
                walk(&format!("{path}[{at}]"), one.get(at), other.get(at), found);
            }
        }
        (a, b) => found.push(FieldDifference {
            field: path.to_owned(),
            a: a.map(shown),
            b: b.map(shown),
        }),
    }
}

/// A text as it is, anything else as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
