//! A few bytes that stand for very many: each stops at a limit, and the message names it.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::bench::{Bench, Built};
use crate::tar::{Tar, header};

/// Ten gibibytes.
pub const HUGE: u64 = 10 << 30;

/// Bytes of the pieces that a bomb is made of.
const PIECE: usize = 16 << 20;

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("into memory");
    encoder.finish().expect("into memory")
}

/// A tar with a file of `size` zeros, as gzip: about a thousandth of it.
pub fn gzip_bomb(size: u64) -> Vec<u8> {
    let start = Tar::new().raw(&header(b'0', b"zeros", b"", 0o644, size));
    let mut bomb = gzip(&start.cut());
    let piece = gzip(&vec![0; PIECE]);
    for _ in 0..size / PIECE as u64 {
        bomb.extend_from_slice(&piece);
    }
    bomb.extend_from_slice(&gzip(&[0; 1024]));
    bomb
}

/// The same as zstd (RFC 8878, 3.1.1): blocks that say one byte and how often it comes. A thirty-thousandth.
fn zstd_bomb(size: u64) -> Vec<u8> {
    const BLOCK: u32 = 128 << 10;
    let start = header(b'0', b"zeros", b"", 0o644, size);
    // The magic number, no flags, a window of 128 KiB.
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3];
    let block = |kind: u32, size: u32| (kind << 1 | size << 3).to_le_bytes()[..3].to_vec();
    bomb.extend(block(0, start.len() as u32));
    bomb.extend(start);
    let mut again = block(1, BLOCK);
    again.push(0);
    for _ in 0..size / u64::from(BLOCK) {
        bomb.extend_from_slice(&again);
    }
    // The last block, with nothing in it.
    bomb.extend([1, 0, 0]);
    bomb
}

fn add(bench: &Bench, archive: &[u8]) -> Built {
    bench
        .write("a.tar", archive)
        .build("FROM scratch\nADD a.tar /in/\n")
}

#[test]
fn archives_that_unpack_to_far_more_than_they_are() {
    let bench = Bench::new();
    for bomb in [gzip_bomb(HUGE), zstd_bomb(HUGE)] {
        assert!(HUGE / bomb.len() as u64 > 900);
        let built = add(&bench, &bomb);
        built.refused(&[
            "a.tar",
            "more than 512 MiB and more than 200 times its size",
            "in a RUN",
        ]);
    }
    // Such a file as it is, without unpacking: a copy of what is packed.
    bench
        .build("FROM scratch\nCOPY a.tar /in/\n")
        .has("/in/a.tar 644 file");
}

#[test]
fn a_small_archive_that_packs_well_is_no_bomb() {
    let bench = Bench::new();
    let built = add(&bench, &gzip_bomb(64 << 20));
    built.has("/in/zeros 644 file");
}

#[test]
fn xz_that_asks_for_the_memory() {
    // A stream whose header says a dictionary of 4 GiB (the .xz file format, 5.3.1).
    let mut block = vec![0x02, 0x00, 0x21, 0x01, 40, 0, 0, 0];
    let crc = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_le_bytes()
    };
    block.extend(crc(&block));
    let flags = [0, 1];
    let mut stream = b"\xfd7zXZ\0".to_vec();
    stream.extend(flags);
    stream.extend(crc(&flags));
    stream.extend(block);
    stream.extend([0x01, 0x01, 0xff]);
    let bench = Bench::new();
    let built = add(&bench, &stream);
    // It is nothing that can be unpacked, and so a file.
    built.has("/in/a.tar 644 file");
}

#[test]
fn archives_of_very_many_members() {
    let bench = Bench::new();
    let mut members = Vec::new();
    for number in 0..1000 {
        members.extend(header(b'0', format!("f{number}").as_bytes(), b"", 0o644, 0));
    }
    let piece = gzip(&members);
    let mut archive = piece.repeat(1000);
    archive.extend(gzip(&Tar::new().file("one too many", "").end()));
    add(&bench, &archive).refused(&["a.tar", "more than 1000000 files", "in a RUN"]);
    // Ten millions come to more bytes than such a small archive may.
    let same = header(b'0', b"again", b"", 0o644, 0).repeat(1000);
    let archive = gzip(&same).repeat(10_000);
    add(&bench, &archive).refused(&["a.tar", "more than 512 MiB"]);
}

#[test]
fn archives_that_are_compared() {
    let bench = Bench::new();
    bench.write("a.tar", gzip_bomb(HUGE));
    let (code, said) = bench.run(&["diff", "context/a.tar", "context/a.tar"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("more than 1024 MiB"), "{said}");
}
