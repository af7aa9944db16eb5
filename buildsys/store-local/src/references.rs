//! References: named records.

use std::path::{Path, PathBuf};

use tbuild_store::StoreError;

use crate::{io, names, record};

/// The folder of `space`, which must be a plain word: it is part of a path.
pub fn folder(refs: &Path, space: &str) -> Result<PathBuf, StoreError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if space.is_empty() || space.len() > 64 || !space.bytes().all(plain) {
        return Err(StoreError::io(
            format!("use reference space {space:?}"),
            std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                "a space is 1 to 64 lower-case letters, digits and dashes",
            ),
        ));
    }
    Ok(refs.join(space))
}

/// The value of `name`; none too if its record is damaged.
pub fn get(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(bytes) = io::read(&folder.join(names::escape(name)))? else {
        return Ok(None);
    };
    Ok(record::decode(&bytes)
        .filter(|(kept, _)| *kept == name)
        .map(|(_, value)| value.to_vec()))
}

/// Whether `name` has a record.
pub fn is_there(folder: &Path, name: &str) -> Result<bool, StoreError> {
    let path = folder.join(names::escape(name));
    path.try_exists()
        .map_err(|source| io::fail("inspect", &path, source))
}

/// All names in `folder`, sorted.
pub fn list(folder: &Path) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    for file in io::names(folder)? {
        let Some(file) = file.to_str() else { continue };
        if let Some(name) = names::unescape(file) {
            found.push(name);
        } else if let Some(bytes) = io::read(&folder.join(file))?
            && let Some((name, _)) = record::decode(&bytes)
        {
            found.push(name.to_owned());
        }
    }
    found.sort();
    Ok(found)
}
