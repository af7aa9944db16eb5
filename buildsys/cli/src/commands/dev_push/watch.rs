//! Folders that are watched (inotify(7)).

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tbuild_exec::Cancel;
use tbuild_kinds::Reading;

use crate::error::CliError;

/// An editor writes, renames and removes within one save: quiet for so long, it is over.
const QUIET: Duration = Duration::from_millis(25);
/// No save takes longer.
const LONGEST: Duration = Duration::from_millis(500);
/// How often Ctrl-C is looked for.
const TICK: Duration = Duration::from_millis(100);
/// Folders that programs fill, not people.
const MADE: [&str; 3] = ["__pycache__", ".git", "node_modules"];

/// Changes in folders.
pub(super) struct Watch {
    queue: OwnedFd,
}

/// Whether a file of this name is one that editors make beside those that are edited.
fn is_beside(name: &str) -> bool {
    let compiled = Path::new(name).extension().is_some_and(|end| end == "pyc");
    name.starts_with('.') || name.ends_with('~') || compiled || name == "4913"
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::failed(format!("cannot watch folders: {error}"))
}

impl Watch {
    /// Watches nothing yet.
    pub(super) fn new() -> Result<Self, CliError> {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        let queue = queue.map_err(failed)?;
        Ok(Self { queue })
    }

    /// Watches all that is read, folders that are new since the last time as well.
    pub(super) fn look_at(&mut self, reads: &[Reading]) -> Result<(), CliError> {
        for reading in reads {
            match reading.place() {
                (folder, true) => self.below(folder)?,
                (file, false) => self.add(file.parent().unwrap_or(Path::new(".")))?,
            }
        }
        Ok(())
    }

    fn add(&mut self, folder: &Path) -> Result<(), CliError> {
        let what = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR
            | WatchFlags::EXCL_UNLINK;
        match inotify::add_watch(&self.queue, folder, what) {
            // Gone since it was seen: whoever removed it is heard of.
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(Errno::NOSPC) => Err(CliError::failed(format!(
                "cannot watch {}: there are too many folders",
                folder.display()
            ))
            .hint("sysctl fs.inotify.max_user_watches says how many this machine allows")),
            Err(error) => Err(failed(error)),
        }
    }

    fn below(&mut self, folder: &Path) -> Result<(), CliError> {
        self.add(folder)?;
        let Ok(entries) = std::fs::read_dir(folder) else {
            return Ok(());
        };
        for entry in entries.flatten() {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let name = entry.file_name();
            if is_folder && !MADE.iter().any(|made| name == *made) {
                self.below(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Blocks until something has changed, and to the end of the save that it is a part of. False when there is nobody
    /// to wait for any more.
    pub(super) fn wait(&mut self, cancel: &Cancel) -> Result<bool, CliError> {
        while !self.changes(TICK)? {
            if cancel.is_cancelled() {
                return Ok(false);
            }
        }
        let began = Instant::now();
        while began.elapsed() < LONGEST && self.changes(QUIET)? {}
        Ok(!cancel.is_cancelled())
    }

    /// Whether something changes within a time.
    fn changes(&mut self, within: Duration) -> Result<bool, CliError> {
        let end = Instant::now() + within;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let time = Timespec::try_from(left).ok();
            let mut queues = [PollFd::new(&self.queue, PollFlags::IN)];
            match poll(&mut queues, time.as_ref()) {
                Ok(0) => return Ok(false),
                Ok(_) if self.drain()? => return Ok(true),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(failed(error)),
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    /// Takes all that has happened. Whether something of it matters.
    fn drain(&mut self) -> Result<bool, CliError> {
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut reader = Reader::new(&self.queue, &mut buffer);
        let mut matters = false;
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| name.to_string_lossy());
                    matters |= name.is_none_or(|name| !is_beside(&name));
                }
                Err(Errno::AGAIN) => return Ok(matters),
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_editors_leave_beside_a_file_is_no_save() {
        for name in [
            ".main.scss.swp",
            "main.scss~",
            "4913",
            ".#main.scss",
            "x.pyc",
        ] {
            assert!(is_beside(name), "{name}");
        }
        assert!(!is_beside("_main.scss"));
    }

    #[test]
    fn saves_are_seen_in_folders_that_are_new_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str| std::fs::write(folder.path().join(path), "x").unwrap();
        let reads = [Reading::context(folder.path(), Path::new("Dockerfile"))];
        let (mut watch, cancel) = (Watch::new().unwrap(), Cancel::new());
        watch.look_at(&reads).unwrap();
        std::fs::create_dir(folder.path().join("new")).unwrap();
        assert!(watch.wait(&cancel).unwrap());
        watch.look_at(&reads).unwrap();
        write("new/.a.css.swp");
        assert!(!watch.changes(TICK).unwrap());
        write("new/a.css");
        assert!(watch.wait(&cancel).unwrap());
        cancel.cancel();
        assert!(!watch.wait(&cancel).unwrap());
    }
}
