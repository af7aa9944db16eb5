//! Values: YAML as helm reads it, helm's merge rules, and the schema.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

/// Why values cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ValuesError {
    /// Not YAML.
    #[error("{0}")]
    Yaml(String),
    /// A values file of this name is not YAML, or no mapping.
    #[error("values file {name}: {problem}")]
    File {
        /// As the caller named it.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The schema itself is wrong.
    #[error("not a JSON schema: {0}")]
    Schema(String),
}

/// One place where values do not follow the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, as `--set` writes it: `a.b[0]`. Empty for the values as a whole.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// Reads one YAML document as helm does: YAML 1.1 scalars (`yes` is true, `0644` is octal), merge keys; a key twice is
/// an error. An empty text is null.
pub fn parse_yaml(text: &str) -> Result<Value, ValuesError> {
    let mut documents = parse_yaml_documents(text)?;
    match documents.len() {
        0 => Ok(Value::Null),
        1 => Ok(documents.swap_remove(0)),
        n => Err(ValuesError::Yaml(format!(
            "{n} documents where one is expected"
        ))),
    }
}

/// Reads all documents of a YAML text; empty ones are left out.
pub fn parse_yaml_documents(text: &str) -> Result<Vec<Value>, ValuesError> {
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        budget: serde_saphyr::budget! { max_documents: 100_000 },
    };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| ValuesError::Yaml(error.to_string()))?;
    Ok(documents
        .into_iter()
        .filter(|document| !document.is_null())
        .collect())
}

/// The user's values: `files` (name and text) in order, then `set`, each over what came before: mappings merge key by
/// key, everything else replaces. A null stays, because it takes away the chart's default.
pub fn merge_values(files: &[(String, String)], set: &Value) -> Result<Value, ValuesError> {
    let mut merged = Map::new();
    for (name, text) in files {
        let problem = |problem: String| ValuesError::File {
            name: name.clone(),
            problem,
        };
        match parse_yaml(text).map_err(|error| problem(error.to_string()))? {
            Value::Null => {}
            Value::Object(values) => merge(&mut merged, values),
            other => {
                return Err(problem(format!(
                    "expected a mapping, found {}",
                    kind(&other)
                )));
            }
        }
    }
    if let Value::Object(set) = set {
        merge(&mut merged, set.clone());
    }
    Ok(Value::Object(merged))
}

fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// What templates see: the user's values over the chart's defaults. A null of the user takes the default away; where
/// one side is a mapping and the other is not, the user's counts (helm's `chartutil.CoalesceTables`).
pub fn coalesce(defaults: &Value, values: &Value) -> Value {
    coalesce_at(defaults, values, true)
}

/// Below the top, helm takes a default of null for none, and then a null of the user has nothing to take away and stays.
fn coalesce_at(defaults: &Value, values: &Value, top: bool) -> Value {
    let (Value::Object(defaults), Value::Object(values)) = (defaults, values) else {
        return if values.is_null() {
            defaults.clone()
        } else {
            values.clone()
        };
    };
    let mut merged = values.clone();
    for (key, default) in defaults {
        match merged.get(key) {
            Some(Value::Null) if default.is_null() && !top => {}
            Some(Value::Null) => {
                merged.remove(key);
            }
            Some(value @ Value::Object(_)) if default.is_object() => {
                let both = coalesce_at(default, value, false);
                merged.insert(key.clone(), both);
            }
            Some(_) => {}
            None => {
                if let Some(default) = without_nulls(default) {
                    merged.insert(key.clone(), default);
                }
            }
        }
    }
    Value::Object(merged)
}

/// A default of null is none.
fn without_nulls(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(map) => Some(Value::Object(
            map.iter()
                .filter_map(|(key, value)| Some((key.clone(), without_nulls(value)?)))
                .collect(),
        )),
        other => Some(other.clone()),
    }
}

/// Checks coalesced values against a chart's `values.schema.json`; every problem, sorted by place. The schema may not
/// refer to other files or hosts.
pub fn validate_values(schema: &Value, values: &Value) -> Result<Vec<Problem>, ValuesError> {
    let validator = jsonschema::validator_for(schema)
        .map_err(|error| ValuesError::Schema(error.to_string()))?;
    let mut problems: Vec<Problem> = validator
        .iter_errors(values)
        .map(|error| Problem {
            path: set_path(error.instance_path().as_str(), values),
            message: message(&error),
        })
        .collect();
    problems.sort_by(|a, b| a.path.cmp(&b.path).then_with(|| a.message.cmp(&b.message)));
    problems.dedup();
    Ok(problems)
}

/// The validator's own words, but never a whole table of values. Of a constant that starts with `gone: ` they are the
/// constant's: so a schema tells what to use instead of a key that it no longer has, whoever reads it.
fn message(error: &ValidationError<'_>) -> String {
    if let ValidationErrorKind::Constant { expected_value } = error.kind()
        && let Some(text) = expected_value.as_str()
        && text.starts_with("gone: ")
    {
        return text.to_owned();
    }
    let text = error.to_string();
    if text.len() > 300 {
        format!("does not follow the schema at {}", error.schema_path())
    } else {
        text
    }
}

/// A JSON pointer (RFC 6901) as `--set` writes it.
fn set_path(pointer: &str, values: &Value) -> String {
    let mut path = String::new();
    let mut at = Some(values);
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if let Some(Value::Array(items)) = at {
            path.push('[');
            path.push_str(&part);
            path.push(']');
            at = part.parse().ok().and_then(|index: usize| items.get(index));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&part.replace('.', "\\."));
            at = at.and_then(|value| value.get(&part));
        }
    }
    path
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
