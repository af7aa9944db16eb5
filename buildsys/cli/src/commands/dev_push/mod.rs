//! `tbuild dev-push [COMPONENT[.NAME]...]`: what has changed of sources and of what is made of them, put into pods that
//! run; with `--watch` at each save.

mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tbuild_config::Config;
use tbuild_kinds::{DevPods, Nodes};
use tokio::task::JoinSet;

use self::watch::Watch;
use crate::args::{Global, Progress};
use crate::engine::Engine;
use crate::error::CliError;
use crate::output::line;
use crate::project::Project;

/// The exit code of what the user wrote.
const USAGE: u8 = 2;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Components of tbuild.toml, or single pushes of them, such as web.code [default: all that have `dev`]
    components: Vec<String>,
    /// Push again at each save, until Ctrl-C
    #[arg(short, long)]
    watch: bool,
}

/// The pushes that names mean: component and name of each.
fn pushes(config: &Config, names: &[String]) -> Result<Vec<(String, String)>, CliError> {
    let each = |component: &str| -> Vec<(String, String)> {
        let dev = config.components.get(component).map(|one| &one.dev);
        dev.into_iter()
            .flat_map(|dev| dev.keys())
            .map(|name| (component.to_owned(), name.clone()))
            .collect()
    };
    if names.is_empty() {
        let all: Vec<_> = config.components.keys().flat_map(|one| each(one)).collect();
        if all.is_empty() {
            return Err(CliError::usage("no component of tbuild.toml has `dev`"));
        }
        return Ok(all);
    }
    let mut found = Vec::new();
    for wanted in names {
        let of = each(wanted);
        if !of.is_empty() {
            found.extend(of);
            continue;
        }
        let single = wanted
            .rsplit_once('.')
            .map(|(one, name)| (one.to_owned(), name.to_owned()));
        match single {
            Some(single) if each(&single.0).contains(&single) => found.push(single),
            Some((one, name)) if config.components.contains_key(&one) => {
                return Err(CliError::usage(format!(
                    "[component.{one}] has no `dev.{name}`"
                )));
            }
            _ => return Err(none(config, wanted)),
        }
    }
    Ok(found)
}

fn none(config: &Config, name: &str) -> CliError {
    if config.components.contains_key(name) {
        return CliError::usage(format!("[component.{name}] has no `dev`"))
            .hint("[component.X.dev.NAME] with from, paths and reload says what goes where");
    }
    let known: Vec<&str> = config.components.keys().map(String::as_str).collect();
    CliError::usage(format!("there is no component {name} in tbuild.toml"))
        .hint(format!("components: {}", known.join(", ")))
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    let wanted = pushes(&project.config, &arguments.components)?;
    let mut global = Global {
        // What one push cannot do keeps no other from being done.
        keep_going: true,
        ..global.clone()
    };
    if arguments.watch && matches!(global.progress, Progress::Auto | Progress::Tty) {
        // Pushes go on beside each other, and there is one screen.
        global.progress = Progress::Plain;
    }
    let (json, first) = (global.json, Arc::new(AtomicBool::new(true)));
    let all = Arc::clone(&first);
    let pods = Arc::new(DevPods::new(move |done| {
        if !json && (all.load(Ordering::Relaxed) || !done.is_nothing()) {
            line(done);
        }
    }));
    let mut engine = Engine::new(&global, project)?;
    if !arguments.watch {
        return push(&engine, &wanted, &pods, None).await.map(|()| 0);
    }
    // Each by itself: one that takes long keeps no other.
    let mut rounds = JoinSet::new();
    for one in wanted {
        let watch = Watch::new()?;
        let (engine, pods, first) = (engine.again()?, Arc::clone(&pods), Arc::clone(&first));
        rounds.spawn(async move { follow(engine, one, &pods, watch, &first).await });
    }
    engine.rest();
    while let Some(ended) = rounds.join_next().await {
        if let Err(error) = ended.map_err(|error| CliError::internal(&error)).flatten() {
            engine.cancel.cancel();
            return Err(error);
        }
    }
    Ok(0)
}

/// Pushes one thing at each save of what it is made of.
async fn follow(
    mut engine: Engine,
    wanted: (String, String),
    pods: &Arc<DevPods>,
    mut watch: Watch,
    first: &AtomicBool,
) -> Result<(), CliError> {
    let wanted = [wanted];
    let mut begun = false;
    loop {
        match push(&engine, &wanted, pods, Some(&mut watch)).await {
            Err(error) if !begun && error.code == USAGE => return Err(error),
            Err(error) if !error.message.is_empty() && !engine.cancel.is_cancelled() => {
                error.show();
            }
            _ => {}
        }
        begun = true;
        engine.rest();
        if !tokio::task::block_in_place(|| watch.wait(&engine.cancel))? {
            return Ok(());
        }
        first.store(false, Ordering::Relaxed);
        engine = engine.again()?;
    }
}

/// Makes what is wanted and pushes it, and has watched what it reads.
async fn push(
    engine: &Engine,
    wanted: &[(String, String)],
    pods: &Arc<DevPods>,
    watch: Option<&mut Watch>,
) -> Result<(), CliError> {
    let mut graph = Nodes::new();
    let mut targets = Vec::new();
    {
        let mut pipeline = engine.pipeline();
        for (component, name) in wanted {
            targets.push(pipeline.dev_push(&mut graph, component, name, pods)?);
        }
        pipeline.finish(&mut graph)?;
        engine.warn(&pipeline.warnings);
        if !engine.global.dry_run {
            pipeline.can_run()?;
        }
        if let Some(watch) = watch {
            watch.look_at(&pipeline.reads)?;
        }
    }
    let outcome = engine.realise(Arc::new(graph), &targets).await;
    outcome.map(drop)
}
