//! Archives unpacked into a root.

use std::io::{self, BufRead, Read};

use liblzma::stream::{CONCATENATED, Stream};
use rustix::fs::FileType;

use crate::root::{Attributes, Root};

/// Whose the unpacked files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owners {
    /// As the archive says, by number.
    Recorded,
    /// Root's, with permissions reduced to rwx bits: a download decides nothing about privileges.
    Root,
}

/// Unpacks a tar stream (POSIX pax, ustar, GNU). Names that hold `..` are refused; links lead nowhere outside,
/// because the root resolves them.
pub(crate) fn unpack_tar(root: &Root, reader: impl Read, owners: Owners) -> io::Result<()> {
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path_bytes().into_owned();
        one(root, &mut entry, &path, owners).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("{}: {error}", String::from_utf8_lossy(&path)),
            )
        })?;
    }
    Ok(())
}

fn one<R: Read>(
    root: &Root,
    entry: &mut tar::Entry<'_, R>,
    path: &[u8],
    owners: Owners,
) -> io::Result<()> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    if path.split(|&byte| byte == b'/').any(|name| name == b"..") {
        return Err(invalid("a name that leads upwards"));
    }
    let header = entry.header();
    let number =
        |value: u64| u32::try_from(value).map_err(|_| invalid("an owner that is too large"));
    let attributes = match owners {
        Owners::Recorded => Attributes {
            mode: header.mode()? & 0o7777,
            uid: number(header.uid()?)?,
            gid: number(header.gid()?)?,
        },
        Owners::Root => Attributes {
            mode: header.mode()? & 0o777,
            uid: 0,
            gid: 0,
        },
    };
    let link = || {
        entry
            .link_name_bytes()
            .map(std::borrow::Cow::into_owned)
            .ok_or_else(|| invalid("a link to nothing"))
    };
    let device = || -> io::Result<u64> {
        let major = header.device_major()?.unwrap_or_default();
        let minor = header.device_minor()?.unwrap_or_default();
        Ok(rustix::fs::makedev(major, minor))
    };
    match header.entry_type() {
        tar::EntryType::Directory => root.directory(path, attributes),
        tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
            root.file(path, attributes, entry)
        }
        tar::EntryType::Symlink => root.symlink(path, &link()?, attributes),
        tar::EntryType::Link => root.hardlink(path, &link()?),
        tar::EntryType::Char => root.node(path, FileType::CharacterDevice, device()?, attributes),
        tar::EntryType::Block => root.node(path, FileType::BlockDevice, device()?, attributes),
        tar::EntryType::Fifo => root.node(path, FileType::Fifo, 0, attributes),
        // Comments and the like; the tar crate has applied pax and GNU headers already.
        tar::EntryType::XGlobalHeader => Ok(()),
        other => Err(invalid(&format!("an entry of the unknown type {other:?}"))),
    }
}

/// The most bytes of memory that unpacking xz may take: `xz -9` needs 65 MiB, a header may ask for 4 GiB.
const XZ_MEMORY: u64 = 512 << 20;

/// Unpacks by what the bytes themselves say they are: gzip, bzip2, xz, zstd, or nothing of these.
pub fn decompress<'a>(mut reader: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let start = reader.fill_buf()?;
    Ok(match start {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(reader, stream))
        }
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::bufread::MultiBzDecoder::new(reader)),
        // A frame, or one to be skipped before it (RFC 8878, 3.1.2).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Box::new(zstd::stream::read::Decoder::with_buffer(reader)?)
        }
        _ => Box::new(reader),
    })
}
