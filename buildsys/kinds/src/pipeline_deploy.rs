//! Releases and tasks of a configuration turned into nodes; their values checked before anything is built.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tbuild_config::{Kind, NodeRef};
use tbuild_graph::{NodeId, NodeKind};
use tbuild_helm::{coalesce, merge_values, parse_yaml, validate_values};
use tbuild_realise::OpError;

use crate::deploy::Desired;
use crate::pipeline::Pipeline;
use crate::recipe::{Nodes, defect};
use crate::release::Release;
use crate::task::Task;

/// Stands for an image's reference while values are checked: images are not built yet.
const IMAGE: &str =
    "localhost/image@sha256:0000000000000000000000000000000000000000000000000000000000000000";

impl Pipeline<'_> {
    pub(crate) fn release(&mut self, graph: &mut Nodes, name: &str) -> Result<NodeId, OpError> {
        let config = self.config;
        let release = config
            .releases
            .get(name)
            .ok_or_else(|| OpError::usage(format!("there is no release {name} in tbuild.toml")))?;
        let mut first = Vec::new();
        for need in &release.needs {
            first.push(self.node(graph, &need.value)?);
        }
        let (desired, inputs) = self.desired(graph, name)?;
        let op = Release {
            desired,
            timeout: release.timeout,
        };
        let node = graph
            .add(
                NodeKind::Release,
                format!("release:{name}"),
                inputs,
                Box::new(op),
            )
            .map_err(|error| defect(&error))?;
        for need in first {
            graph.order(node, need);
        }
        // Tasks that a release waits for are part of it, asked for or not.
        let before = config.tasks.iter().filter(|(_, task)| {
            task.before
                .as_ref()
                .is_some_and(|before| before.value == name)
        });
        for (task, _) in before {
            let task = self.node(graph, &NodeRef::new(Kind::Task, task))?;
            graph.order(node, task);
        }
        Ok(node)
    }

    pub(crate) fn task(&mut self, graph: &mut Nodes, name: &str) -> Result<NodeId, OpError> {
        let config = self.config;
        let task = config
            .tasks
            .get(name)
            .ok_or_else(|| OpError::usage(format!("there is no task {name} in tbuild.toml")))?;
        let (desired, mut inputs) = self.desired(graph, &task.release.value)?;
        for input in &task.inputs {
            inputs.push(self.node(graph, &input.value)?);
        }
        let op = Task {
            desired,
            name: name.to_owned(),
            template: task.template.value.clone(),
            inputs: task
                .inputs
                .iter()
                .map(|input| input.value.to_string())
                .collect(),
            timeout: task.timeout,
            asked: task.asked,
            again: self.again.contains(name),
            parameters: self.parameters.get(name).cloned().unwrap_or_default(),
            undoes: task.undoes.iter().map(|one| one.value.clone()).collect(),
        };
        let node = graph
            .add(NodeKind::Task, format!("task:{name}"), inputs, Box::new(op))
            .map_err(|error| defect(&error))?;
        if let Some(after) = &task.after {
            let release = self.node(graph, &NodeRef::new(Kind::Release, &after.value))?;
            graph.order(node, release);
        }
        Ok(node)
    }

    /// What a release is made of, and the nodes that it takes: chart, helm, pushes.
    fn desired(
        &mut self,
        graph: &mut Nodes,
        name: &str,
    ) -> Result<(Desired, Vec<NodeId>), OpError> {
        let config = self.config;
        let release = config
            .releases
            .get(name)
            .ok_or_else(|| OpError::usage(format!("there is no release {name} in tbuild.toml")))?;
        let chart = config.charts.get(&release.chart.value).ok_or_else(|| {
            OpError::usage(format!(
                "there is no chart {} in tbuild.toml",
                release.chart.value
            ))
        })?;
        let mut files = Vec::new();
        for file in &release.values {
            let path = self.world.resolve(Path::new(&file.value));
            let text = std::fs::read_to_string(&path).map_err(|error| {
                OpError::usage(format!("cannot read {}: {error}", path.display()))
            })?;
            files.push((file.value.clone(), text));
        }
        let mut values = merge_values(&files, &Value::Object(release.set.clone()))
            .map_err(|error| OpError::usage(tbuild_realise::message(&error)))?;
        if let Some(key) = &release.registry_value {
            match values
                .get(&key.value)
                .and_then(Value::as_str)
                .map(str::to_owned)
            {
                Some(registry) => self.registry = Some(registry),
                None => {
                    values[key.value.as_str()] = json!(self.registry.clone().unwrap_or_default());
                }
            }
        }
        self.check_values(name, &chart.path.value, &values, chart.images.keys())?;
        let mut inputs = vec![
            self.node(graph, &NodeRef::new(Kind::Chart, &release.chart.value))?,
            self.node(graph, &NodeRef::new(Kind::Tool, "helm"))?,
        ];
        for image in chart.images.values() {
            inputs.push(self.push(graph, &image.value)?);
        }
        let desired = Desired {
            world: Arc::clone(self.world),
            release: name.to_owned(),
            namespace: release.namespace.clone(),
            values,
            images: chart.images.keys().cloned().collect(),
        };
        Ok((desired, inputs))
    }

    /// Checks values against the chart's schema, as helm will, only before anything is built.
    fn check_values<'k>(
        &self,
        release: &str,
        chart: &str,
        values: &Value,
        images: impl Iterator<Item = &'k String>,
    ) -> Result<(), OpError> {
        let folder = self.world.resolve(Path::new(chart));
        let Ok(schema) = std::fs::read_to_string(folder.join("values.schema.json")) else {
            return Ok(());
        };
        let wrong = |error: &dyn std::error::Error, file: &str| {
            OpError::usage(format!("{chart}/{file}: {error}"))
        };
        let schema: Value =
            serde_json::from_str(&schema).map_err(|error| wrong(&error, "values.schema.json"))?;
        let defaults = std::fs::read_to_string(folder.join("values.yaml")).unwrap_or_default();
        let defaults = parse_yaml(&defaults).map_err(|error| wrong(&error, "values.yaml"))?;
        let mut values = values.clone();
        values["images"] = images
            .map(|name| (name.clone(), json!(IMAGE)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let problems = validate_values(&schema, &coalesce(&defaults, &values))
            .map_err(|error| wrong(&error, "values.schema.json"))?;
        if problems.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = problems
            .iter()
            .map(|problem| format!("  {}: {}", problem.path, problem.message))
            .collect();
        Err(OpError::usage(format!(
            "the values of release {release} are not what {chart} takes:\n{}",
            lines.join("\n")
        ))
        .hint(format!("{chart}/values.yaml says what each value means")))
    }
}
