//! References to other nodes, trees, patterns, platforms and commands.

use std::collections::BTreeMap;

use tbuild_dockerfile::{IgnoreRules, Platform, suggest};

use crate::model::{Run, TreeInput, TreeRef};
use crate::names::{Kind, NodeRef, find_bare};
use crate::reader::TableReader;
use crate::value::{Spanned, Value};

/// Kinds that have files.
const TREES: [Kind; 3] = [Kind::Source, Kind::Artifact, Kind::Image];

/// An array of `kind:name`. A bare name is a target's, or that of the only node that has it.
pub(super) fn nodes(table: &mut TableReader, key: &'static str) -> Vec<Spanned<NodeRef>> {
    table
        .strings(key)
        .into_iter()
        .filter_map(|text| node(table, text))
        .collect()
}

fn node(table: &mut TableReader, text: Spanned<String>) -> Option<Spanned<NodeRef>> {
    let Some((word, name)) = text.split_once(':') else {
        return bare(table, text);
    };
    let needed = |kind: &Kind| *kind != Kind::Command;
    if let Some(kind) = Kind::parse(word).filter(needed) {
        let node = NodeRef::new(kind, name);
        Some(text.map(|_| node))
    } else {
        let known = Kind::ALL.into_iter().filter(needed).map(Kind::word);
        let error = text.place.error(
            "InvalidReference",
            format!("there is no kind of node {word:?}"),
        );
        let error = match suggest(word, known.clone()) {
            Some(near) => error.did_you_mean(Some(&format!("{near}:{name}"))),
            None => error.with_hint(format!(
                "known are {}",
                known.collect::<Vec<_>>().join(", ")
            )),
        };
        table.error(error);
        None
    }
}

fn bare(table: &mut TableReader, text: Spanned<String>) -> Option<Spanned<NodeRef>> {
    let target = NodeRef::new(Kind::Target, &text.value);
    if table.nodes.contains(&target) {
        return Some(text.map(|_| target));
    }
    let error = match find_bare(&table.nodes, &text) {
        Ok(node) if node.kind == Kind::Command => text.place.error(
            "UnknownReference",
            format!("{node} is no node: nothing can need it"),
        ),
        Ok(node) => return Some(text.map(|_| node)),
        Err(error) => {
            let diagnostic = text.place.error("UnknownReference", error.to_string());
            match error.hint() {
                Some(hint) => diagnostic.with_hint(hint),
                None => diagnostic,
            }
        }
    };
    table.error(error);
    None
}

/// The name of a node of one kind, with or without the kind in front.
pub(super) fn named(
    table: &mut TableReader,
    kind: Kind,
    text: Option<Spanned<String>>,
) -> Option<Spanned<String>> {
    let text = text?;
    let name = text
        .strip_prefix(kind.word())
        .and_then(|rest| rest.strip_prefix(':'))
        .map(str::to_owned);
    if let Some(name) = name {
        return Some(text.map(|_| name));
    }
    if let Some((word, _)) = text.split_once(':') {
        let message = format!(
            "{} takes a name of [{kind}.X] here, not {:?}",
            table.name, text.value
        );
        let error = text.place.error("InvalidReference", message);
        table.error(if Kind::parse(word).is_some() {
            error
        } else {
            error.did_you_mean(suggest(word, [kind.word()]))
        });
        return None;
    }
    Some(text)
}

/// `source:X`, `artifact:X`, `image:X` or the path of a folder.
pub(super) fn tree(table: &mut TableReader, text: Spanned<String>) -> Option<Spanned<TreeRef>> {
    let Some((word, name)) = text
        .split_once(':')
        .filter(|(word, _)| !word.contains(['/', '.']))
    else {
        return Some(text.map(TreeRef::Path));
    };
    if let Some(kind) = Kind::parse(word).filter(|kind| TREES.contains(kind)) {
        let node = NodeRef::new(kind, name);
        Some(text.map(|_| TreeRef::Node(node)))
    } else {
        let message = format!("{:?} is no tree of files", text.value);
        let near = suggest(word, TREES.map(Kind::word)).map(|near| format!("{near}:{name}"));
        let error = text.place.error("InvalidReference", message);
        table.error(match near {
            Some(near) => error.did_you_mean(Some(&near)),
            None => error.with_hint("write source:X, artifact:X, image:X or the path of a folder"),
        });
        None
    }
}

/// A table of trees, each a reference or a table of from, include and exclude.
pub(super) fn trees(table: &mut TableReader, key: &'static str) -> BTreeMap<String, TreeInput> {
    let mut trees = BTreeMap::new();
    for (name, entry) in table.table(key).unwrap_or_default() {
        let place = entry.node.place.clone();
        let input = match entry.node.value {
            Value::String(text) => tree(table, Spanned::new(text, place)).map(|from| TreeInput {
                from,
                include: Vec::new(),
                exclude: Vec::new(),
            }),
            Value::Table(inner) => {
                let mut inner = TableReader::new(
                    format!("{key}.{name} of {}", table.name),
                    place,
                    inner,
                    &table.nodes,
                );
                let input = tree_input(&mut inner);
                let mut errors = Vec::new();
                inner.finish(&mut errors);
                for error in errors {
                    table.error(error);
                }
                input
            }
            _ => {
                table.wrong_type(
                    &format!("{name} in {key}"),
                    &entry.node,
                    "a string or a table",
                );
                None
            }
        };
        trees.extend(input.map(|input| (name, input)));
    }
    trees
}

/// The keys from, include and exclude of a table.
pub(super) fn tree_input(table: &mut TableReader) -> Option<TreeInput> {
    let from = table.required("from").and_then(|from| tree(table, from));
    let (include, exclude) = (patterns(table, "include"), patterns(table, "exclude"));
    from.map(|from| TreeInput {
        from,
        include,
        exclude,
    })
}

/// An array of patterns of .dockerignore.
pub(super) fn patterns(table: &mut TableReader, key: &'static str) -> Vec<Spanned<String>> {
    let patterns = table.strings(key);
    for pattern in &patterns {
        if let Err(error) = IgnoreRules::from_patterns([&pattern.value]) {
            table.error(pattern.place.error("InvalidPattern", error.to_string()));
        }
    }
    patterns
}

/// `os/architecture[/variant]`.
pub(super) fn platform(table: &mut TableReader, text: &Spanned<String>) -> Option<Platform> {
    let platform = Platform::parse(text);
    if platform.is_none() {
        let message = format!("{:?} is not a platform", text.value);
        table.error(
            text.place
                .error("InvalidValue", message)
                .with_hint("such as linux/amd64 or linux/arm64"),
        );
    }
    platform
}

/// A line of shell, or an array of program and arguments.
pub(super) fn run(table: &mut TableReader, key: &'static str) -> Option<Run> {
    let Some(entry) = table.take(key) else {
        table.missing(key);
        return None;
    };
    let place = entry.node.place.clone();
    let run = match entry.node.value {
        Value::String(line) => Run::Shell(line),
        Value::Array(items) => {
            let mut argv = Vec::new();
            for item in items {
                if let Value::String(word) = item.value {
                    argv.push(word);
                } else {
                    table.wrong_type(key, &item, "strings");
                    return None;
                }
            }
            Run::Exec(argv)
        }
        _ => {
            table.wrong_type(key, &entry.node, "a string or an array of strings");
            return None;
        }
    };
    if matches!(&run, Run::Exec(argv) if argv.is_empty())
        || matches!(&run, Run::Shell(line) if line.trim().is_empty())
    {
        let message = format!("{key} of {} is empty", table.name);
        table.error(place.error("InvalidValue", message));
        return None;
    }
    Some(run)
}

/// A path below a folder: relative, without `..`.
pub(super) fn check_below(table: &mut TableReader, key: &str, path: &Spanned<String>) {
    let inside =
        !path.is_empty() && !path.starts_with('/') && !path.split('/').any(|part| part == "..");
    if !inside {
        let message = format!(
            "{key} of {} takes relative paths without .., not {:?}",
            table.name, path.value
        );
        table.error(path.place.error("InvalidValue", message));
    }
}

/// 64 digits of lower-case hexadecimal.
pub(super) fn check_sha256(table: &mut TableReader, text: &Spanned<String>) {
    let digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    if text.chars().count() != 64 || !text.chars().all(digit) {
        let message = format!("{:?} is not a SHA-256", text.value);
        table.error(
            text.place
                .error("InvalidValue", message)
                .with_hint("64 digits of lower-case hexadecimal"),
        );
    }
}
