//! Archives in the store.

use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use tbuild_digest::BlobDigest;
use tbuild_store::{BlobReader, Store};

use super::{ArchiveError, zip};
use crate::archive::{Owners, decompress, unpack_tar};
use crate::root::Root;

/// So many names are shown when a member is not there.
const SHOWN: usize = 12;

/// Unpacks the archive `digest` (tar, also gzip, xz or zstd; zip) into the existing folder `folder`: files are
/// root's, no set-id bits, nothing lands outside. Blocks.
pub fn unpack(store: &dyn Store, digest: &BlobDigest, folder: &Path) -> Result<(), ArchiveError> {
    let fail = |source| ArchiveError::Read {
        digest: *digest,
        source,
    };
    let root = Root::open(folder).map_err(fail)?;
    let mut blob = open(store, digest)?;
    if zip::is_zip(&mut blob).map_err(fail)? {
        return zip::unpack(&mut blob, &root).map_err(fail);
    }
    let reader = decompress(BufReader::with_capacity(1 << 16, blob)).map_err(fail)?;
    unpack_tar(&root, reader, Owners::Root).map_err(fail)
}

/// Takes one regular file out of the archive `digest` and puts it into the store as a blob of its own. `member`
/// is its path in the archive; a leading `./` there or here does not matter. Returns its digest and its size in
/// bytes. Blocks.
pub fn extract_member(
    store: &dyn Store,
    digest: &BlobDigest,
    member: &str,
) -> Result<(BlobDigest, u64), ArchiveError> {
    let fail = |source| ArchiveError::Read {
        digest: *digest,
        source,
    };
    let mut writer = store.blob_writer()?;
    let mut blob = open(store, digest)?;
    let mut names = Vec::new();
    let found = if zip::is_zip(&mut blob).map_err(fail)? {
        zip::copy_member(&mut blob, plain(member), &mut names, &mut writer).map_err(fail)?
    } else {
        let reader = decompress(BufReader::with_capacity(1 << 16, blob)).map_err(fail)?;
        tar_member(reader, plain(member), &mut names, &mut writer).map_err(fail)?
    };
    if found {
        return Ok(writer.commit(None)?);
    }
    names.truncate(SHOWN);
    Err(ArchiveError::NoMember {
        digest: *digest,
        member: member.to_owned(),
        found: names.join(", "),
    })
}

fn open(store: &dyn Store, digest: &BlobDigest) -> Result<Box<dyn BlobReader>, ArchiveError> {
    store
        .open_blob(digest)?
        .ok_or(ArchiveError::Missing(*digest))
}

fn tar_member(
    reader: impl Read,
    member: &str,
    names: &mut Vec<String>,
    writer: &mut dyn io::Write,
) -> io::Result<bool> {
    for entry in tar::Archive::new(reader).entries()? {
        let mut entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if entry.header().entry_type().is_file() {
            if plain(&name) == member {
                io::copy(&mut entry, writer)?;
                return Ok(true);
            }
            names.push(name);
        }
    }
    Ok(false)
}

/// A path without a leading `./`.
pub(super) fn plain(path: &str) -> &str {
    path.trim_start_matches("./")
}

/// What a zip archive is read from.
pub(super) trait Archive: Read + Seek {}
impl<T: Read + Seek + ?Sized> Archive for T {}
