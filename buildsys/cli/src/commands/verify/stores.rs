//! The two stores: new ones, with what was downloaded and nothing that was built.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tbuild_graph::{NodeId, NodeKind};
use tbuild_kinds::{Nodes, seed_blobs, seed_record};
use tbuild_realise::Outcome;
use tbuild_store::Store as _;
use tbuild_store_local::{LocalStore, remove_tree};

use super::Arguments;
use crate::engine::Engine;
use crate::error::CliError;
use crate::project::lockfiles;

/// Held by the process whose folder it is in.
const ALIVE: &str = "alive";

/// Two stores, and room for copies of what is read. Removed with this value, unless they are to be kept.
pub struct Stores {
    /// The folder of all.
    pub folder: PathBuf,
    /// The stores' folders: of different lengths, so that a path that gets into a file changes its size.
    pub paths: [PathBuf; 2],
    kept: bool,
    _alive: Option<File>,
}

impl Drop for Stores {
    fn drop(&mut self) {
        if !self.kept {
            // What stays is removed by the next one.
            let _ = remove_tree(&self.folder);
        }
    }
}

fn failed(what: &str, path: &Path) -> impl Fn(std::io::Error) -> CliError {
    let text = format!("cannot {what} {}", path.display());
    move |error| CliError::failed(format!("{text}: {error}"))
}

/// Makes the stores, and gives them the bases and downloads of the user's own.
pub async fn prepare(
    engine: &Engine,
    arguments: &Arguments,
    graph: &Arc<Nodes>,
    target: NodeId,
) -> Result<Stores, CliError> {
    let stores = match &arguments.keep {
        Some(folder) => kept(folder)?,
        None => temporary(engine)?,
    };
    let closure = graph
        .closure(&[target])
        .map_err(|error| CliError::usage(error.to_string()))?;
    // A base that is to be built twice is built here as well: that locks it, and brings its packages.
    let downloads: Vec<NodeId> = closure
        .into_iter()
        .filter(|node| is_download(graph, *node))
        .collect();
    let is_judged = |node: NodeId| {
        let is_base = graph.get(node).kind == NodeKind::Base;
        node == target || (arguments.bases && is_base)
    };
    let outcome = if downloads.is_empty() {
        Outcome::default()
    } else {
        engine.realise(Arc::clone(graph), &downloads).await?
    };
    for path in &stores.paths {
        let store = LocalStore::open(path)?;
        let known = outcome.manifests.iter();
        for (_, manifest) in known.filter(|(node, _)| !is_judged(**node)) {
            seed_record(&engine.world.store, &store, &manifest.key())?;
        }
        for text in lockfiles(&engine.world.project) {
            seed_blobs(&engine.world.store, &store, &text)?;
        }
    }
    Ok(stores)
}

/// Whether a node brings what comes from elsewhere: nothing of it is what the verified thing does.
fn is_download(graph: &Nodes, node: NodeId) -> bool {
    let vertex = graph.get(node);
    match vertex.kind {
        NodeKind::Base => true,
        NodeKind::Source | NodeKind::Tool => vertex.inputs.is_empty(),
        _ => false,
    }
}

fn layout(folder: &Path) -> [PathBuf; 2] {
    ["one", "another-store"].map(|name| folder.join(name))
}

fn kept(folder: &Path) -> Result<Stores, CliError> {
    let folder = std::path::absolute(folder).map_err(failed("find", folder))?;
    std::fs::create_dir_all(&folder).map_err(failed("make", &folder))?;
    let mut names = std::fs::read_dir(&folder).map_err(failed("read", &folder))?;
    if names.next().is_some() {
        let folder = folder.display();
        return Err(CliError::usage(format!("--keep {folder}: it is not empty")));
    }
    Ok(Stores {
        paths: layout(&folder),
        folder,
        kept: true,
        _alive: None,
    })
}

/// Beside the user's store, where blobs need no copy. What a killed process left goes first.
fn temporary(engine: &Engine) -> Result<Stores, CliError> {
    let place = engine.world.store.scratch("verify")?;
    for left in std::fs::read_dir(&place)
        .map_err(failed("read", &place))?
        .flatten()
    {
        let is_left = match File::open(left.path().join(ALIVE)) {
            Ok(file) => file.try_lock().is_ok(),
            // Another process is about to make it.
            Err(_) => false,
        };
        if is_left {
            let _busy = remove_tree(&left.path());
        }
    }
    let folder = place.join(std::process::id().to_string());
    if folder.exists() {
        remove_tree(&folder).map_err(|error| CliError::internal(&error))?;
    }
    std::fs::create_dir(&folder).map_err(failed("make", &folder))?;
    let alive = folder.join(ALIVE);
    let file = File::create(&alive).map_err(failed("make", &alive))?;
    file.lock().map_err(failed("lock", &alive))?;
    Ok(Stores {
        paths: layout(&folder),
        folder,
        kept: false,
        _alive: Some(file),
    })
}
