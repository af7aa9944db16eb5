//! Headers of static libraries. Source: System V and GNU `ar` (ar.h): 60 bytes of text a member: name 16, time
//! 12, owner 6, group 6, mode 8 in octal, size 10, two bytes of end.

use std::fs::File;
use std::io;

use super::{bytes_at, replace};

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: usize = 60;
/// Time, owner, group and mode.
const FIELDS: std::ops::Range<usize> = 16..48;
/// What `ar D` writes there for a file.
const FILE: &[u8; 32] = b"0           0     0     644     ";
/// What `ar D` writes there for the table of symbols.
const SYMBOLS: &[u8; 32] = b"0           0     0     0       ";

/// Makes all headers those of `ar D`; what is no whole archive stays. False if nothing changed.
pub(super) fn normalize(file: &mut File) -> io::Result<bool> {
    if bytes_at::<8>(file, 0)?.as_ref() != Some(MAGIC) {
        return Ok(false);
    }
    let end = file.metadata()?.len();
    let mut members = Vec::new();
    let mut at = MAGIC.len() as u64;
    while at < end {
        let Some(header) = bytes_at::<HEADER>(file, at)? else {
            return Ok(false);
        };
        let Some(size) = size(&header) else {
            return Ok(false);
        };
        members.push((at, header));
        // Members begin at even bytes.
        at += HEADER as u64 + size + size % 2;
    }
    let mut changed = false;
    for (at, header) in members {
        let wanted = match &header[..16] {
            // The table of long names has no other fields.
            name if name.starts_with(b"//") => continue,
            name if name.starts_with(b"/ ") || name.starts_with(b"/SYM64/") => SYMBOLS,
            _ => FILE,
        };
        changed |= replace(file, at + FIELDS.start as u64, &header[FIELDS], wanted)?;
    }
    Ok(changed)
}

/// The size that a header names; none if it is no header.
fn size(header: &[u8; HEADER]) -> Option<u64> {
    let text = std::str::from_utf8(&header[48..58]).ok()?;
    let size = text.trim_end().parse().ok()?;
    (header[58..] == *b"`\n").then_some(size)
}
