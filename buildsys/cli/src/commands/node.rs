//! `tbuild node up|down|status`: a real one-node Kubernetes on this machine.

use std::sync::Arc;

use clap::Subcommand;
use tbuild_config::{Kind, NodeRef};
use tbuild_graph::NodeId;
use tbuild_kinds::{Built, Nodes, forget_node, note_node};
use tbuild_kube::Cluster;
use tbuild_node::{
    Addresses, BoxError, ClusterImages, Deadlines, DownOutcome, NodeError, NodeEvent, NodePhase,
    NodeSpec, Observer, UpOutcome,
};

use crate::args::Global;
use crate::engine::{Engine, node_data, open_store, store_path};
use crate::error::CliError;
use crate::project::Project;
use crate::report::{duration, eprint};

/// The first argument that makes the program one of a node's own processes.
pub const REEXEC: &str = "__node";

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// Bring up the node of [node], from images of this very graph
    Up,
    /// Take it away: processes, mounts, networks, data
    Down {
        /// Keep its data, so that the next `up` continues
        #[arg(long)]
        keep: bool,
    },
    /// Say how it is
    Status,
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    match arguments.action {
        Action::Up => up(global).await,
        Action::Down { keep } => {
            let data = node_data(global);
            let kubeconfig = data.join("kubeconfig");
            let cluster = Cluster::connect(&[kubeconfig], None).await;
            let outcome = tokio::task::spawn_blocking(move || tbuild_node::down(&data, keep)).await;
            let outcome = outcome
                .map_err(|error| CliError::internal(&error))?
                .map_err(|error| failure(&error))?;
            if !keep {
                let cluster = cluster.as_ref().ok().map(Cluster::url);
                forget_node(&open_store(global)?, &node_data(global), cluster)?;
            }
            eprint(match outcome {
                DownOutcome::NotThere => "there is no node\n",
                DownOutcome::Stopped | DownOutcome::Cleaned if keep => {
                    "the node is stopped; its data is kept\n"
                }
                DownOutcome::Stopped | DownOutcome::Cleaned => "the node is gone, data and all\n",
            });
            Ok(0)
        }
        Action::Status => status(global),
    }
}

fn failure(error: &NodeError) -> CliError {
    CliError::unreachable(crate::error::chain(error))
}

fn status(global: &Global) -> Result<u8, CliError> {
    let status = tbuild_node::status(&node_data(global)).map_err(|error| failure(&error))?;
    if global.json {
        crate::output::json(&status);
    } else {
        crate::output::line(format!("{:?}", status.phase).to_lowercase());
        if status.node.is_some() {
            crate::output::line(format!(
                "kubeconfig: {}",
                node_data(global).join("kubeconfig").display()
            ));
        }
    }
    Ok(u8::from(status.phase != NodePhase::Up))
}

async fn up(global: &Global) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    let Some(node) = project.config.node.clone() else {
        return Err(CliError::usage("tbuild.toml has no [node]"));
    };
    let engine = Arc::new(Engine::new(global, project)?);
    let config = &engine.project.config;
    let registry = config
        .project
        .registry
        .as_ref()
        .map_or("localhost:5000", |registry| &registry.value)
        .to_owned();
    let mut graph = Nodes::new();
    let mut pipeline = engine.pipeline();
    let machine = pipeline.node(&mut graph, &NodeRef::new(Kind::Image, &node.image.value))?;
    let mut targets = vec![machine];
    for image in node.images.values() {
        targets.push(pipeline.node(&mut graph, &NodeRef::new(Kind::Image, &image.value))?);
    }
    pipeline.can_run()?;
    drop(pipeline);
    let outcome = engine.realise(Arc::new(graph), &targets).await?;
    let image = outcome.outputs.get(&machine).and_then(Built::of);
    let image = image.and_then(|built| built.here(&engine.world));
    let image = image.ok_or_else(|| CliError::failed("the node's image was not built"))?;
    let world = Arc::clone(&engine.world);
    let layers = image.state.layers.clone();
    note_node(world.store.as_ref(), &node_data(global), &layers)?;
    let lower = tokio::task::spawn_blocking(move || world.snapshots(&layers)).await;
    let lower = lower.map_err(|error| CliError::internal(&error))??;
    let tag = |name: &str| -> String {
        let image = node
            .images
            .get(name)
            .and_then(|image| config.images.get(&image.value));
        image
            .and_then(|image| image.tags.first().cloned())
            .unwrap_or_else(|| node.version.value.clone())
    };
    let repository = config
        .images
        .iter()
        .find(|(name, _)| {
            node.images
                .get("pause")
                .is_some_and(|pause| pause.value == **name)
        })
        .and_then(|(_, image)| {
            image
                .repository
                .rsplit_once('/')
                .map(|(folder, _)| format!("{registry}/{folder}"))
        })
        .unwrap_or_else(|| registry.clone());
    let spec = NodeSpec {
        name: "node1".to_owned(),
        data: node_data(global),
        lower,
        kubernetes_version: node.version.value.clone(),
        registry: registry.clone(),
        registry_command: vec![
            "/proc/self/exe".to_owned(),
            "--store".to_owned(),
            store_path(global).display().to_string(),
            "registry".to_owned(),
            "serve".to_owned(),
        ],
        images: ClusterImages {
            repository,
            etcd: tag("etcd"),
            coredns: tag("coredns"),
            pause: tag("pause"),
        },
        addresses: Addresses::default(),
        labels: node
            .labels
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        etcd_fsync: false,
        reexec: vec![REEXEC.to_owned()],
    };
    let pushed: Vec<String> = node
        .images
        .values()
        .map(|image| image.value.clone())
        .collect();
    let mut watcher = Watcher {
        engine: Arc::clone(&engine),
        pushed,
        handle: tokio::runtime::Handle::current(),
    };
    let outcome = tokio::task::spawn_blocking(move || {
        tbuild_node::up(&spec, &Deadlines::default(), &mut watcher)
    })
    .await;
    let outcome = outcome
        .map_err(|error| CliError::internal(&error))?
        .map_err(|error| failure(&error))?;
    let word = match outcome {
        UpOutcome::AlreadyUp => "already up",
        UpOutcome::Continued => "up (another tbuild had begun)",
        UpOutcome::Restarted => "up again",
        UpOutcome::Created => "up",
    };
    eprint(&format!(
        "the node is {word}: KUBECONFIG={}\n",
        node_data(global).join("kubeconfig").display()
    ));
    Ok(0)
}

/// Tells what happens, and pushes the control plane's images once the registry listens.
struct Watcher {
    engine: Arc<Engine>,
    pushed: Vec<String>,
    handle: tokio::runtime::Handle,
}

impl Observer for Watcher {
    fn event(&mut self, event: NodeEvent) {
        let text = match event {
            NodeEvent::Started(phase) => format!("node: {phase} ...\n"),
            NodeEvent::Finished { phase, elapsed } => {
                format!("node: {phase} done in {}\n", duration(elapsed))
            }
            NodeEvent::Progress { phase, line } => format!("node: {phase}: {line}\n"),
        };
        eprint(&text);
    }

    fn push_images(&mut self, _: &str) -> Result<(), BoxError> {
        let mut graph = Nodes::new();
        let mut targets: Vec<NodeId> = Vec::new();
        {
            let mut pipeline = self.engine.pipeline();
            for name in &self.pushed {
                targets.push(pipeline.push(&mut graph, name)?);
            }
        }
        let realised = self
            .handle
            .block_on(self.engine.realise(Arc::new(graph), &targets));
        realised
            .map(drop)
            .map_err(|error| BoxError::from(error.message))
    }
}
