//! Tar headers, written byte by byte.
//!
//! Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Interchange Format". Numbers that do not fit
//! their field, long or non-ASCII names and xattrs go into a pax extended header; nothing else does.

use tbuild_tree::{Entry, Node};

/// Bytes of a tar block.
pub(crate) const BLOCK: usize = 512;

/// One header to write.
pub(crate) struct Header<'a> {
    /// The name as it stands in the archive; folders end in a slash.
    pub name: &'a [u8],
    /// Type flag.
    pub kind: u8,
    /// Link name.
    pub link: &'a [u8],
    /// Bytes of content.
    pub size: u64,
    /// Device numbers.
    pub device: (u32, u32),
    /// The entry that it stands for: mode, owner, time, xattrs.
    pub entry: &'a Entry,
}

impl Header<'_> {
    /// Appends the header's blocks to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut records = Vec::new();
        let split = split_name(self.name);
        let ascii = |name: &[u8]| name.is_ascii();
        if split.is_none() || !ascii(self.name) {
            record(&mut records, b"path", self.name);
        }
        if self.link.len() > 100 || !ascii(self.link) {
            record(&mut records, b"linkpath", self.link);
        }
        if self.size > OCTAL_11 {
            record(&mut records, b"size", self.size.to_string().as_bytes());
        }
        for (key, id) in [(&b"uid"[..], self.entry.uid), (b"gid", self.entry.gid)] {
            if u64::from(id) > OCTAL_7 {
                record(&mut records, key, id.to_string().as_bytes());
            }
        }
        if self.entry.mtime < 0 || self.entry.mtime as u64 > OCTAL_11 {
            record(
                &mut records,
                b"mtime",
                self.entry.mtime.to_string().as_bytes(),
            );
        }
        for (name, value) in &self.entry.xattrs {
            record(
                &mut records,
                &[b"SCHILY.xattr.".as_slice(), name].concat(),
                value,
            );
        }
        if !records.is_empty() {
            self.extended(&records, out);
        }
        let (prefix, name) = split.unwrap_or((&[], truncated(self.name)));
        out.extend_from_slice(&self.block(prefix, name, self.kind, self.size));
    }

    /// The pax header and its records, padded.
    fn extended(&self, records: &[u8], out: &mut Vec<u8>) {
        let mut plain = Entry::new(tbuild_tree::TreePath::root(), 0o644, Node::Fifo);
        plain.mtime = self.entry.mtime.clamp(0, OCTAL_11 as i64);
        let header = Header {
            name: b"",
            kind: b'x',
            link: b"",
            size: 0,
            device: (0, 0),
            entry: &plain,
        };
        out.extend_from_slice(&header.block(b"", b"././@PaxHeader", b'x', records.len() as u64));
        out.extend_from_slice(records);
        pad(out, records.len() as u64);
    }

    fn block(&self, prefix: &[u8], name: &[u8], kind: u8, size: u64) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..name.len()].copy_from_slice(name);
        octal(&mut block[100..108], u64::from(self.entry.mode));
        octal(&mut block[108..116], u64::from(self.entry.uid).min(OCTAL_7));
        octal(&mut block[116..124], u64::from(self.entry.gid).min(OCTAL_7));
        octal(&mut block[124..136], size.min(OCTAL_11));
        octal(
            &mut block[136..148],
            self.entry.mtime.clamp(0, OCTAL_11 as i64) as u64,
        );
        block[156] = kind;
        let link = &self.link[..self.link.len().min(100)];
        block[157..157 + link.len()].copy_from_slice(link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        octal(&mut block[329..337], u64::from(self.device.0));
        octal(&mut block[337..345], u64::from(self.device.1));
        block[345..345 + prefix.len()].copy_from_slice(prefix);
        block[148..156].copy_from_slice(b"        ");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        octal(&mut block[148..155], u64::from(sum));
        block[155] = b' ';
        block
    }
}

const OCTAL_7: u64 = 0o777_7777;
const OCTAL_11: u64 = 0o777_7777_7777;

/// Writes an octal number with leading zeros and a NUL at the end.
fn octal(field: &mut [u8], mut value: u64) {
    if let Some((last, digits)) = field.split_last_mut() {
        *last = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (value & 7) as u8;
            value >>= 3;
        }
    }
}

/// A name in prefix and name of the ustar header; none if it fits no such way.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= 100 {
        return Some((&[], name));
    }
    // The slash itself is not stored. The longest prefix that fits, so that there is one answer.
    let at = name[..name.len().min(156)]
        .iter()
        .rposition(|byte| *byte == b'/')?;
    let rest = &name[at + 1..];
    (at > 0 && !rest.is_empty() && rest.len() <= 100).then_some((&name[..at], rest))
}

/// What readers that know no pax headers see.
fn truncated(name: &[u8]) -> &[u8] {
    &name[..name.len().min(100)]
}

/// Appends a pax record: its own length in decimal, a space, key, `=`, value, newline.
fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let body = key.len() + value.len() + 3;
    let mut length = body + 1;
    while length != body + digits(length) {
        length = body + digits(length);
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(mut number: usize) -> usize {
    let mut count = 1;
    while number >= 10 {
        number /= 10;
        count += 1;
    }
    count
}

/// Appends zeros up to the block's end after `size` bytes of content.
pub(crate) fn pad(out: &mut Vec<u8>, size: u64) {
    let over = (size % BLOCK as u64) as usize;
    if over > 0 {
        out.resize(out.len() + BLOCK - over, 0);
    }
}
