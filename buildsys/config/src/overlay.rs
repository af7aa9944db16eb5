//! Profiles and flags laid over the tables of the file.

use std::sync::Arc;

use tbuild_dockerfile::{Diagnostic, Origin, Span, suggest};
use toml::de::DeValue;

use crate::value::{Entry, Node, Place, Spanned, Table, Value, node};

/// Lays `over` onto `table`: tables merge, other values replace. A source that says where it comes from
/// replaces the other one whole: half of each would be neither.
pub(crate) fn merge(table: &mut Table, over: Table) {
    merge_at(table, over, &mut Vec::new());
}

fn merge_at(table: &mut Table, over: Table, path: &mut Vec<String>) {
    for (name, entry) in over {
        path.push(name.clone());
        let whole = matches!(path.as_slice(), [kind, _] if kind == "source")
            && names_origin(&entry.node.value);
        match (table.get_mut(&name), entry) {
            (
                Some(Entry {
                    node:
                        Spanned {
                            value: Value::Table(below),
                            ..
                        },
                    ..
                }),
                Entry {
                    node:
                        Spanned {
                            value: Value::Table(above),
                            ..
                        },
                    ..
                },
            ) if !whole => merge_at(below, above, path),
            (_, entry) => {
                table.insert(name, entry);
            }
        }
        path.pop();
    }
}

fn names_origin(value: &Value) -> bool {
    matches!(value, Value::Table(table) if ["git", "path", "url"].iter().any(|key| table.contains_key(*key)))
}

/// Takes `[profile.*]` out of the tables: by name, with the place of the name.
pub(crate) fn take_profiles(
    root: &mut Table,
    errors: &mut Vec<Diagnostic>,
) -> Vec<(String, Place, Table)> {
    let Some(entry) = root.remove("profile") else {
        return Vec::new();
    };
    let Value::Table(profiles) = entry.node.value else {
        errors.push(
            entry
                .key
                .error("WrongType", "profile takes tables: [profile.NAME]"),
        );
        return Vec::new();
    };
    let mut found = Vec::new();
    for (name, entry) in profiles {
        match entry.node.value {
            Value::Table(table) => found.push((name, entry.key, table)),
            other => {
                let message = format!("[profile.{name}] takes a table, not {}", other.kind());
                errors.push(entry.node.place.error("WrongType", message));
            }
        }
    }
    found
}

/// A place in the text of a flag.
fn flag(name: &str, text: &str, span: Span) -> Place {
    Place {
        span,
        origin: Some(Arc::new(Origin {
            name: name.to_owned(),
            text: text.to_owned(),
        })),
    }
}

/// `--profile NAME` of a profile that is not there.
pub(crate) fn unknown_profile<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Diagnostic {
    let place = flag("--profile", name, Span::new(0, name.len()));
    place
        .error("UnknownProfile", format!("there is no [profile.{name}]"))
        .did_you_mean(suggest(name, known))
}

/// `--set PATH=VALUE`: the path as in TOML, the value as in TOML or else a bare string.
pub(crate) fn set(root: &mut Table, argument: &str) -> Result<(), Diagnostic> {
    let place = |span: Span| flag("--set", argument, span);
    let whole = place(Span::new(0, argument.len()));
    let (path, value) = split(argument).ok_or_else(|| {
        whole
            .error("InvalidFlag", format!("--set {argument} has no value"))
            .with_hint("write --set table.key=VALUE")
    })?;
    let keys = keys(&argument[..path]).ok_or_else(|| {
        place(Span::new(0, path)).error(
            "InvalidFlag",
            format!("--set {:?}: not a dotted key", &argument[..path]),
        )
    })?;
    let text = &argument[value..];
    let span = Span::new(value, argument.len());
    let value = match DeValue::parse(text) {
        Ok(parsed) => node(parsed, &|range| {
            place(Span::new(value + range.start, value + range.end))
        }),
        Err(_) => Spanned::new(Value::String(text.to_owned()), place(span)),
    };
    insert(root, &keys, value, &place)
}

/// Where the path ends and where the value starts: around the first `=` outside quotes.
fn split(argument: &str) -> Option<(usize, usize)> {
    let mut quote = None;
    for (at, c) in argument.char_indices() {
        match (quote, c) {
            (None, '=') => return Some((at, at + 1)),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

/// A dotted key: each part with where it stands.
fn keys(path: &str) -> Option<Vec<(String, Span)>> {
    let mut keys = Vec::new();
    let mut at = 0;
    loop {
        let rest = &path[at..];
        let (key, length) = if let Some(quote @ ('"' | '\'')) = rest.chars().next() {
            let end = rest[1..].find(quote)?;
            (rest[1..=end].to_owned(), end + 2)
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            (rest[..end].trim().to_owned(), end)
        };
        if key.is_empty() {
            return None;
        }
        keys.push((key, Span::new(at, at + length)));
        at += length;
        match path[at..].chars().next() {
            None => return Some(keys),
            Some('.') => at += 1,
            Some(_) => return None,
        }
    }
}

fn insert(
    table: &mut Table,
    keys: &[(String, Span)],
    value: Node,
    place: &dyn Fn(Span) -> Place,
) -> Result<(), Diagnostic> {
    let Some(((key, span), rest)) = keys.split_first() else {
        return Ok(());
    };
    if rest.is_empty() {
        let over = Table::from([(
            key.clone(),
            Entry {
                key: place(*span),
                node: value,
            },
        )]);
        merge(table, over);
        return Ok(());
    }
    let entry = table.entry(key.clone()).or_insert_with(|| Entry {
        key: place(*span),
        node: Spanned::new(Value::Table(Table::new()), place(*span)),
    });
    match &mut entry.node.value {
        Value::Table(below) => insert(below, rest, value, place),
        other => {
            let message = format!("{key} is {}, not a table", other.kind());
            Err(place(*span).error("WrongType", message))
        }
    }
}

/// `--source NAME=PATH`: the source is that folder, whatever it was.
pub(crate) fn set_source(root: &mut Table, argument: &str) -> Result<(), Diagnostic> {
    let place = |span: Span| flag("--source", argument, span);
    let whole = place(Span::new(0, argument.len()));
    let Some((name, path)) = argument
        .split_once('=')
        .filter(|(name, path)| !name.is_empty() && !path.is_empty())
    else {
        let message = format!("--source {argument} is not NAME=PATH");
        return Err(whole.error("InvalidFlag", message));
    };
    let Some(Value::Table(sources)) = root.get_mut("source").map(|entry| &mut entry.node.value)
    else {
        return Err(whole.error("UnknownSource", format!("there is no [source.{name}]")));
    };
    let at = place(Span::new(0, name.len()));
    let Some(source) = sources.get_mut(name) else {
        let near = suggest(name, sources.keys().map(String::as_str));
        return Err(at
            .error("UnknownSource", format!("there is no [source.{name}]"))
            .did_you_mean(near));
    };
    let span = place(Span::new(name.len() + 1, argument.len()));
    let path = Entry {
        key: at.clone(),
        node: Spanned::new(Value::String(path.to_owned()), span),
    };
    let mut table = Table::from([("path".to_owned(), path)]);
    // What is taken of it stays as the project says.
    if let Value::Table(before) = &source.node.value {
        for key in ["include", "exclude"] {
            table.extend(before.get(key).map(|entry| (key.to_owned(), entry.clone())));
        }
    }
    *source = Entry {
        key: at.clone(),
        node: Spanned::new(Value::Table(table), at),
    };
    Ok(())
}
