//! Who uses the store: whoever collects garbage is alone with it.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::time::Duration;

use tbuild_store::StoreError;

use super::Stage;
use crate::{LocalStore, io};

/// The file to lock. No name of a lock begins with a dot.
const FILE: &str = "locks/.users";
/// How often it is tried.
const EVERY: Duration = Duration::from_millis(100);

/// As long as it lives, no garbage is collected; or, for whoever collects it, nobody uses the store.
#[derive(Debug)]
pub struct Hold {
    _file: Option<File>,
}

impl LocalStore {
    fn users(&self) -> Result<File, StoreError> {
        let path = self.layout().path(FILE);
        File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| io::fail("open", &path, source))
    }

    /// Keeps collections away. Waits for one that is under way, which takes moments: it only finds out what goes.
    pub fn hold(&self) -> Result<Hold, StoreError> {
        let path = self.layout().path(FILE);
        let file = match self.users() {
            Ok(file) => file,
            // A store that can only be read from: its file will do, if somebody has made it.
            Err(StoreError::Io { source, .. })
                if matches!(
                    source.kind(),
                    ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied
                ) =>
            {
                match io::open(&path) {
                    Ok(Some(file)) => file,
                    _ => return Ok(Hold { _file: None }),
                }
            }
            Err(error) => return Err(error),
        };
        file.lock_shared()
            .map_err(|source| io::fail("lock", &path, source))?;
        Ok(Hold { _file: Some(file) })
    }

    /// Waits until nobody holds the store. `told` says whether to go on; none if it is not.
    pub(super) fn alone(
        &self,
        told: &mut dyn FnMut(Stage) -> bool,
    ) -> Result<Option<Hold>, StoreError> {
        let file = self.users()?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Hold { _file: Some(file) })),
                Err(TryLockError::WouldBlock) if !told(Stage::Waiting) => return Ok(None),
                Err(TryLockError::WouldBlock) => std::thread::sleep(EVERY),
                Err(TryLockError::Error(source)) => {
                    return Err(io::fail("lock", &self.layout().path(FILE), source));
                }
            }
        }
    }
}
