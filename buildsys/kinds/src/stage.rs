//! Stages: where one starts, and what instructions that touch no file change.

use std::sync::Arc;

use async_trait::async_trait;
use tbuild_dockerfile::{BaseConfig, Concrete, Plan, Platform, Scope};
use tbuild_oci::{Empty, Healthcheck, HistoryEntry, ImageConfig};
use tbuild_realise::{Context, Op, OpError, Output, Prepared};

use crate::artifact::layer_of;
use crate::base::empty_config;
use crate::step::environment;
use crate::value::input;
use crate::world::blocking;
use crate::{ImageValue, StateValue, TreeValue, World};

/// A stage's start. Its input: the state of a base, an image, the stage that it continues, or the files of a folder
/// that was named as a build context.
pub(crate) struct StageStart {
    pub world: Arc<World>,
    pub plan: Arc<Plan>,
    /// What FROM names.
    pub base: String,
    /// The base's ONBUILD triggers, which the stage begins with; none where an earlier stage is the base.
    pub triggers: Option<Vec<String>>,
    /// What an image made of a folder's files is for.
    pub platform: Platform,
}

/// The variables at the start of a stage whose base is an image of this config, which gets what it lacks and
/// loses its ONBUILD triggers: they are the stage's steps now.
pub(crate) fn begin(plan: &Plan, config: &mut ImageConfig) -> Scope {
    let runtime = &mut config.config;
    let base = BaseConfig {
        env: environment(&runtime.env).into_iter().collect(),
        workdir: runtime.working_dir.clone(),
        shell: runtime.shell.clone(),
    };
    let scope = Scope::new(plan, &base);
    if runtime.env_value("PATH").is_none()
        && let Some(path) = scope.env().get("PATH")
    {
        runtime.set_env("PATH", path);
    }
    runtime.on_build.clear();
    scope
}

impl StageStart {
    /// The files of a folder as an image without a config, as BuildKit takes them.
    async fn of_tree(&self, tree: Arc<TreeValue>) -> Result<StateValue, OpError> {
        let world = Arc::clone(&self.world);
        let layer = blocking(move || layer_of(&world, &tree)).await?;
        let mut config = empty_config(&self.platform);
        config.history.push(HistoryEntry {
            created_by: Some("a folder".to_owned()),
            ..HistoryEntry::default()
        });
        Ok(StateValue {
            layers: vec![layer],
            config,
            scope: None,
            packages: None,
        })
    }
}

#[async_trait]
impl Op for StageStart {
    fn title(&self) -> String {
        "start a stage".to_owned()
    }

    async fn prepare(&self, _: &Context, inputs: &[Output]) -> Result<Prepared, OpError> {
        let base = inputs.first();
        let mut state = if let Some(image) = base.and_then(Output::get::<ImageValue>) {
            image.state.clone()
        } else if let Some(tree) = base.and_then(Output::get::<TreeValue>) {
            self.of_tree(tree).await?
        } else {
            StateValue::clone(&*input::<StateValue>(inputs, 0)?)
        };
        let scope = if let Some(scope) = state.scope.take() {
            state.config.config.on_build.clear();
            scope.child_in(&self.plan)
        } else {
            // A base that no one could be asked about when the graph was made.
            let planned = self.triggers.as_deref().unwrap_or_default();
            if planned != state.config.config.on_build {
                return Err(OpError::failed_text(format!(
                    "{} has ONBUILD triggers that were not known when the build was planned",
                    self.base
                ))
                .hint("run it again: now they are"));
            }
            begin(&self.plan, &mut state.config)
        };
        state.scope = Some(scope);
        Ok(Prepared::Ready(Output::new(state)))
    }
}

/// Changes the config as an instruction says.
pub(crate) fn apply(config: &mut ImageConfig, instruction: &Concrete) {
    let runtime = &mut config.config;
    match instruction {
        Concrete::Env(pairs) => pairs
            .iter()
            .for_each(|(name, value)| runtime.set_env(name, value)),
        Concrete::Label(pairs) => runtime.labels.extend(pairs.iter().cloned()),
        Concrete::Workdir(path) => runtime.working_dir.clone_from(path),
        Concrete::User(user) => runtime.user = Some(user.clone()).filter(|user| !user.is_empty()),
        Concrete::Cmd(argv) => {
            runtime.cmd.clone_from(argv);
            // What Docker writes for old Windows containers, everywhere.
            let escaped = ("ArgsEscaped".to_owned(), true.into());
            runtime.extra.extend([escaped]);
        }
        Concrete::Entrypoint { argv, keeps_cmd } => {
            runtime.entrypoint.clone_from(argv);
            if !keeps_cmd {
                runtime.cmd.clear();
            }
        }
        Concrete::Expose(ports) => runtime
            .exposed_ports
            .extend(ports.iter().map(|port| (port.clone(), Empty {}))),
        Concrete::Volume(paths) => runtime
            .volumes
            .extend(paths.iter().map(|path| (path.clone(), Empty {}))),
        Concrete::Healthcheck(check) => {
            runtime.healthcheck = Some(Healthcheck {
                test: check.test.clone(),
                interval: check.interval,
                timeout: check.timeout,
                start_period: check.start_period,
                start_interval: check.start_interval,
                retries: u64::from(check.retries),
            });
        }
        Concrete::Shell(shell) => runtime.shell.clone_from(shell),
        Concrete::StopSignal(signal) => runtime.stop_signal = Some(signal.clone()),
        Concrete::Maintainer(author) => config.author = Some(author.clone()),
        Concrete::Onbuild(trigger) => runtime.on_build.push(trigger.clone()),
        Concrete::Arg(_) | Concrete::Run(_) | Concrete::Copy(_) => {}
    }
}
