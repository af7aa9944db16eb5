//! From tables to types.

mod deploy;
mod make;
mod refs;

use std::collections::BTreeMap;
use std::rc::Rc;

use tbuild_dockerfile::Diagnostic;

use crate::model::{Config, Project};
use crate::names::{Kind, NodeRef};
use crate::reader::TableReader;
use crate::value::{Entry, Place, Spanned, Table, Value};

/// What decoding gives: a configuration unless the project itself could not be read, and errors.
pub(crate) fn decode(root: Table) -> (Option<Config>, Vec<Diagnostic>) {
    let mut errors = Vec::new();
    let nodes = node_names(&root);
    let mut root = TableReader::new("tbuild.toml", Place::default(), root, &nodes);
    let project = project(&mut root, &mut errors);
    let sources = each(&mut root, "source", &mut errors, make::source);
    let origins = each(&mut root, "origin", &mut errors, make::origin);
    let bases = each(&mut root, "base", &mut errors, make::base);
    let images = each(&mut root, "image", &mut errors, make::image);
    let artifacts = each(&mut root, "artifact", &mut errors, make::artifact);
    let tools = each(&mut root, "tool", &mut errors, make::tool);
    let charts = each(&mut root, "chart", &mut errors, deploy::chart);
    let releases = each(&mut root, "release", &mut errors, deploy::release);
    let tasks = each(&mut root, "task", &mut errors, deploy::task);
    let targets = each(&mut root, "target", &mut errors, deploy::target);
    let commands = each(&mut root, "command", &mut errors, deploy::command);
    let components = each(&mut root, "component", &mut errors, deploy::component);
    let node = root
        .take("node")
        .and_then(|entry| TableReader::of("[node]", entry, &nodes, &mut errors));
    let node = node.and_then(|mut table| {
        let node = deploy::node(&mut table);
        table.finish(&mut errors);
        node
    });
    // Known, and read before.
    root.take("profile");
    root.finish(&mut errors);
    let config = project.map(|project| Config {
        project,
        sources,
        bases,
        origins,
        images,
        artifacts,
        charts,
        releases,
        tasks,
        targets,
        commands,
        components,
        tools,
        node,
        env: BTreeMap::new(),
        profiles: Vec::new(),
    });
    (config, errors)
}

/// All nodes by the keys of their tables.
fn node_names(root: &Table) -> Rc<[NodeRef]> {
    let mut nodes = Vec::new();
    for kind in Kind::ALL {
        if let Some(Value::Table(table)) = root.get(kind.word()).map(|entry| &entry.node.value) {
            nodes.extend(table.keys().map(|name| NodeRef::new(kind, name)));
        }
    }
    nodes.into()
}

fn project(root: &mut TableReader, errors: &mut Vec<Diagnostic>) -> Option<Project> {
    let Some(entry) = root.take("project") else {
        errors.push(
            Place::default()
                .error("MissingKey", "there is no [project]")
                .with_hint("write [project] and name = \"…\""),
        );
        return None;
    };
    let mut table = TableReader::of("[project]", entry, &root.nodes, errors)?;
    let name = table.required("name");
    let registry = table.string("registry");
    let default = refs::nodes(&mut table, "default");
    let env = table.strings("env");
    let network = make::network(&mut table);
    table.finish(errors);
    Some(Project {
        name: name?,
        registry,
        default,
        env,
        network: network?,
    })
}

/// All tables of one kind.
fn each<T>(
    root: &mut TableReader,
    kind: &'static str,
    errors: &mut Vec<Diagnostic>,
    decode: impl Fn(&str, &mut TableReader) -> Option<T>,
) -> BTreeMap<String, T> {
    let mut found = BTreeMap::new();
    let Some(entry) = root.take(kind) else {
        return found;
    };
    let Some(mut names) = TableReader::of(format!("[{kind}]"), entry, &root.nodes, errors) else {
        return found;
    };
    for (name, entry) in names.take_rest() {
        check_name(kind, &name, &entry, errors);
        let Some(mut table) =
            TableReader::of(format!("[{kind}.{name}]"), entry, &root.nodes, errors)
        else {
            continue;
        };
        let decoded = decode(&name, &mut table);
        table.finish(errors);
        found.extend(decoded.map(|decoded| (name, decoded)));
    }
    found
}

/// Names stand on the command line, in file names and after `kind:`.
fn check_name(kind: &str, name: &str, entry: &Entry, errors: &mut Vec<Diagnostic>) {
    let plain = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '-' | '_' | '.')
            || (kind == "base" && matches!(c, ':' | '/'))
    };
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain) {
        return;
    }
    let message = format!("{name:?} is not a name for a {kind}");
    errors.push(
        entry
            .key
            .error("InvalidName", message)
            .with_hint("a letter or digit first, then letters, digits, - _ ."),
    );
}

/// A string that is one of a few words.
fn one_of<T: Copy>(
    table: &mut TableReader,
    key: &'static str,
    text: &Spanned<String>,
    words: &[(&str, T)],
) -> Option<T> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
        return Some(*value);
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let message = format!(
        "{key} of {} is {}, not {:?}",
        table.name,
        known.join(" or "),
        text.value
    );
    table.error(
        text.place
            .error("InvalidValue", message)
            .did_you_mean(tbuild_dockerfile::suggest(text, known)),
    );
    None
}
