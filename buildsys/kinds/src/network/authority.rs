//! The authority whose certificates the gateway shows: one a store, trusted by its recorded steps alone.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use tbuild_digest::Sha256;
use tbuild_netlock::Authority;
use tbuild_realise::OpError;
use tbuild_store::Store as _;

use crate::World;

/// The authority of the world's store; made when it is first asked for.
pub(super) fn of(world: &World) -> Result<Arc<Authority>, OpError> {
    if let Some(known) = world.recordings.authority.get() {
        return Ok(Arc::clone(known));
    }
    // In a folder that its owner alone may enter.
    let file = world.store.scratch("authority")?.join("key.pem");
    let guard = world.store.lock("authority")?;
    let key = match std::fs::read_to_string(&file) {
        Ok(key) => key,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(&file)?,
        Err(error) => return Err(OpError::internal(&error)),
    };
    drop(guard);
    let store = Sha256::of(key.as_bytes()).hex();
    let authority =
        Authority::of_key(&key, &store[..8]).map_err(|error| OpError::internal(&error))?;
    let authority = Arc::new(authority);
    Ok(Arc::clone(
        world.recordings.authority.get_or_init(|| authority),
    ))
}

/// Writes a new key: whole, or not at all, and for nobody else to read.
fn make(file: &Path) -> Result<String, OpError> {
    let key = Authority::generate_key().map_err(|error| OpError::internal(&error))?;
    let new = file.with_extension("new");
    let written = (|| {
        let _old = std::fs::remove_file(&new);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options.open(&new)?.write_all(key.as_bytes())?;
        std::fs::rename(&new, file)
    })();
    written.map_err(|error| OpError::internal(&error))?;
    Ok(key)
}
