//! Headers of compiled Python files. Sources: PEP 552; CPython's importlib, `_classify_pyc`.
//!
//! Python writes the source's time into what it compiles on import. A layer gives all files one time, so that
//! Python would compile again at each start, and the step's output carries the time of the build. What the
//! compiler was told to check by hash has no time in it, and is left alone.

use std::fs::File;
use std::io;

use tbuild_tree::{Rootfs, SOURCE_DATE_EPOCH, Tree, TreePath};

use super::{bytes_at, replace};

/// The magic number of Python 2.7.
const PYTHON_2_7: u16 = 62_211;
/// The first magic number of Python 3, and the first with flags in the header (3.7).
const PYTHON_3: u16 = 3_000;
const FLAGS: u16 = 3_390;
/// Beyond any magic number of Python 3: no compiled file.
const END: u16 = 10_000;
/// Checked by hash, never against the source.
const UNCHECKED: u32 = 1;

/// The time that the source of a compiled file will have in a container, in seconds.
pub(super) fn source_time(path: &TreePath, tree: &Tree, lower: &Rootfs) -> u32 {
    let time = source(path).and_then(|source| match tree.get(&source) {
        // The step's own files all get one time.
        Some(_) => None,
        None => lower.get(&source).map(|entry| entry.mtime),
    });
    // As importlib stores it: the low 32 bits.
    time.unwrap_or(SOURCE_DATE_EPOCH) as u32
}

/// `a/__pycache__/b.cpython-311.opt-1.pyc` is made of `a/b.py`, `a/b.pyc` of `a/b.py` (PEP 3147).
fn source(path: &TreePath) -> Option<TreePath> {
    let name = path.name()?.strip_suffix(b".pyc")?;
    let folder = path.parent()?;
    let (folder, stem) = if folder.name() == Some(b"__pycache__") {
        let end = name.iter().position(|byte| *byte == b'.')?;
        // A module's name may hold no dot; only the tag behind it does.
        (folder.parent()?, &name[..end])
    } else {
        (folder, name)
    };
    Some(folder.join(&[stem, b".py"].concat()))
}

/// Where the header holds a time, with the time; none if it holds none.
fn time(file: &File) -> io::Result<Option<(u64, [u8; 4])>> {
    let Some(magic) = bytes_at::<4>(file, 0)? else {
        return Ok(None);
    };
    let number = u16::from_le_bytes([magic[0], magic[1]]);
    let known = number == PYTHON_2_7 || (PYTHON_3..END).contains(&number);
    if magic[2..] != *b"\r\n" || !known {
        return Ok(None);
    }
    let offset = if (FLAGS..END).contains(&number) {
        match bytes_at::<4>(file, 4)?.map(u32::from_le_bytes) {
            Some(0) => 8,
            _ => return Ok(None),
        }
    } else {
        4
    };
    Ok(bytes_at(file, offset)?.map(|time| (offset, time)))
}

/// Sets the time of the source. False if nothing changed.
pub(super) fn set_time(file: &mut File, wanted: u32) -> io::Result<bool> {
    match time(file)? {
        Some((offset, time)) => replace(file, offset, &time, &wanted.to_le_bytes()),
        None => Ok(false),
    }
}

/// Makes the file valid whatever its source is. The hash, which nobody looks at unless Python is told to check
/// it (and then compiles again), is zero. Before Python 3.7 there is no such file: the time is the layer's.
pub(super) fn uncheck(file: &mut File) -> io::Result<bool> {
    match time(file)? {
        Some((8, _)) => {
            let mut header = [0; 12];
            header[..4].copy_from_slice(&UNCHECKED.to_le_bytes());
            let old: [u8; 12] = bytes_at(file, 4)?.unwrap_or_default();
            replace(file, 4, &old, &header)
        }
        Some((offset, time)) => {
            let wanted = SOURCE_DATE_EPOCH as u32;
            replace(file, offset, &time, &wanted.to_le_bytes())
        }
        None => Ok(false),
    }
}
