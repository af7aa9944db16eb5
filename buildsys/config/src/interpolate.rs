//! `${env:NAME}` in string values.

use std::collections::{BTreeMap, BTreeSet};

use tbuild_dockerfile::{Diagnostic, Span, suggest};

use crate::value::{Node, Place, Table, Value};

const OPEN: &str = "${env:";

/// Fills in variables of the environment that the project declares.
pub(crate) struct Interpolation<'a> {
    /// Text of tbuild.toml, for places within strings.
    pub text: &'a str,
    /// `project.env`.
    pub declared: BTreeSet<String>,
    /// Values.
    pub values: &'a BTreeMap<String, String>,
    /// What was filled in.
    pub used: BTreeMap<String, String>,
}

impl Interpolation<'_> {
    /// Goes through all strings of a table. `$${env:NAME}` stands for `${env:NAME}` itself.
    pub fn table(&mut self, table: &mut Table, errors: &mut Vec<Diagnostic>) {
        for entry in table.values_mut() {
            self.node(&mut entry.node, errors);
        }
    }

    fn node(&mut self, node: &mut Node, errors: &mut Vec<Diagnostic>) {
        match &mut node.value {
            Value::String(text) if text.contains(OPEN) => {
                *text = self.string(text, &node.place, errors);
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.node(item, errors)),
            Value::Table(table) => self.table(table, errors),
            _ => {}
        }
    }

    fn string(&mut self, text: &str, place: &Place, errors: &mut Vec<Diagnostic>) -> String {
        let mut result = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(OPEN) {
            let (before, after) = (&rest[..at], &rest[at + OPEN.len()..]);
            let Some(end) = after.find('}') else {
                errors.push(place.error("InvalidVariable", format!("{OPEN} without }}")));
                return text.to_owned();
            };
            let name = &after[..end];
            rest = &after[end + 1..];
            if let Some(before) = before.strip_suffix('$') {
                result.push_str(before);
                result.push_str(OPEN);
                result.push_str(name);
                result.push('}');
                continue;
            }
            result.push_str(before);
            match self.value(name, &self.within(name, place)) {
                Ok(value) => result.push_str(&value),
                Err(error) => errors.push(error),
            }
        }
        result.push_str(rest);
        result
    }

    fn value(&mut self, name: &str, place: &Place) -> Result<String, Diagnostic> {
        if !self.declared.contains(name) {
            let near = suggest(name, self.declared.iter().map(String::as_str));
            let error = place.error(
                "UndeclaredVariable",
                format!("environment variable {name} is not declared"),
            );
            return Err(match near {
                Some(near) => error.did_you_mean(Some(near)),
                None => error.with_hint(format!("name it in env of [project]: env = [\"{name}\"]")),
            });
        }
        let Some(value) = self.values.get(name) else {
            return Err(place.error(
                "UndefinedVariable",
                format!("environment variable {name} is not set"),
            ));
        };
        self.used.insert(name.to_owned(), value.clone());
        Ok(value.clone())
    }

    /// Where the variable stands within its string; the whole string if it is spelled in another way there.
    fn within(&self, name: &str, place: &Place) -> Place {
        let text = place
            .origin
            .as_ref()
            .map_or(self.text, |origin| origin.text.as_str());
        let needle = format!("{OPEN}{name}}}");
        match place.span.of(text).find(&needle) {
            Some(at) => {
                let start = place.span.start + at;
                Place {
                    span: Span::new(start, start + needle.len()),
                    origin: place.origin.clone(),
                }
            }
            None => place.clone(),
        }
    }
}
