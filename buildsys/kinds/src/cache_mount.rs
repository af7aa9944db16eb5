//! Folders of `RUN --mount=type=cache`: they live in the store's scratch folder and outlive builds. They are no
//! part of a key and of no layer, and may vanish at any time that no step has them.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tbuild_dockerfile::{MountOwner, Sharing};
use tbuild_exec::Cancel;
use tbuild_realise::OpError;
use tbuild_store_local::touch;

/// The purpose of the store's scratch folder.
pub(crate) const PURPOSE: &str = "cache-mounts";
/// How often a cache that another step has locked is looked at.
const EVERY: Duration = Duration::from_millis(50);

/// A cache that a step has; released when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    /// The folder with its files.
    pub files: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

/// Takes the cache `name` of `folder`. `fill` is called with a new empty folder where there is none yet.
pub(crate) fn take(
    folder: &Path,
    name: &str,
    sharing: Sharing,
    cancel: &Cancel,
    fill: impl Fn(&Path) -> Result<(), OpError>,
) -> Result<Held, OpError> {
    let failed = |what: &str, path: &Path, error: &io::Error| {
        OpError::failed_text(format!(
            "cannot {what} the cache {}: {error}",
            path.display()
        ))
    };
    let mut number = 0;
    loop {
        if cancel.is_cancelled() {
            return Err(OpError::Cancelled);
        }
        let own = match number {
            0 => folder.join(name),
            number => folder.join(format!("{name}.{number}")),
        };
        std::fs::create_dir_all(&own).map_err(|error| failed("make", &own, &error))?;
        let path = own.join("lock");
        let lock = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|error| failed("lock", &own, &error))?;
        let operation = match sharing {
            Sharing::Shared => FlockOperation::NonBlockingLockShared,
            Sharing::Private | Sharing::Locked => FlockOperation::NonBlockingLockExclusive,
        };
        match flock(&lock, operation) {
            Ok(()) => {
                touch(&lock).map_err(|error| failed("use", &own, &error))?;
                let files = own.join("files");
                if !files.exists() {
                    make(&own, &files, &fill)?;
                }
                return Ok(Held { files, _lock: lock });
            }
            Err(rustix::io::Errno::WOULDBLOCK) if sharing == Sharing::Locked => {
                std::thread::sleep(EVERY);
            }
            // Somebody has it for themselves: another one of the same name.
            Err(rustix::io::Errno::WOULDBLOCK) => number += 1,
            Err(error) => return Err(failed("lock", &own, &error.into())),
        }
    }
}

/// Makes the files of a cache beside their place: whole, or not at all.
fn make(
    own: &Path,
    files: &Path,
    fill: &impl Fn(&Path) -> Result<(), OpError>,
) -> Result<(), OpError> {
    let made = tempfile::tempdir_in(own).map_err(|error| OpError::internal(&error))?;
    std::fs::set_permissions(made.path(), std::fs::Permissions::from_mode(0o755))
        .map_err(|error| OpError::internal(&error))?;
    fill(made.path())?;
    match std::fs::rename(made.path(), files) {
        Ok(()) => {
            // Its name is gone, and there is nothing left to remove.
            let _moved = made.keep();
            Ok(())
        }
        // Another step that shares it was quicker.
        Err(_) if files.exists() => Ok(()),
        Err(error) => Err(OpError::internal(&error)),
    }
}

/// Gives a new cache folder the owner and mode that a mount asks for.
pub(crate) fn own(folder: &Path, owner: MountOwner) -> Result<(), OpError> {
    let mode = std::fs::Permissions::from_mode(owner.mode.unwrap_or(0o755));
    std::os::unix::fs::chown(
        folder,
        Some(owner.uid.unwrap_or(0)),
        Some(owner.gid.unwrap_or(0)),
    )
    .and_then(|()| std::fs::set_permissions(folder, mode))
    .map_err(|error| {
        OpError::failed_text(format!(
            "cannot own the cache {}: {error}",
            folder.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(folder: &Path, sharing: Sharing) -> Held {
        take(folder, "one", sharing, &Cancel::new(), |made| {
            own(made, MountOwner::default())
        })
        .expect("taken")
    }

    #[test]
    fn caches_are_shared_private_or_locked() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = get(folder.path(), Sharing::Shared);
        std::fs::write(first.files.join("kept"), "x").expect("written");
        assert_eq!(get(folder.path(), Sharing::Shared).files, first.files);
        assert_ne!(get(folder.path(), Sharing::Private).files, first.files);
        let cancel = Cancel::new();
        let waiting = {
            let (folder, cancel) = (folder.path().to_owned(), cancel.clone());
            std::thread::spawn(move || take(&folder, "one", Sharing::Locked, &cancel, |_| Ok(())))
        };
        cancel.cancel();
        let waited = waiting.join().expect("joined");
        assert!(matches!(waited, Err(OpError::Cancelled)), "it had to wait");
        drop(first);
        let locked = get(folder.path(), Sharing::Locked);
        assert!(locked.files.join("kept").exists(), "it is the first one");
        assert_ne!(get(folder.path(), Sharing::Private).files, locked.files);
        let left: Vec<_> = std::fs::read_dir(folder.path().join("one"))
            .expect("listed")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert_eq!(left.len(), 2, "files and lock alone: {left:?}");
    }
}
