//! The folder that a run starts in. Runtimes make it where an image has lost it, and so does BuildKit.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tbuild_exec::Mount;
use tbuild_realise::OpError;
use tbuild_tree::TreePath;

use crate::facts::{Found, destination};
use crate::{LayerRef, World};

/// Makes the folder `cwd` in `upper` if `layers` lack it: root's, as are those that lead to it. What is mounted
/// over it is there without.
pub(crate) fn ensure(
    world: &World,
    layers: &[LayerRef],
    cwd: &str,
    mounts: &[Mount],
    upper: &Path,
) -> Result<(), OpError> {
    let below = |mount: &Mount| {
        let rest = cwd.strip_prefix(mount.target.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if cwd == "/" || mounts.iter().any(below) {
        return Ok(());
    }
    let facts = destination(world, layers, &TreePath::clean(cwd.as_bytes()))?;
    if facts.found != Found::Nothing {
        return Ok(());
    }
    for entry in facts.lead_to(&facts.path(), (0, 0), 0o755) {
        let path = upper.join(std::ffi::OsStr::from_bytes(entry.path.as_bytes()));
        let made = std::fs::create_dir(&path)
            .and_then(|()| std::os::unix::fs::chown(&path, Some(entry.uid), Some(entry.gid)))
            .and_then(|()| {
                let mode = std::fs::Permissions::from_mode(entry.mode);
                std::fs::set_permissions(&path, mode)
            });
        made.map_err(|error| OpError::Internal {
            message: format!("cannot make {cwd} for a step: {error}"),
        })?;
    }
    Ok(())
}
