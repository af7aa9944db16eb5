//! Gzip in members cut at content-defined boundaries.
//!
//! A cut depends on the 64 bytes before it alone, so an edit moves the cuts around it and no others; each
//! piece is compressed alone, so any number of threads gives the same bytes. Source: RFC 1952 (a gzip file is
//! a sequence of members); the cut is that of gear hashing (FastCDC).

use std::io::{self, Read, Write};

/// Names everything that decides the bytes: codec, its version, level, cut, header.
pub const COMPRESSOR_ID: &str = "gzip/libdeflate-1.26.1/6/gear-1MiB-256KiB-4MiB/mtime0-os255";

const LEVEL: i32 = 6;
const MIN: usize = 256 << 10;
const MAX: usize = 4 << 20;
/// 20 bits: a cut every MiB on average, past the minimum.
const MASK: u64 = 0xffff_f000_0000_0000;

/// The gear table: splitmix64 from seed 0, one number a byte value.
const GEAR: [u64; 256] = {
    let mut table = [0; 256];
    let mut state: u64 = 0;
    let mut at = 0;
    while at < 256 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = state;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[at] = value ^ (value >> 31);
        at += 1;
    }
    table
};

/// Cuts what a reader gives into pieces. The cuts do not depend on how it is read.
pub struct Chunker<R> {
    reader: R,
    /// Read, not handed out yet.
    buffer: Vec<u8>,
    ended: bool,
    cut_any: bool,
}

impl<R: Read> Chunker<R> {
    /// Cuts what `reader` gives.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            ended: false,
            cut_any: false,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        while !self.ended && self.buffer.len() < MAX {
            let want = (MAX - self.buffer.len()) as u64;
            let got = self
                .reader
                .by_ref()
                .take(want)
                .read_to_end(&mut self.buffer)?;
            self.ended = got == 0;
        }
        Ok(())
    }
}

/// Where the first piece of `bytes` ends.
fn cut(bytes: &[u8]) -> usize {
    let end = bytes.len().min(MAX);
    if end <= MIN {
        return end;
    }
    let mut hash = 0_u64;
    for (at, byte) in bytes[MIN - 64..end].iter().enumerate() {
        hash = (hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
        if at >= 64 && hash & MASK == 0 {
            return MIN - 64 + at + 1;
        }
    }
    end
}

impl<R: Read> Iterator for Chunker<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(error) = self.fill() {
            return Some(Err(error));
        }
        if self.buffer.is_empty() {
            // Nothing at all is still one member: an empty file is no gzip file.
            return (!std::mem::replace(&mut self.cut_any, true)).then(|| Ok(Vec::new()));
        }
        self.cut_any = true;
        let rest = self.buffer.split_off(cut(&self.buffer));
        Some(Ok(std::mem::replace(&mut self.buffer, rest)))
    }
}

/// One piece as a gzip member.
pub fn compress_chunk(piece: &[u8]) -> Vec<u8> {
    // The level is a constant of this file that libdeflate knows.
    let level = libdeflater::CompressionLvl::new(LEVEL).unwrap_or_default();
    let mut compressor = libdeflater::Compressor::new(level);
    let mut member = vec![0; 18 + compressor.deflate_compress_bound(piece.len())];
    member[..10].copy_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    let length = member.len();
    // The bound is libdeflate's own: it always fits.
    let size = compressor
        .deflate_compress(piece, &mut member[10..length - 8])
        .unwrap_or(0);
    member.truncate(10 + size);
    member.extend_from_slice(&libdeflater::crc32(piece).to_le_bytes());
    member.extend_from_slice(&(piece.len() as u32).to_le_bytes());
    member
}

/// Compresses all of `reader` into `writer`, piece by piece.
pub fn compress(reader: impl Read, writer: &mut dyn Write) -> io::Result<()> {
    for piece in Chunker::new(reader) {
        writer.write_all(&compress_chunk(&piece?))?;
    }
    Ok(())
}

/// Reads gzip (any number of members), zstd, or what is neither as it is; told by the first bytes.
pub fn decompress<'a>(mut reader: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut magic = Vec::new();
    reader.by_ref().take(4).read_to_end(&mut magic)?;
    let kind = magic.clone();
    let whole = io::Cursor::new(magic).chain(reader);
    Ok(match kind.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::stream::read::Decoder::new(whole)?),
        _ => Box::new(whole),
    })
}
