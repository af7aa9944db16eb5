//! Tables read key by key, so that what nobody asked for is an error.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tbuild_dockerfile::{Diagnostic, parse_duration, suggest};

use crate::names::NodeRef;
use crate::value::{Entry, Node, Place, Spanned, Table, Value};

/// One table while it is read. Errors of its values gather in it until [`TableReader::finish`].
pub(crate) struct TableReader {
    /// What it is called in messages, such as `[image.web]`.
    pub name: String,
    /// Where its key stands.
    pub place: Place,
    /// All nodes there are, for bare names.
    pub nodes: Rc<[NodeRef]>,
    entries: Table,
    known: Vec<&'static str>,
    errors: Vec<Diagnostic>,
}

impl TableReader {
    pub fn new(
        name: impl Into<String>,
        place: Place,
        entries: Table,
        nodes: &Rc<[NodeRef]>,
    ) -> Self {
        Self {
            name: name.into(),
            place,
            nodes: Rc::clone(nodes),
            entries,
            known: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Reads a value as a table; one that is none is an error.
    pub fn of(
        name: impl Into<String>,
        entry: Entry,
        nodes: &Rc<[NodeRef]>,
        errors: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let name = name.into();
        match entry.node.value {
            Value::Table(table) => Some(Self::new(name, entry.key, table, nodes)),
            other => {
                errors.push(entry.node.place.error(
                    "WrongType",
                    format!("{name} takes a table, not {}", other.kind()),
                ));
                None
            }
        }
    }

    /// Notes an error.
    pub fn error(&mut self, error: Diagnostic) {
        self.errors.push(error);
    }

    /// Takes the value of a key that the table may have.
    pub fn take(&mut self, key: &'static str) -> Option<Entry> {
        self.known.push(key);
        self.entries.remove(key)
    }

    /// Whether a key's value is a table.
    pub fn is_table(&self, key: &str) -> bool {
        matches!(
            self.entries.get(key).map(|entry| &entry.node.value),
            Some(Value::Table(_))
        )
    }

    /// Whether a key is there.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// All that is left, for tables whose keys are names.
    pub fn take_rest(&mut self) -> Table {
        std::mem::take(&mut self.entries)
    }

    /// Notes that a key must be there.
    pub fn missing(&mut self, key: &str) {
        let message = format!("{} has no {key}", self.name);
        self.errors.push(self.place.error("MissingKey", message));
    }

    /// Notes that a value has another type than `takes`.
    pub fn wrong_type(&mut self, key: &str, node: &Node, takes: &str) {
        let message = format!(
            "{key} of {} takes {takes}, not {}",
            self.name,
            node.value.kind()
        );
        self.errors.push(node.place.error("WrongType", message));
    }

    fn as_string(&mut self, key: &str, node: Node) -> Option<Spanned<String>> {
        if let Value::String(text) = node.value {
            Some(Spanned::new(text, node.place))
        } else {
            self.wrong_type(key, &node, "a string");
            None
        }
    }

    pub fn string(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let entry = self.take(key)?;
        self.as_string(key, entry.node)
    }

    /// A string that must be there and not be empty.
    pub fn required(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let Some(entry) = self.take(key) else {
            self.missing(key);
            return None;
        };
        let text = self.as_string(key, entry.node)?;
        if text.is_empty() {
            let message = format!("{key} of {} is empty", self.name);
            self.errors.push(text.place.error("InvalidValue", message));
            return None;
        }
        Some(text)
    }

    /// An array of strings; empty if it is not there.
    pub fn strings(&mut self, key: &'static str) -> Vec<Spanned<String>> {
        self.strings_if(key).unwrap_or_default()
    }

    /// An array of strings; none if it is not there.
    pub fn strings_if(&mut self, key: &'static str) -> Option<Vec<Spanned<String>>> {
        let entry = self.take(key)?;
        if let Value::Array(items) = entry.node.value {
            Some(
                items
                    .into_iter()
                    .filter_map(|item| self.as_string(key, item))
                    .collect(),
            )
        } else {
            self.wrong_type(key, &entry.node, "an array of strings");
            None
        }
    }

    /// An array of port numbers; empty if it is not there.
    pub fn ports(&mut self, key: &'static str) -> Vec<u16> {
        let Some(entry) = self.take(key) else {
            return Vec::new();
        };
        let Value::Array(items) = entry.node.value else {
            self.wrong_type(key, &entry.node, "an array of port numbers");
            return Vec::new();
        };
        let mut ports = Vec::new();
        for item in items {
            let Value::Integer(spelling, radix) = &item.value else {
                self.wrong_type(key, &item, "port numbers");
                continue;
            };
            let port = u16::from_str_radix(spelling, *radix).ok();
            if let Some(port) = port.filter(|port| *port > 0) {
                ports.push(port);
            } else {
                let message = format!("{key} of {}: {spelling} is no port", self.name);
                let error = item.place.error("InvalidValue", message);
                self.errors.push(error.with_hint("ports are 1 to 65535"));
            }
        }
        ports
    }

    /// A table; none if it is not there.
    pub fn table(&mut self, key: &'static str) -> Option<Table> {
        let entry = self.take(key)?;
        if let Value::Table(table) = entry.node.value {
            Some(table)
        } else {
            self.wrong_type(key, &entry.node, "a table");
            None
        }
    }

    /// A table of strings; integers and booleans are taken as they are spelled.
    pub fn string_map(&mut self, key: &'static str) -> BTreeMap<String, Spanned<String>> {
        let mut map = BTreeMap::new();
        for (name, entry) in self.table(key).unwrap_or_default() {
            let place = entry.node.place.clone();
            let value = match entry.node.value {
                Value::String(text) | Value::Integer(text, 10) => text,
                Value::Boolean(boolean) => boolean.to_string(),
                Value::Float(spelling) => {
                    let message = format!(
                        "{name} in {key} of {} takes a string, not a float",
                        self.name
                    );
                    let error = place.error("WrongType", message);
                    self.errors
                        .push(error.with_hint(format!("quote it: {name} = \"{spelling}\"")));
                    continue;
                }
                _ => {
                    self.wrong_type(&format!("{name} in {key}"), &entry.node, "a string");
                    continue;
                }
            };
            map.insert(name, Spanned::new(value, place));
        }
        map
    }

    /// A table as JSON; empty if it is not there.
    pub fn json_map(&mut self, key: &'static str) -> serde_json::Map<String, serde_json::Value> {
        let mut map = serde_json::Map::new();
        for (name, entry) in self.table(key).unwrap_or_default() {
            match json(&entry.node) {
                Ok(value) => {
                    map.insert(name, value);
                }
                Err(error) => self.errors.push(error),
            }
        }
        map
    }

    /// A length of time such as `10m`.
    pub fn duration(&mut self, key: &'static str, default: Duration) -> Duration {
        let Some(text) = self.string(key) else {
            return default;
        };
        if let Some(nanoseconds) = parse_duration(&text).filter(|nanoseconds| *nanoseconds > 0) {
            Duration::from_nanos(nanoseconds)
        } else {
            let message = format!(
                "{key} of {} is not a length of time: {:?}",
                self.name, text.value
            );
            self.errors.push(
                text.place
                    .error("InvalidValue", message)
                    .with_hint("such as 90s, 10m or 1h30m"),
            );
            default
        }
    }

    /// Keys that nobody asked for are errors; hands all errors over.
    pub fn finish(mut self, errors: &mut Vec<Diagnostic>) {
        for (key, entry) in std::mem::take(&mut self.entries) {
            let message = format!("unknown key {key} in {}", self.name);
            let mut error = entry.key.error("UnknownKey", message);
            match suggest(&key, self.known.iter().copied()) {
                Some(near) => error = error.did_you_mean(Some(near)),
                None => error = error.with_hint(format!("known are {}", self.known.join(", "))),
            }
            self.errors.push(error);
        }
        errors.append(&mut self.errors);
    }
}

/// A value as JSON. Dates become strings.
pub(crate) fn json(node: &Node) -> Result<serde_json::Value, Diagnostic> {
    let bad = |spelling: &str| {
        node.place
            .error("InvalidValue", format!("{spelling} does not fit into JSON"))
    };
    Ok(match &node.value {
        Value::String(text) | Value::Datetime(text) => text.clone().into(),
        Value::Integer(spelling, radix) => i64::from_str_radix(spelling, *radix)
            .map_err(|_| bad(spelling))?
            .into(),
        Value::Float(spelling) => {
            let float: f64 = spelling
                .replace('_', "")
                .parse()
                .map_err(|_| bad(spelling))?;
            serde_json::Number::from_f64(float)
                .ok_or_else(|| bad(spelling))?
                .into()
        }
        Value::Boolean(boolean) => (*boolean).into(),
        Value::Array(items) => items
            .iter()
            .map(json)
            .collect::<Result<Vec<_>, _>>()?
            .into(),
        Value::Table(table) => {
            let pairs = table
                .iter()
                .map(|(key, entry)| Ok((key.clone(), json(&entry.node)?)));
            serde_json::Value::Object(pairs.collect::<Result<_, _>>()?)
        }
    })
}
