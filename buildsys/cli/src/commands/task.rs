//! `tbuild run TASK`: runs a task of tbuild.toml now; and what other commands tell tasks.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tbuild_config::{Config, JsonMap, Kind, NodeRef};

use crate::args::Global;
use crate::engine::Engine;
use crate::error::CliError;
use crate::project::Project;

/// Parameters of tasks, as the command line gives them.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "What tasks are told")]
pub struct Said {
    /// Go on with what would lose data
    #[arg(long)]
    pub allow_data_loss: bool,
    /// Do without the backup that would come first
    #[arg(long)]
    pub no_backup: bool,
    /// A parameter that a task of tbuild.toml declares; may be repeated
    #[arg(short = 'p', long = "parameter", value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,
}

impl Said {
    /// The parameters of each task, or of the one named. What no task declares is refused.
    pub fn resolve(
        &self,
        config: &Config,
        only: Option<&str>,
    ) -> Result<BTreeMap<String, JsonMap>, CliError> {
        let mut said: Vec<(&str, Value)> = Vec::new();
        for (name, given) in [
            ("allow-data-loss", self.allow_data_loss),
            ("no-backup", self.no_backup),
        ] {
            if given {
                said.push((name, json!(true)));
            }
        }
        for parameter in &self.parameters {
            let (name, value) = parameter.split_once('=').ok_or_else(|| {
                CliError::usage(format!("{parameter:?} is no parameter"))
                    .hint("parameters are NAME=VALUE")
            })?;
            said.push((name, json!(value)));
        }
        let mut told: BTreeMap<String, JsonMap> = BTreeMap::new();
        for (name, value) in said {
            let mut known = false;
            for (task, declared) in &config.tasks {
                if only.is_some_and(|only| only != task) {
                    continue;
                }
                if let Some(parameter) = declared.parameter(name) {
                    let own = told.entry(task.clone()).or_default();
                    own.insert(parameter.to_owned(), value.clone());
                    known = true;
                }
            }
            if !known {
                return Err(undeclared(config, only, name));
            }
        }
        Ok(told)
    }
}

fn undeclared(config: &Config, only: Option<&str>, name: &str) -> CliError {
    let known: Vec<&str> = config
        .tasks
        .iter()
        .filter(|(task, _)| only.is_none_or(|only| only == *task))
        .flat_map(|(_, task)| task.parameters.iter().map(|one| one.value.as_str()))
        .collect();
    let error = CliError::usage(match only {
        None => format!("no task declares a parameter {name}"),
        Some(task) => format!("task {task} has no parameter {name}"),
    });
    if known.is_empty() {
        error.hint("`parameters = [\"NAME\"]` of a [task.X] declares one")
    } else {
        error.hint(format!("declared are {}", known.join(", ")))
    }
}

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The task
    task: String,
    #[command(flatten)]
    said: Said,
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let task = arguments.task.strip_prefix("task:");
    again(
        global,
        task.unwrap_or(&arguments.task),
        &arguments.said,
        JsonMap::new(),
    )
    .await
}

/// Runs a task whether what it does has changed or not, with `more` besides what was said.
pub async fn again(
    global: &Global,
    name: &str,
    said: &Said,
    more: JsonMap,
) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    let Some(task) = project.config.tasks.get(name) else {
        let known: Vec<&str> = project.config.tasks.keys().map(String::as_str).collect();
        let error = CliError::usage(format!("tbuild.toml has no [task.{name}]"));
        return Err(if known.is_empty() {
            error
        } else {
            error.hint(format!("tasks: {}", known.join(", ")))
        });
    };
    let mut told = said.resolve(&project.config, Some(name))?;
    for (parameter, value) in more {
        let declared = task
            .parameter(&parameter)
            .ok_or_else(|| undeclared(&project.config, Some(name), &parameter))?;
        told.entry(name.to_owned())
            .or_default()
            .insert(declared.to_owned(), value);
    }
    let engine = Engine::new(global, project)?;
    engine.world.connect_ahead();
    let wanted = [NodeRef::new(Kind::Task, name)];
    super::target::realise_told(&engine, &wanted, told, &[name]).await?;
    Ok(0)
}
