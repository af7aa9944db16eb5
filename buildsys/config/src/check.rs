//! What a configuration says beyond its types: names that are there, that mean one thing, that do not wait for
//! each other.

use std::collections::{BTreeMap, BTreeSet};

use tbuild_dockerfile::Diagnostic;

use crate::decode::nearest;
use crate::model::{Config, From, Input, Spanned, ToolKind};
use crate::problem::at;
use crate::value::Span;

/// The subcommands of the program: no target and no command of tbuild.toml may be called so, but for those
/// that are meant to be both (`cluster` runs the target of that name).
pub const RESERVED: &[&str] = &[
    "build",
    "image",
    "artifact",
    "chart",
    "plan",
    "apply",
    "why",
    "graph",
    "log",
    "report",
    "verify",
    "diff",
    "lock",
    "bundle",
    "gc",
    "store",
    "registry",
    "tool",
    "doctor",
    "init",
    "completions",
    "status",
    "logs",
    "shell",
    "reset",
    "exec",
    "backup",
    "restore",
    "superuser",
    "migrate",
    "collect-static",
    "clean",
    "rollback",
    "node",
    "help",
];

/// Tasks may carry the name of the subcommand that runs them.
const TASK_COMMANDS: &[&str] = &[
    "migrate",
    "collect-static",
    "backup",
    "restore",
    "superuser",
];

/// Checks names and references.
pub(crate) fn check(config: &Config) -> Result<(), Vec<Diagnostic>> {
    let mut checker = Checker {
        config,
        findings: Vec::new(),
    };
    checker.names();
    checker.references();
    if checker.findings.is_empty() {
        checker.cycles();
    }
    if checker.findings.is_empty() {
        Ok(())
    } else {
        Err(checker.findings)
    }
}

struct Checker<'a> {
    config: &'a Config,
    findings: Vec<Diagnostic>,
}

impl<'a> Checker<'a> {
    fn names(&mut self) {
        let config = self.config;
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        let mut named: Vec<(&'static str, &'a str, Span)> = Vec::new();
        named.extend(
            config
                .targets
                .iter()
                .map(|(name, target)| ("target", name.as_str(), target.span.clone())),
        );
        named.extend(
            config
                .commands
                .iter()
                .map(|(name, command)| ("command", name.as_str(), command.span.clone())),
        );
        named.extend(
            config
                .images
                .iter()
                .map(|(name, image)| ("image", name.as_str(), image.span.clone())),
        );
        named.extend(
            config
                .artifacts
                .iter()
                .map(|(name, artifact)| ("artifact", name.as_str(), artifact.span.clone())),
        );
        named.extend(
            config
                .tasks
                .iter()
                .map(|(name, task)| ("task", name.as_str(), task.span.clone())),
        );
        named.extend(
            config
                .tools
                .iter()
                .map(|(name, tool)| ("tool", name.as_str(), tool.span.clone())),
        );
        for (kind, name, span) in named {
            if let Some(other) = seen.insert(name, kind) {
                let finding = at(
                    span.clone(),
                    format!("{kind}.{name} has the name of {other}.{name}"),
                );
                self.findings
                    .push(finding.with_hint("a name means one thing"));
            }
            let free = kind == "task" && TASK_COMMANDS.contains(&name);
            if RESERVED.contains(&name) && !free {
                self.findings.push(at(
                    span,
                    format!("{kind}.{name} has the name of the command tbuild {name}"),
                ));
            }
        }
    }

    fn known(&mut self, what: &str, name: &Spanned<String>, names: &[&str]) {
        if !names.contains(&name.value.as_str()) {
            let finding = at(
                name.span.clone(),
                format!("there is no {what} {}", name.value),
            );
            self.findings
                .push(finding.did_you_mean(nearest(&name.value, names)));
        }
    }

    fn input(&mut self, input: &Input) {
        let config = self.config;
        let (what, name, names): (_, _, Vec<&str>) = match &input.from {
            From::Source(name) => (
                "source",
                name,
                config.sources.keys().map(String::as_str).collect(),
            ),
            From::Artifact(name) => (
                "artifact",
                name,
                config.artifacts.keys().map(String::as_str).collect(),
            ),
            From::Image(name) => (
                "image",
                name,
                config.images.keys().map(String::as_str).collect(),
            ),
            From::Path(_) => return,
        };
        self.known(
            what,
            &Spanned {
                value: name.clone(),
                span: input.span.clone(),
            },
            &names,
        );
    }

    fn references(&mut self) {
        let config = self.config;
        let images: Vec<&str> = config.images.keys().map(String::as_str).collect();
        let charts: Vec<&str> = config.charts.keys().map(String::as_str).collect();
        let releases: Vec<&str> = config.releases.keys().map(String::as_str).collect();
        for image in config.images.values() {
            image
                .context
                .iter()
                .chain(image.contexts.values())
                .for_each(|input| self.input(input));
        }
        for artifact in config.artifacts.values() {
            self.known("image", &artifact.image, &images);
            artifact.inputs.values().for_each(|input| self.input(input));
        }
        for image in config
            .charts
            .values()
            .flat_map(|chart| chart.images.values())
        {
            self.known("image", image, &images);
        }
        for release in config.releases.values() {
            self.known("chart", &release.chart, &charts);
            release.needs.iter().for_each(|name| self.node(name));
        }
        for task in config.tasks.values() {
            for release in [
                Some(&task.release),
                task.after.as_ref(),
                task.before.as_ref(),
            ]
            .into_iter()
            .flatten()
            {
                self.known("release", release, &releases);
            }
            task.inputs.iter().for_each(|name| self.node(name));
        }
        for component in config.components.values() {
            self.known("release", &component.release, &releases);
        }
        for tool in config.tools.values() {
            if let ToolKind::Image { image, .. } = &tool.kind {
                self.known("image", image, &images);
            }
        }
        for image in config
            .node
            .iter()
            .flat_map(|node| node.images.values().chain([&node.image]))
        {
            self.known("image", image, &images);
        }
        let needs = config.targets.values().flat_map(|target| &target.needs);
        let needs = needs.chain(config.commands.values().flat_map(|command| &command.needs));
        for name in needs.chain(&config.project.default) {
            self.node(name);
        }
    }

    fn node(&mut self, name: &Spanned<String>) {
        if let Err(candidates) = self.config.node_name(&name.value) {
            let names: Vec<&str> = candidates.iter().map(String::as_str).collect();
            let finding = at(
                name.span.clone(),
                format!("there is no node {}", name.value),
            );
            self.findings
                .push(finding.did_you_mean(nearest(&name.value, &names)));
        }
    }

    fn cycles(&mut self) {
        let edges = self.config.edges();
        let mut done = BTreeSet::new();
        for start in edges.keys() {
            let mut path = Vec::new();
            if let Some(cycle) = find_cycle(start, &edges, &mut path, &mut done) {
                let span = self.config.span_of(&cycle[0]).unwrap_or(0..0);
                let message = format!("these wait for each other: {}", cycle.join(" -> "));
                self.findings.push(at(span, message));
                return;
            }
        }
    }
}

fn find_cycle(
    node: &str,
    edges: &BTreeMap<String, Vec<String>>,
    path: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if done.contains(node) {
        return None;
    }
    if let Some(at) = path.iter().position(|other| other == node) {
        let mut cycle = path[at..].to_vec();
        cycle.push(node.to_owned());
        return Some(cycle);
    }
    path.push(node.to_owned());
    for next in edges.get(node).into_iter().flatten() {
        if let Some(cycle) = find_cycle(next, edges, path, done) {
            return Some(cycle);
        }
    }
    path.pop();
    done.insert(node.to_owned());
    None
}

impl Config {
    /// All node names that can be asked for: `kind:name`.
    pub fn node_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut add = |kind: &str, keys: Vec<&String>| {
            names.extend(keys.iter().map(|key| format!("{kind}:{key}")))
        };
        add("target", self.targets.keys().collect());
        add("source", self.sources.keys().collect());
        add("base", self.bases.keys().collect());
        add("image", self.images.keys().collect());
        add("artifact", self.artifacts.keys().collect());
        add("chart", self.charts.keys().collect());
        add("release", self.releases.keys().collect());
        add("task", self.tasks.keys().collect());
        add("tool", self.tools.keys().collect());
        add("push", self.images.keys().collect());
        names
    }

    /// The node that `name` means: `kind:name`, or a bare name. Where several kinds share a bare name, what
    /// deploys more wins: target, release, task, image, artifact, chart, tool, source, base; a push is always
    /// asked for by its full name. If there is none: all names.
    pub fn node_name(&self, name: &str) -> Result<String, Vec<String>> {
        let names = self.node_names();
        if names.iter().any(|known| known == name) {
            return Ok(name.to_owned());
        }
        [
            "target", "release", "task", "image", "artifact", "chart", "tool", "source", "base",
        ]
        .iter()
        .map(|kind| format!("{kind}:{name}"))
        .find(|full| names.contains(full))
        .ok_or_else(|| {
            let bare = names
                .iter()
                .filter_map(|name| name.split_once(':').map(|(_, bare)| bare.to_owned()));
            bare.chain(names.iter().cloned()).collect()
        })
    }

    /// Where a node's table stands.
    pub fn span_of(&self, node: &str) -> Option<Span> {
        let (kind, name) = node.split_once(':')?;
        match kind {
            "image" => self.images.get(name).map(|image| image.span.clone()),
            "artifact" => self
                .artifacts
                .get(name)
                .map(|artifact| artifact.span.clone()),
            "release" => self.releases.get(name).map(|release| release.span.clone()),
            "task" => self.tasks.get(name).map(|task| task.span.clone()),
            "target" => self.targets.get(name).map(|target| target.span.clone()),
            _ => None,
        }
    }

    /// What waits for what, as far as tbuild.toml alone says.
    pub(crate) fn edges(&self) -> BTreeMap<String, Vec<String>> {
        let mut edges: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let input = |input: &Input| match &input.from {
            From::Source(name) => Some(format!("source:{name}")),
            From::Artifact(name) => Some(format!("artifact:{name}")),
            From::Image(name) => Some(format!("image:{name}")),
            From::Path(_) => None,
        };
        let node = |name: &Spanned<String>| self.node_name(&name.value).ok();
        for (name, image) in &self.images {
            let all = image
                .context
                .iter()
                .chain(image.contexts.values())
                .filter_map(input);
            edges
                .entry(format!("image:{name}"))
                .or_default()
                .extend(all);
        }
        for (name, artifact) in &self.artifacts {
            let all = edges.entry(format!("artifact:{name}")).or_default();
            all.push(format!("image:{}", artifact.image.value));
            all.extend(artifact.inputs.values().filter_map(input));
        }
        for (name, release) in &self.releases {
            let images = self
                .charts
                .get(&release.chart.value)
                .into_iter()
                .flat_map(|chart| chart.images.values());
            let all = edges.entry(format!("release:{name}")).or_default();
            all.extend(images.map(|image| format!("image:{}", image.value)));
            all.extend(release.needs.iter().filter_map(node));
        }
        for (name, task) in &self.tasks {
            let all = edges.entry(format!("task:{name}")).or_default();
            all.extend(
                task.after
                    .iter()
                    .map(|release| format!("release:{}", release.value)),
            );
            all.extend(task.inputs.iter().filter_map(node));
            if let Some(before) = &task.before {
                edges
                    .entry(format!("release:{}", before.value))
                    .or_default()
                    .push(format!("task:{name}"));
            }
        }
        for (name, target) in &self.targets {
            edges
                .entry(format!("target:{name}"))
                .or_default()
                .extend(target.needs.iter().filter_map(node));
        }
        edges
    }
}
