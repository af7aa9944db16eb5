//! The time in a gzip header. Source: RFC 1952, 2.3 (MTIME: bytes 4 to 7; 0 means that there is none).

use std::fs::File;
use std::io;

use super::{bytes_at, replace};

/// Takes the time out of the first member's header; what is no gzip file stays. False if nothing changed.
pub(super) fn normalize(file: &mut File) -> io::Result<bool> {
    match bytes_at::<10>(file, 0)? {
        Some(header) if header.starts_with(&[0x1f, 0x8b, 8]) => {
            replace(file, 4, &header[4..8], &[0; 4])
        }
        _ => Ok(false),
    }
}
