//! Charts, releases, tasks, targets, commands, components and the node.

use std::collections::BTreeMap;
use std::time::Duration;

use super::refs;
use crate::model::{Chart, Command, Component, Node, Release, Target, Task};
use crate::names::Kind;
use crate::reader::TableReader;
use crate::value::Spanned;

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
    let place = table.place.clone();
    Some(Task {
        place,
        release: release?,
        template: template?,
        after,
        before,
        inputs,
        timeout,
    })
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
    let description = table.string("description").map(|text| text.value);
    Some(Command {
        place: table.place.clone(),
        needs,
        run: run?,
        description,
    })
}

pub(super) fn component(_: &str, table: &mut TableReader) -> Option<Component> {
    let release = table.required("release");
    let release = refs::named(table, Kind::Release, release);
    let selector = table.required("selector");
    Some(Component {
        place: table.place.clone(),
        release: release?,
        selector: selector?,
    })
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
