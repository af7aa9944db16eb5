//! Charts, releases, tasks, targets, commands, components and the node.

use std::collections::BTreeMap;
use std::time::Duration;

use super::refs;
use crate::model::{Chart, Command, Component, Dev, Node, Release, Target, Task};
use crate::names::Kind;
use crate::reader::TableReader;
use crate::value::{Spanned, Value};

/// Time that a release or a task may take unless it says otherwise.
const TIMEOUT: Duration = Duration::from_mins(10);

#[expect(clippy::unnecessary_wraps, reason = "one signature for all tables")]
pub(super) fn chart(name: &str, table: &mut TableReader) -> Option<Chart> {
    let path = table.string("path");
    let path = path.unwrap_or_else(|| Spanned::new(format!("charts/{name}"), table.place.clone()));
    let mut images = BTreeMap::new();
    for (key, image) in table.string_map("images") {
        images.extend(refs::named(table, Kind::Image, Some(image)).map(|image| (key, image)));
    }
    Some(Chart {
        place: table.place.clone(),
        path,
        images,
    })
}

pub(super) fn release(_: &str, table: &mut TableReader) -> Option<Release> {
    let chart = table.required("chart");
    let chart = refs::named(table, Kind::Chart, chart);
    let namespace = table
        .string("namespace")
        .map_or_else(|| "default".to_owned(), |text| text.value);
    let values = table.strings("values");
    let set = table.json_map("set");
    let timeout = table.duration("timeout", TIMEOUT);
    let registry_value = table.string("registry-value");
    let needs = refs::nodes(table, "needs");
    let place = table.place.clone();
    Some(Release {
        place,
        chart: chart?,
        namespace,
        values,
        set,
        timeout,
        registry_value,
        needs,
    })
}

pub(super) fn task(_: &str, table: &mut TableReader) -> Option<Task> {
    let release = table.required("release");
    let release = refs::named(table, Kind::Release, release);
    let template = table.required("template");
    let after = table.string("after");
    let after = refs::named(table, Kind::Release, after);
    let before = table.string("before");
    let before = refs::named(table, Kind::Release, before);
    let inputs = refs::nodes(table, "inputs");
    let timeout = table.duration("timeout", TIMEOUT);
    if let Some(template) = &template {
        refs::check_below(table, "template", template);
    }
    let asked = when(table);
    let parameters = table.strings("parameters");
    let undoes = table.strings("undoes");
    let undoes = undoes
        .into_iter()
        .filter_map(|name| refs::named(table, Kind::Task, Some(name)))
        .collect();
    let place = table.place.clone();
    Some(Task {
        place,
        release: release?,
        template: template?,
        after,
        before,
        inputs,
        timeout,
        asked,
        parameters,
        undoes,
    })
}

/// Whether a task runs each time it is wanted.
fn when(table: &mut TableReader) -> bool {
    let Some(run) = table.string("run") else {
        return false;
    };
    match run.value.as_str() {
        "asked" => true,
        "changed" => false,
        other => {
            let message = format!("run of {} is no time to run: {other:?}", table.name);
            let hint = "changed: when what it does has changed since its last success; asked: each time it is wanted";
            table.error(run.place.error("InvalidValue", message).with_hint(hint));
            false
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "one signature for all tables")]
pub(super) fn target(_: &str, table: &mut TableReader) -> Option<Target> {
    let needs = refs::nodes(table, "needs");
    let description = table.string("description").map(|text| text.value);
    Some(Target {
        place: table.place.clone(),
        needs,
        description,
    })
}

pub(super) fn command(_: &str, table: &mut TableReader) -> Option<Command> {
    let needs = refs::nodes(table, "needs");
    let run = refs::run(table, "run");
    let component = table.string("component");
    let secrets = table.strings("secrets");
    let description = table.string("description").map(|text| text.value);
    if let (None, Some(secret)) = (&component, secrets.first()) {
        let message = format!("secrets of {} are for nobody", table.name);
        let error = secret.place.error("InvalidValue", message);
        table.error(error.with_hint("they go to a program in a container: name its component"));
    }
    Some(Command {
        place: table.place.clone(),
        needs,
        run: run?,
        component,
        secrets,
        description,
    })
}

pub(super) fn component(_: &str, table: &mut TableReader) -> Option<Component> {
    let release = table.required("release");
    let release = refs::named(table, Kind::Release, release);
    let selector = table.required("selector");
    let dev = devs(table);
    Some(Component {
        place: table.place.clone(),
        release: release?,
        selector: selector?,
        dev,
    })
}

/// `[component.X.dev.NAME]`, all of them.
fn devs(table: &mut TableReader) -> BTreeMap<String, Dev> {
    let mut devs = BTreeMap::new();
    let component = table.name.clone();
    for (name, entry) in table.table("dev").unwrap_or_default() {
        let mut errors = Vec::new();
        super::check_name("dev", &name, &entry, &mut errors);
        let what = format!("dev.{name} of {component}");
        if let Value::Table(_) = &entry.node.value {
            let own = TableReader::of(what, entry, &table.nodes, &mut errors);
            if let Some(mut own) = own {
                devs.extend(dev(&mut own).map(|dev| (name, dev)));
                own.finish(&mut errors);
            }
        } else {
            let message = format!("{what} takes a table, not {}", entry.node.value.kind());
            let error = entry.key.error("WrongType", message);
            errors.push(error.with_hint(
                "each push has a name: [component.X.dev.NAME] with from, paths and reload",
            ));
        }
        for error in errors {
            table.error(error);
        }
    }
    devs
}

fn dev(table: &mut TableReader) -> Option<Dev> {
    let from = refs::tree_input(table);
    let paths = table.string_map("paths");
    if paths.is_empty() {
        table.missing("paths");
    }
    for (path, to) in &paths {
        refs::check_below(
            table,
            "paths",
            &Spanned::new(path.clone(), to.place.clone()),
        );
        let clean = to.value.starts_with('/')
            && !to.value[1..]
                .split('/')
                .any(|part| matches!(part, "" | "." | ".."));
        if !clean {
            let message = format!(
                "{} takes absolute paths without .., not {:?}",
                table.name, to.value
            );
            table.error(to.place.error("InvalidValue", message));
        }
    }
    let reload = if table.has("reload") {
        refs::run(table, "reload")
    } else {
        table.take("reload");
        None
    };
    let one = one_pod(table);
    let undoes = table.strings("undoes");
    let undoes = undoes
        .into_iter()
        .filter_map(|name| refs::named(table, Kind::Task, Some(name)))
        .collect();
    Some(Dev {
        place: table.place.clone(),
        from: from?,
        paths,
        reload,
        one,
        undoes,
    })
}

/// Whether one pod gets files for all.
fn one_pod(table: &mut TableReader) -> bool {
    let Some(pods) = table.string("pods") else {
        return false;
    };
    match pods.value.as_str() {
        "one" => true,
        "all" => false,
        other => {
            let message = format!("pods of {} are not {other:?}", table.name);
            let hint =
                "all: every pod has files of its own; one: they go to a volume that all have";
            table.error(pods.place.error("InvalidValue", message).with_hint(hint));
            false
        }
    }
}

pub(super) fn node(table: &mut TableReader) -> Option<Node> {
    let image = table.required("image");
    let image = refs::named(table, Kind::Image, image);
    let images = node_images(table);
    let version = table.required("version");
    let labels = table
        .string_map("labels")
        .into_iter()
        .map(|(name, text)| (name, text.value))
        .collect();
    Some(Node {
        place: table.place.clone(),
        image: image?,
        images,
        labels,
        version: version?,
    })
}

/// `["pause"]`, or `{ pause = "my-pause" }` where Kubernetes calls an image otherwise than its table is called.
fn node_images(table: &mut TableReader) -> BTreeMap<String, Spanned<String>> {
    let listed = if table.is_table("images") {
        table.string_map("images")
    } else {
        table
            .strings("images")
            .into_iter()
            .map(|image| (image.value.clone(), image))
            .collect()
    };
    let mut images = BTreeMap::new();
    for (key, image) in listed {
        images.extend(refs::named(table, Kind::Image, Some(image)).map(|image| (key, image)));
    }
    images
}
