//! Takes a node down.

use std::fs;
use std::path::Path;

use crate::NodeError;
use crate::clean;
use crate::layout::Layout;
use crate::state::State;
use crate::up::{check_machine, lock};

/// What there was to take down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownOutcome {
    /// Nothing.
    NotThere,
    /// A node that ran.
    Stopped,
    /// What a dead supervisor, or an earlier `down` that kept the data, had left.
    Cleaned,
}

/// Ends every process of the node of this data folder, and takes its mounts, namespaces, links, routes and
/// cgroups away; gives back the kernel settings that its kubelet changed. Removes what it kept in `data`, its
/// pods' volumes among it, unless `keep`: then the next `up` starts the same cluster again.
pub fn down(data: &Path, keep: bool) -> Result<DownOutcome, NodeError> {
    let layout = Layout::new(data);
    if !layout.state().exists() && !layout.spec().exists() {
        return Ok(DownOutcome::NotThere);
    }
    check_machine()?;
    let held = lock(&layout)?;
    let state = State::load(&layout)?;
    let outcome = match &state {
        Some(state) if state.is_alive() => DownOutcome::Stopped,
        _ => DownOutcome::Cleaned,
    };
    if let Some(state) = &state {
        clean::release(&layout, state)?;
    }
    if !keep {
        clean::remove_data(&layout)?;
        let path = layout.lock();
        fs::remove_file(&path).map_err(NodeError::io("remove", &path))?;
        // Stays when someone else keeps something in it.
        let _ = fs::remove_dir(data);
    }
    drop(held);
    Ok(outcome)
}
