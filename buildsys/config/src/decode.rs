//! Values to types, with every finding at its place.

use std::collections::BTreeMap;

use tbuild_dockerfile::Diagnostic;

use crate::model::{
    Artifact, Base, Chart, Command, CommandLine, Component, Config, From, Image, Input,
    NodeMachine, Project, Release, Source, SourceKind, Spanned, Target, Task, Tool, ToolKind,
};
use crate::problem::at;
use crate::value::{Kind, Span, Table, Value};

/// Reads one table key by key; what is left over is unknown.
struct Reader<'a> {
    table: Table,
    span: Span,
    /// `image.nginx`: for messages.
    path: String,
    known: Vec<&'static str>,
    findings: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key).map(|(_, value)| value)
    }

    fn wrong(&mut self, key: &str, value: &Value, expected: &str) {
        let message = format!(
            "{}.{key} must be {expected}, not {}",
            self.path,
            value.kind.word()
        );
        self.findings.push(at(value.span.clone(), message));
    }

    fn text(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let value = self.take(key)?;
        match value.kind {
            Kind::String(text) => Some(Spanned {
                value: text,
                span: value.span,
            }),
            _ => {
                self.wrong(key, &value, "a string");
                None
            }
        }
    }

    fn required(&mut self, key: &'static str) -> Spanned<String> {
        let missing = !self.table.contains_key(key);
        let found = self.text(key);
        if missing {
            self.findings
                .push(at(self.span.clone(), format!("{} needs {key}", self.path)));
        }
        found.unwrap_or(Spanned {
            value: String::new(),
            span: self.span.clone(),
        })
    }

    fn texts(&mut self, key: &'static str) -> Vec<Spanned<String>> {
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let Kind::Array(values) = value.kind else {
            self.wrong(key, &value, "a list of strings");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for value in values {
            match value.kind {
                Kind::String(text) => texts.push(Spanned {
                    value: text,
                    span: value.span,
                }),
                _ => self.wrong(key, &value, "a list of strings"),
            }
        }
        texts
    }

    fn plain_texts(&mut self, key: &'static str) -> Vec<String> {
        self.texts(key).into_iter().map(|text| text.value).collect()
    }

    fn table(&mut self, key: &'static str) -> Option<(Span, Table)> {
        let value = self.take(key)?;
        match value.kind {
            Kind::Table(table) => Some((value.span, table)),
            _ => {
                self.wrong(key, &value, "a table");
                None
            }
        }
    }

    fn text_map(&mut self, key: &'static str) -> BTreeMap<String, Spanned<String>> {
        let mut texts = BTreeMap::new();
        for (name, (_, value)) in self.table(key).map(|(_, table)| table).unwrap_or_default() {
            let text = match &value.kind {
                Kind::String(text) => text.clone(),
                Kind::Integer(number) => number.to_string(),
                Kind::Bool(value) => value.to_string(),
                _ => {
                    self.wrong(key, &value, "a table of strings");
                    continue;
                }
            };
            texts.insert(
                name,
                Spanned {
                    value: text,
                    span: value.span,
                },
            );
        }
        texts
    }

    fn plain_map(&mut self, key: &'static str) -> BTreeMap<String, String> {
        self.text_map(key)
            .into_iter()
            .map(|(name, text)| (name, text.value))
            .collect()
    }

    /// A duration in seconds: `90s`, `10m`, `1h`.
    fn seconds(&mut self, key: &'static str, default: u64) -> u64 {
        let Some(text) = self.text(key) else {
            return default;
        };
        let parsed = [("h", 3600), ("m", 60), ("s", 1)]
            .iter()
            .find_map(|(unit, seconds)| {
                text.value
                    .strip_suffix(unit)?
                    .parse::<u64>()
                    .ok()?
                    .checked_mul(*seconds)
            });
        parsed.unwrap_or_else(|| {
            let message = format!("{}.{key}: {:?} is no duration", self.path, text.value);
            self.findings
                .push(at(text.span, message).with_hint("write 90s, 10m or 1h"));
            default
        })
    }

    fn command(&mut self, key: &'static str) -> CommandLine {
        match self.table.get(key).map(|(_, value)| &value.kind) {
            Some(Kind::Array(_)) => CommandLine::Exec(self.plain_texts(key)),
            _ => CommandLine::Shell(self.required(key).value),
        }
    }

    fn inputs(&mut self, key: &'static str) -> BTreeMap<String, Input> {
        let path = format!("{}.{key}", self.path);
        let table = self.table(key).map(|(_, table)| table).unwrap_or_default();
        table
            .into_iter()
            .map(|(name, (_, value))| (name, input(value, &path, self.findings)))
            .collect()
    }

    fn finish(self) {
        for (key, (span, _)) in &self.table {
            let finding = at(span.clone(), format!("{} has no key {key}", self.path));
            self.findings
                .push(finding.did_you_mean(nearest(key, &self.known)));
        }
    }
}

/// The known word that `word` most likely means.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |a: &str, b: &str| -> usize {
        let b: Vec<char> = b.chars().collect();
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, x) in a.chars().enumerate() {
            let mut corner = row[0];
            row[0] = i + 1;
            for (j, y) in b.iter().enumerate() {
                let next = (row[j + 1] + 1)
                    .min(row[j] + 1)
                    .min(corner + usize::from(x != *y));
                corner = std::mem::replace(&mut row[j + 1], next);
            }
        }
        row[b.len()]
    };
    let best = known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .min()?;
    (best.0 <= 2.max(word.chars().count() / 3)).then_some(best.1)
}

fn input(value: Value, path: &str, findings: &mut Vec<Diagnostic>) -> Input {
    let span = value.span.clone();
    let (from, include, exclude) = match value.kind {
        Kind::String(text) => (text, Vec::new(), Vec::new()),
        Kind::Table(table) => {
            let mut reader = Reader {
                table,
                span: span.clone(),
                path: path.to_owned(),
                known: Vec::new(),
                findings,
            };
            let from = reader.required("from").value;
            let (include, exclude) = (reader.plain_texts("include"), reader.plain_texts("exclude"));
            reader.finish();
            (from, include, exclude)
        }
        other => {
            findings.push(at(
                span.clone(),
                format!("{path} must be a string or a table, not {}", other.word()),
            ));
            (String::new(), Vec::new(), Vec::new())
        }
    };
    let from = match from.split_once(':') {
        Some(("source", name)) => From::Source(name.to_owned()),
        Some(("artifact", name)) => From::Artifact(name.to_owned()),
        Some(("image", name)) => From::Image(name.to_owned()),
        _ => From::Path(from),
    };
    Input {
        from,
        span,
        include,
        exclude,
    }
}

/// Reads the whole document.
pub(crate) fn config(root: Table) -> Result<Config, Vec<Diagnostic>> {
    let mut findings = Vec::new();
    let mut top = Reader {
        table: root,
        span: 0..0,
        path: "tbuild.toml".to_owned(),
        known: Vec::new(),
        findings: &mut findings,
    };
    let project = top.table("project");
    let tables: BTreeMap<&'static str, Table> = [
        "source",
        "base",
        "image",
        "artifact",
        "chart",
        "release",
        "task",
        "target",
        "command",
        "component",
        "tool",
    ]
    .into_iter()
    .map(|name| {
        (
            name,
            top.table(name).map(|(_, table)| table).unwrap_or_default(),
        )
    })
    .collect();
    let node = top.table("node");
    top.table("profile");
    top.finish();

    let mut config = Config::default();
    if let Some((span, table)) = project {
        let mut reader = Reader {
            table,
            span,
            path: "project".to_owned(),
            known: Vec::new(),
            findings: &mut findings,
        };
        config.project = Project {
            name: reader.required("name").value,
            registry: reader.text("registry").map(|text| text.value),
            default: reader.texts("default"),
            env: reader.plain_texts("env"),
        };
        reader.finish();
    }
    for (kind, entries) in tables {
        for (name, (span, value)) in entries {
            let path = format!("{kind}.{name}");
            let Kind::Table(table) = value.kind else {
                findings.push(at(
                    value.span,
                    format!("{path} must be a table, not {}", value.kind.word()),
                ));
                continue;
            };
            let reader = Reader {
                table,
                span,
                path,
                known: Vec::new(),
                findings: &mut findings,
            };
            entry(&mut config, kind, name, reader);
        }
    }
    if let Some((span, table)) = node {
        let mut reader = Reader {
            table,
            span: span.clone(),
            path: "node".to_owned(),
            known: Vec::new(),
            findings: &mut findings,
        };
        config.node = Some(NodeMachine {
            span,
            image: reader.required("image"),
            images: reader.text_map("images"),
            version: reader.required("version").value,
            labels: reader.plain_map("labels"),
        });
        reader.finish();
    }
    if findings.is_empty() {
        Ok(config)
    } else {
        Err(findings)
    }
}

fn entry(config: &mut Config, kind: &str, name: String, mut reader: Reader<'_>) {
    let span = reader.span.clone();
    match kind {
        "source" => {
            let source = source(&mut reader);
            config.sources.insert(name, source);
        }
        "base" => {
            let base = base(&mut reader);
            config.bases.insert(name, base);
        }
        "image" => {
            let image = image(&mut reader);
            config.images.insert(name, image);
        }
        "artifact" => {
            let artifact = artifact(&mut reader);
            config.artifacts.insert(name, artifact);
        }
        "chart" => {
            let chart = Chart {
                span,
                path: reader.text("path"),
                images: reader.text_map("images"),
            };
            config.charts.insert(name, chart);
        }
        "release" => {
            let release = release(&mut reader);
            config.releases.insert(name, release);
        }
        "task" => {
            let task = Task {
                span,
                release: reader.required("release"),
                template: reader.required("template").value,
                after: reader.text("after"),
                before: reader.text("before"),
                inputs: reader.texts("inputs"),
                timeout: reader.seconds("timeout", 600),
            };
            config.tasks.insert(name, task);
        }
        "target" => {
            let target = Target {
                span,
                needs: reader.texts("needs"),
            };
            config.targets.insert(name, target);
        }
        "command" => {
            let command = Command {
                span,
                needs: reader.texts("needs"),
                run: reader.command("run"),
                description: reader.text("description").map(|text| text.value),
            };
            config.commands.insert(name, command);
        }
        "component" => {
            let component = Component {
                span,
                release: reader.required("release"),
                selector: reader.required("selector").value,
            };
            config.components.insert(name, component);
        }
        _ => {
            let tool = tool(&mut reader);
            config.tools.insert(name, tool);
        }
    }
    reader.finish();
}

fn source(reader: &mut Reader<'_>) -> Source {
    let span = reader.span.clone();
    let (path, git, url) = (reader.text("path"), reader.text("git"), reader.text("url"));
    let kind = match (path, git, url) {
        (Some(path), None, None) => SourceKind::Path(path),
        (None, Some(url), None) => SourceKind::Git {
            url,
            rev: reader.required("rev").value,
        },
        (None, None, Some(url)) => SourceKind::Url {
            url,
            sha256: reader.required("sha256").value,
        },
        _ => {
            let message = format!("{} needs exactly one of path, git and url", reader.path);
            reader.findings.push(at(span.clone(), message));
            SourceKind::Path(Spanned {
                value: String::new(),
                span: span.clone(),
            })
        }
    };
    Source {
        span,
        kind,
        include: reader.plain_texts("include"),
        exclude: reader.plain_texts("exclude"),
    }
}

fn base(reader: &mut Reader<'_>) -> Base {
    let components = reader.plain_texts("components");
    Base {
        span: reader.span.clone(),
        distribution: reader.required("distribution").value,
        suite: reader.required("suite").value,
        extra_suites: reader.plain_texts("extra-suites"),
        components: if components.is_empty() {
            vec!["main".to_owned()]
        } else {
            components
        },
        include: reader.plain_texts("include"),
        keyring: reader.text("keyring"),
        platform: reader.text("platform").map(|text| text.value),
    }
}

fn image(reader: &mut Reader<'_>) -> Image {
    let path = format!("{}.context", reader.path);
    let context = reader
        .take("context")
        .map(|value| input(value, &path, reader.findings));
    let tags = reader.plain_texts("tags");
    let values = reader
        .table("values")
        .map(|(_, table)| table)
        .unwrap_or_default();
    Image {
        span: reader.span.clone(),
        dockerfile: reader.text("dockerfile"),
        context,
        contexts: reader.inputs("contexts"),
        target: reader.text("target").map(|text| text.value),
        args: reader.plain_map("args"),
        values: values
            .into_iter()
            .map(|(name, (_, value))| (name, value.to_json()))
            .collect(),
        labels: reader.plain_map("labels"),
        platforms: reader.plain_texts("platforms"),
        repository: reader.text("repository").map(|text| text.value),
        tags: if tags.is_empty() {
            vec!["latest".to_owned()]
        } else {
            tags
        },
    }
}

fn artifact(reader: &mut Reader<'_>) -> Artifact {
    let network = reader.text("network");
    let network = match network {
        None => false,
        Some(text) if text.value == "none" => false,
        Some(text) if text.value == "host" => true,
        Some(text) => {
            let message = format!("{}.network: {:?} is no network", reader.path, text.value);
            reader
                .findings
                .push(at(text.span, message).with_hint("write \"none\" or \"host\""));
            false
        }
    };
    Artifact {
        span: reader.span.clone(),
        image: reader.required("image"),
        inputs: reader.inputs("inputs"),
        env: reader.plain_map("env"),
        run: reader.command("run"),
        outputs: reader.plain_texts("outputs"),
        network,
    }
}

fn release(reader: &mut Reader<'_>) -> Release {
    let set = reader.table("set").map(|(span, table)| {
        Value {
            kind: Kind::Table(table),
            span,
        }
        .to_json()
    });
    Release {
        span: reader.span.clone(),
        chart: reader.required("chart"),
        namespace: reader
            .text("namespace")
            .map_or_else(|| "default".to_owned(), |text| text.value),
        values: reader.texts("values"),
        set: set.unwrap_or_else(|| serde_json::json!({})),
        timeout: reader.seconds("timeout", 600),
        registry_value: reader.text("registry-value").map(|text| text.value),
        needs: reader.texts("needs"),
    }
}

fn tool(reader: &mut Reader<'_>) -> Tool {
    let span = reader.span.clone();
    let kind = match (reader.text("image"), reader.text("url")) {
        (Some(image), None) => ToolKind::Image {
            image,
            path: reader.required("path").value,
        },
        (None, Some(url)) => ToolKind::Url {
            url,
            version: reader.required("version").value,
            sha256: reader.plain_map("sha256"),
            member: reader.text("member").map(|text| text.value),
        },
        _ => {
            let message = format!("{} needs exactly one of image and url", reader.path);
            reader.findings.push(at(span.clone(), message));
            ToolKind::Image {
                image: Spanned {
                    value: String::new(),
                    span: span.clone(),
                },
                path: String::new(),
            }
        }
    };
    Tool { span, kind }
}
