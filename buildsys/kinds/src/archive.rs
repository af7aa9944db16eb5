//! Archives: told by their content, decompressed into the store once, and read there.

use std::cell::RefCell;
use std::io::{self, BufReader, Read, Write};

use tbuild_digest::{BlobDigest, Hasher, HashingReader, Sha256};
use tbuild_oci::{Bomb, Guard, LayerError, Ratio, read_archive};
use tbuild_realise::OpError;
use tbuild_store::Store as _;
use tbuild_tree::{Entry, Node};

use crate::World;

/// The store's space for what files are as archives, by the digest of the file.
const ARCHIVES: &str = "archives";

/// The most members of an archive. Far beyond what archives of programs and data hold, and little enough for a
/// machine to bear.
const MEMBERS: usize = 1_000_000;

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

impl File<'_> {
    fn check(&self, found: &Sha256) -> Result<(), OpError> {
        if *found == self.digest.0 {
            return Ok(());
        }
        let message = format!("{}: it changed while it was read", self.name);
        Err(OpError::failed_text(message))
    }
}

/// The uncompressed tar of `file`; none if it is no archive.
pub(crate) fn tar_of(world: &World, file: &File<'_>) -> Result<Option<BlobDigest>, OpError> {
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
        Some(unpack(world, file)?)
    } else {
        // What was looked at may be another file by now: then nothing is known of this one.
        let mut reader = HashingReader::new((file.open)()?);
        io::copy(&mut reader, &mut io::sink())
            .map_err(|error| OpError::failed_text(format!("{}: {error}", file.name)))?;
        file.check(&reader.finish().0)?;
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
fn unpack(world: &World, file: &File<'_>) -> Result<BlobDigest, OpError> {
    let failed = |error: io::Error| {
        let failed = OpError::failed_text(format!("{}: {error}", file.name));
        match Bomb::of(&error) {
            Some(_) => {
                failed.hint("unpack it in a RUN, where limits hold, if it is what it should be")
            }
            None => failed,
        }
    };
    let hashed = RefCell::new(HashingReader::new((file.open)()?));
    let guard = Guard::new(Ratio::ARCHIVE);
    let mut writer = world.store.blob_writer()?;
    {
        let packed = BufReader::with_capacity(1 << 16, guard.packed(Shared(&hashed)));
        let tar = tbuild_fetch::decompress(packed).map_err(failed)?;
        let mut tar = guard.unpacked(tar);
        let mut buffer = vec![0; 1 << 17];
        loop {
            let count = match tar.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            writer
                .write_all(&buffer[..count])
                .map_err(|error| OpError::internal(&error))?;
        }
    }
    // What follows the compressed stream belongs to the file as well.
    io::copy(&mut Shared(&hashed), &mut io::sink()).map_err(failed)?;
    let (digest, _) = hashed.into_inner().finish();
    file.check(&digest)?;
    let (tar, _) = writer.commit(None)?;
    Ok(tar)
}

/// The file below the decompressor, which is needed again when that is done.
struct Shared<'a, R>(&'a RefCell<R>);

impl<R: Read> Read for Shared<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

/// Reads the members of an uncompressed tar of the store.
pub(crate) fn read(world: &World, name: &str, tar: BlobDigest) -> Result<Archive, OpError> {
    let blob = world.store.open_blob(&tar)?;
    let blob = blob.ok_or_else(|| OpError::Internal {
        message: format!("the archive {tar} is not in the store"),
    })?;
    let mut members = Vec::new();
    let mut buffer = vec![0; 1 << 17];
    let failed = |error: LayerError| match &error {
        LayerError::Read(source) => OpError::failed_text(format!("{name}: {source}")),
        LayerError::Malformed(why) => OpError::failed_text(format!("{name}: {why}")),
        LayerError::Members(most) => {
            let message = format!(
                "{name}: it holds more than {most} files, which is the most that ADD unpacks"
            );
            OpError::failed_text(message).hint("unpack it in a RUN, or add it in parts")
        }
        _ => OpError::failed_text(format!("{name}: {error}")),
    };
    read_archive(BufReader::with_capacity(1 << 20, blob), |member| {
        if members.len() == MEMBERS {
            return Err(LayerError::Members(MEMBERS as u64));
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
