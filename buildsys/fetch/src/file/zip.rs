//! Zip archives (PKWARE APPNOTE 6.3): the central directory, stored and deflated members, zip64.

use std::io::{self, Read, SeekFrom, Write};

use super::unpack::{Archive, plain};
use crate::root::{Attributes, Root};

/// One entry of the central directory.
struct Member {
    name: String,
    method: u16,
    flags: u16,
    crc: u32,
    packed: u64,
    size: u64,
    offset: u64,
    /// Unix mode, 0 where the archive knows none.
    mode: u32,
}

/// No central directory is larger.
const LARGEST_DIRECTORY: u64 = 256 << 20;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const KIND: u32 = 0o170_000;

/// Whether the file starts as zip archives do; it is read from the start afterwards.
pub(super) fn is_zip(file: &mut dyn Archive) -> io::Result<bool> {
    let mut start = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    Read::take(&mut *file, 4).read_to_end(&mut start)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(start == *b"PK\x03\x04" || start == *b"PK\x05\x06")
}

/// Unpacks everything.
pub(super) fn unpack(file: &mut dyn Archive, root: &Root) -> io::Result<()> {
    for member in directory(file)? {
        if member.name.split(['/', '\\']).any(|name| name == "..") {
            return Err(invalid(&format!(
                "{}: a name that leads upwards",
                member.name
            )));
        }
        let permissions = match member.mode & 0o777 {
            0 => 0o644,
            mode => mode,
        };
        let attributes = Attributes {
            mode: permissions,
            uid: 0,
            gid: 0,
        };
        let path = member.name.as_bytes();
        if member.name.ends_with('/') {
            root.directory(
                path,
                Attributes {
                    mode: 0o755,
                    ..attributes
                },
            )?;
            continue;
        }
        let mut content = Vec::new();
        match member.mode & KIND {
            0 | REGULAR => {
                let mut temporary = tempfile::tempfile()?;
                copy(file, &member, &mut temporary)?;
                io::Seek::rewind(&mut temporary)?;
                root.file(path, attributes, &mut temporary)?;
            }
            SYMLINK => {
                copy(file, &member, &mut content)?;
                root.symlink(path, &content, attributes)?;
            }
            _ => {
                return Err(invalid(&format!(
                    "{}: neither a file, a folder nor a link",
                    member.name
                )));
            }
        }
    }
    Ok(())
}

/// Copies one member out; says whether it is there. The names of the others go to `names`.
pub(super) fn copy_member(
    file: &mut dyn Archive,
    wanted: &str,
    names: &mut Vec<String>,
    writer: &mut dyn Write,
) -> io::Result<bool> {
    for member in directory(file)? {
        let regular = !member.name.ends_with('/') && matches!(member.mode & KIND, 0 | REGULAR);
        if regular && plain(&member.name) == wanted {
            copy(file, &member, writer)?;
            return Ok(true);
        }
        names.extend(regular.then_some(member.name));
    }
    Ok(false)
}

/// Unpacks one member and checks its length and CRC-32.
fn copy(file: &mut dyn Archive, member: &Member, writer: &mut dyn Write) -> io::Result<()> {
    if member.flags & 1 != 0 {
        return Err(invalid(&format!("{} is encrypted", member.name)));
    }
    let mut header = [0; 30];
    file.seek(SeekFrom::Start(member.offset))?;
    file.read_exact(&mut header)?;
    if !header.starts_with(b"PK\x03\x04") {
        return Err(invalid(&format!(
            "{} is not where the directory says",
            member.name
        )));
    }
    let skip = i64::from(u16_at(&header, 26)) + i64::from(u16_at(&header, 28));
    file.seek(SeekFrom::Current(skip))?;
    let packed = Read::take(&mut *file, member.packed);
    let reader: Box<dyn Read + '_> = match member.method {
        0 => Box::new(packed),
        8 => Box::new(flate2::read::DeflateDecoder::new(packed)),
        method => {
            return Err(invalid(&format!(
                "{} is packed by method {method}, which is not known here",
                member.name
            )));
        }
    };
    let mut reader = flate2::CrcReader::new(reader.take(member.size.saturating_add(1)));
    let size = io::copy(&mut reader, writer)?;
    if size != member.size || reader.crc().sum() != member.crc {
        return Err(invalid(&format!("{} is damaged", member.name)));
    }
    Ok(())
}

/// The central directory. Sections 4.3.12 to 4.3.16.
fn directory(file: &mut dyn Archive) -> io::Result<Vec<Member>> {
    let length = file.seek(SeekFrom::End(0))?;
    let tail_start = length.saturating_sub(22 + 65_535);
    file.seek(SeekFrom::Start(tail_start))?;
    let mut tail = Vec::new();
    Read::take(&mut *file, length - tail_start).read_to_end(&mut tail)?;
    let end = tail
        .windows(22)
        .rposition(|window| window.starts_with(b"PK\x05\x06"));
    let at = end.ok_or_else(|| invalid("a zip archive without an end"))?;
    let record = &tail[at..];
    let (mut size, mut offset) = (u64::from(u32_at(record, 12)), u64::from(u32_at(record, 16)));
    if (offset == u64::from(u32::MAX) || size == u64::from(u32::MAX))
        && at >= 20
        && tail[at - 20..].starts_with(b"PK\x06\x07")
    {
        file.seek(SeekFrom::Start(u64_at(&tail, at - 20 + 8)))?;
        let mut record = [0; 56];
        file.read_exact(&mut record)?;
        (size, offset) = (u64_at(&record, 40), u64_at(&record, 48));
    }
    if size > LARGEST_DIRECTORY || offset > length {
        return Err(invalid("a zip archive with an odd directory"));
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    Read::take(&mut *file, size).read_to_end(&mut bytes)?;
    members(&bytes)
}

fn members(mut bytes: &[u8]) -> io::Result<Vec<Member>> {
    let short = || invalid("a zip archive whose directory ends early");
    let mut members = Vec::new();
    while bytes.starts_with(b"PK\x01\x02") {
        if bytes.len() < 46 {
            return Err(short());
        }
        let lengths = [28, 30, 32].map(|at| usize::from(u16_at(bytes, at)));
        let name_end = 46 + lengths[0];
        let extra_end = name_end + lengths[1];
        let next = extra_end + lengths[2];
        if bytes.len() < next {
            return Err(short());
        }
        let mut member = Member {
            name: String::from_utf8_lossy(&bytes[46..name_end]).into_owned(),
            method: u16_at(bytes, 10),
            flags: u16_at(bytes, 8),
            crc: u32_at(bytes, 16),
            packed: u64::from(u32_at(bytes, 20)),
            size: u64::from(u32_at(bytes, 24)),
            offset: u64::from(u32_at(bytes, 42)),
            // The upper half is Unix's only where a Unix made the archive (4.4.2).
            mode: if bytes[5] == 3 {
                u32_at(bytes, 38) >> 16
            } else {
                0
            },
        };
        zip64(&bytes[name_end..extra_end], &mut member);
        members.push(member);
        bytes = &bytes[next..];
    }
    Ok(members)
}

/// Section 4.5.3: the values that did not fit, in this order.
fn zip64(mut extra: &[u8], member: &mut Member) {
    while extra.len() >= 4 {
        let length = usize::from(u16_at(extra, 2));
        let Some(mut field) = extra.get(4..4 + length) else {
            return;
        };
        if u16_at(extra, 0) == 1 {
            for value in [&mut member.size, &mut member.packed, &mut member.offset] {
                if *value == u64::from(u32::MAX) && field.len() >= 8 {
                    *value = u64_at(field, 0);
                    field = &field[8..];
                }
            }
        }
        extra = &extra[4 + length..];
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .and_then(|part| part.try_into().ok())
        .map(u16::from_le_bytes)
        .unwrap_or_default()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|part| part.try_into().ok())
        .map(u32::from_le_bytes)
        .unwrap_or_default()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|part| part.try_into().ok())
        .map(u64::from_le_bytes)
        .unwrap_or_default()
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
