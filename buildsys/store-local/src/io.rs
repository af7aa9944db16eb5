//! File operations whose errors say what was tried, and on what.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{Timespec, Timestamps, UTIME_NOW};
use tbuild_store::StoreError;

/// An error of `verb` on `path`.
pub fn fail(verb: &str, path: &Path, source: impl Into<io::Error>) -> StoreError {
    StoreError::io(format!("{verb} {}", path.display()), source.into())
}

/// Makes a folder unless it is there.
pub fn make_folder(path: &Path, mode: u32) -> Result<(), StoreError> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => Ok(()),
        Err(source) if source.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(fail("create folder", path, source)),
    }
}

/// Opens a file to read, if it is there.
pub fn open(path: &Path) -> Result<Option<File>, StoreError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(fail("open", path, source)),
    }
}

/// Reads a whole file, if it is there.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(mut file) = open(path)? else {
        return Ok(None);
    };
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
    file.read_to_end(&mut bytes)
        .map_err(|source| fail("read", path, source))?;
    Ok(Some(bytes))
}

/// [`read`], and leaves a trace of it: the file's time says when it was used.
pub fn read_used(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(mut file) = open(path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .map_err(|source| fail("read", path, source))?;
    // A store that cannot be written to is not collected either.
    let _ = touch(&file);
    Ok(Some(bytes))
}

/// Makes now the time of a file: what is used like this is not collected soon.
pub fn touch(file: &File) -> io::Result<()> {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let times = Timestamps {
        last_access: now,
        last_modification: now,
    };
    Ok(rustix::fs::futimens(file, &times)?)
}

/// Makes a file that was not there, to write. The umask narrows `mode`.
pub fn create(path: &Path, mode: u32) -> Result<File, StoreError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|source| fail("create", path, source))
}

/// Renames, replacing what is there.
pub fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|source| {
        let what = format!("rename {} to {}", from.display(), to.display());
        StoreError::io(what, source)
    })
}

/// Removes a file; says whether it was there.
pub fn remove_file(path: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(fail("remove", path, source)),
    }
}

/// The names in a folder, unsorted; none if it is not there.
pub fn names(path: &Path) -> Result<Vec<std::ffi::OsString>, StoreError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(fail("list", path, source)),
    };
    entries
        .map(|entry| match entry {
            Ok(entry) => Ok(entry.file_name()),
            Err(source) => Err(fail("list", path, source)),
        })
        .collect()
}

/// Makes what was renamed into `folder` survive a crash of the machine.
pub fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| fail("sync", folder, source))
}
