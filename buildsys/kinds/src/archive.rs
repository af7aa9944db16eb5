//! Archives: told by their content, decompressed into the store once, and read there.

use std::io::{self, BufReader, Read, Write};

use tbuild_digest::{BlobDigest, Hasher, Sha256};
use tbuild_oci::{LayerError, read_archive};
use tbuild_realise::OpError;
use tbuild_store::Store as _;
use tbuild_tree::{Entry, Node};

use crate::World;

/// The store's space for what files are as archives, by the digest of the file.
const ARCHIVES: &str = "archives";

/// What an archive may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes up to which the ratio does not count.
    pub bytes: u64,
    /// Bytes unpacked for one that is packed.
    pub ratio: u64,
    /// Members.
    pub members: usize,
}

/// Far beyond what archives of programs and data hold, and little enough for a machine to bear.
pub(crate) const LIMITS: Limits = Limits {
    bytes: 512 << 20,
    ratio: 200,
    members: 1_000_000,
};

/// An archive, read.
pub(crate) struct Archive {
    /// What users call it.
    pub name: String,
    /// Its tar, uncompressed, in the store.
    pub tar: BlobDigest,
    /// Its members, in order.
    pub members: Vec<Member>,
}

/// One member.
pub(crate) struct Member {
    /// Its entry; the digest of a file is its content's.
    pub entry: Entry,
    /// Where its content starts in the tar, in bytes.
    pub offset: u64,
}

/// A file that may be an archive.
pub(crate) struct File<'a> {
    /// What users call it.
    pub name: &'a str,
    /// Its content.
    pub digest: BlobDigest,
    /// Opens it.
    pub open: &'a dyn Fn() -> Result<Box<dyn Read>, OpError>,
}

/// The uncompressed tar of `file`; none if it is no archive.
pub(crate) fn tar_of(
    world: &World,
    file: &File<'_>,
    limits: Limits,
) -> Result<Option<BlobDigest>, OpError> {
    let name = file.digest.hex();
    let kept = world.store.reference(ARCHIVES, &name)?;
    if let Some(kept) = kept.and_then(|text| String::from_utf8(text).ok()) {
        if kept == "no" {
            return Ok(None);
        }
        if let Ok(tar) = Sha256::from_hex(&kept).map(BlobDigest)
            && world.store.blob_size(&tar)?.is_some()
        {
            return Ok(Some(tar));
        }
    }
    let tar = if looks_like_one((file.open)()?) {
        Some(unpack(world, file, limits)?)
    } else {
        None
    };
    let text = tar.map_or_else(|| "no".to_owned(), |tar| tar.hex());
    world
        .store
        .set_reference(ARCHIVES, &name, Some(text.as_bytes()))?;
    Ok(tar)
}

/// Whether the first member of a tar can be read.
fn looks_like_one(reader: Box<dyn Read>) -> bool {
    let Ok(tar) = tbuild_fetch::decompress(BufReader::new(reader)) else {
        return false;
    };
    tbuild_oci::is_archive(tar)
}

/// Decompresses an archive into the store.
fn unpack(world: &World, file: &File<'_>, limits: Limits) -> Result<BlobDigest, OpError> {
    let failed = |error: &io::Error| OpError::failed_text(format!("{}: {error}", file.name));
    let counted = Counted {
        inner: (file.open)()?,
        hasher: Hasher::new(),
        bytes: 0,
    };
    let counted = std::cell::RefCell::new(counted);
    let shared = Shared(&counted);
    let mut writer = world.store.blob_writer()?;
    let mut written = 0_u64;
    {
        let mut tar = tbuild_fetch::decompress(BufReader::with_capacity(1 << 16, shared))
            .map_err(|error| failed(&error))?;
        let mut buffer = vec![0; 1 << 17];
        loop {
            let count = match tar.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(&error)),
            };
            written += count as u64;
            let packed = counted.borrow().bytes;
            if written > limits.bytes && written / limits.ratio > packed {
                return Err(OpError::failed_text(format!(
                    "{}: it unpacks to more than {} times its size: it may be made to fill the disk",
                    file.name, limits.ratio
                ))
                .hint("unpack it in a RUN, where limits hold, if it is what it should be"));
            }
            writer
                .write_all(&buffer[..count])
                .map_err(|error| OpError::internal(&error))?;
        }
    }
    // What follows the compressed stream belongs to the file as well.
    io::copy(&mut Shared(&counted), &mut io::sink()).map_err(|error| failed(&error))?;
    let Counted { hasher, .. } = counted.into_inner();
    if hasher.finish() != file.digest.0 {
        return Err(OpError::failed_text(format!(
            "{}: it changed while it was read",
            file.name
        )));
    }
    let (tar, _) = writer.commit(None)?;
    Ok(tar)
}

struct Counted {
    inner: Box<dyn Read>,
    hasher: Hasher,
    bytes: u64,
}

/// The file below the decompressor, whose progress is looked at from outside.
struct Shared<'a>(&'a std::cell::RefCell<Counted>);

impl Read for Shared<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut counted = self.0.borrow_mut();
        let count = counted.inner.read(buffer)?;
        counted.hasher.update(&buffer[..count]);
        counted.bytes += count as u64;
        Ok(count)
    }
}

/// Reads the members of an uncompressed tar of the store.
pub(crate) fn read(
    world: &World,
    name: &str,
    tar: BlobDigest,
    limits: Limits,
) -> Result<Archive, OpError> {
    let blob = world.store.open_blob(&tar)?;
    let blob = blob.ok_or_else(|| OpError::Internal {
        message: format!("the archive {tar} is not in the store"),
    })?;
    let mut members = Vec::new();
    let mut buffer = vec![0; 1 << 17];
    let failed = |error: LayerError| OpError::failed_text(format!("{name}: {error}"));
    read_archive(BufReader::with_capacity(1 << 20, blob), |member| {
        if members.len() == limits.members {
            return Err(LayerError::Malformed(format!(
                "it holds more than {} files",
                limits.members
            )));
        }
        let mut entry = member.entry;
        if let Node::File { size, digest } = &mut entry.node {
            let mut hasher = Hasher::new();
            let mut rest = *size;
            while rest > 0 {
                let count = member.content.read(&mut buffer).map_err(LayerError::Read)?;
                if count == 0 {
                    return Err(LayerError::Malformed(format!(
                        "{}: it ends early",
                        entry.path
                    )));
                }
                hasher.update(&buffer[..count]);
                rest -= count as u64;
            }
            *digest = hasher.finish();
        }
        members.push(Member {
            entry,
            offset: member.offset,
        });
        Ok::<(), LayerError>(())
    })
    .map_err(failed)?;
    Ok(Archive {
        name: name.to_owned(),
        tar,
        members,
    })
}
