//! What the fuzz targets do, with a stable compiler: with what was found once, with what other tests read, and with
//! variations of it, the same ones each time.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

#[path = "../../fuzz/src/lib.rs"]
mod targets;

/// Variations of each seed.
const VARIATIONS: usize = 12;

fn buildsys() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files of a folder that end so, in order.
fn files(folder: &Path, end: &str) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file() && path.to_string_lossy().ends_with(end))
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).expect("a file"))
        .collect()
}

/// What a target begins with.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let cases = || files(&buildsys().join("cli/tests/conformance/cases"), ".case");
    match target {
        "dockerfile" => cases(),
        "dockerignore" => vec![
            b"*\n!a\n!b/**/c\n".to_vec(),
            b"# x\n**/*.o\n/a/../b\n!**/keep\\ me\n[a-z]?*\n\0a/b.o\nb\nz/keep me".to_vec(),
        ],
        "image_config" => vec![
            br#"{"architecture":"amd64","os":"linux","config":{"Env":["A=b"],"ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["NONE"],"Interval":1000}},"rootfs":{"type":"layers","diff_ids":[]},"history":[{"empty_layer":true}],"more":[1.5,null]}"#.to_vec(),
        ],
        "layer" => archives(),
        "tbuild_toml" => {
            let mut all = files(&buildsys().join(".."), "tbuild.toml");
            all.extend(cases());
            all
        }
        other => panic!("{other} has no seeds"),
    }
}

/// One of each kind of member, in each format, packed and not.
fn archives() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for gnu in [true, false] {
        let mut builder = tar::Builder::new(Vec::new());
        for (number, kind) in [
            tar::EntryType::Directory,
            tar::EntryType::Regular,
            tar::EntryType::Symlink,
            tar::EntryType::Link,
            tar::EntryType::Char,
            tar::EntryType::Fifo,
        ]
        .into_iter()
        .enumerate()
        {
            let mut header = if gnu {
                tar::Header::new_gnu()
            } else {
                tar::Header::new_ustar()
            };
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_uid(1);
            header.set_gid(2);
            header.set_mtime(3);
            let content: &[u8] = if kind.is_file() { b"content" } else { b"" };
            header.set_size(content.len() as u64);
            if kind.is_symlink() || kind.is_hard_link() {
                header.set_link_name("d/1").expect("short");
            }
            let long = "n".repeat(if gnu { 150 } else { 5 });
            if !gnu {
                let record: [(&str, &[u8]); 2] = [("SCHILY.xattr.user.a", b"b"), ("mtime", b"1.5")];
                builder.append_pax_extensions(record).expect("into memory");
            }
            let name = if number == 1 {
                "d/1".to_owned()
            } else {
                format!("d/{number}{long}")
            };
            builder
                .append_data(&mut header, name, content)
                .expect("into memory");
        }
        for name in [".wh.gone", "d/.wh..wh..opq"] {
            let mut header = tar::Header::new_ustar();
            header.set_size(0);
            builder
                .append_data(&mut header, name, &b""[..])
                .expect("into memory");
        }
        all.push(builder.into_inner().expect("into memory"));
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&all[0]).expect("into memory");
    all.push(packed.finish().expect("into memory"));
    all
}

/// Numbers that look as if they were drawn (splitmix64), the same ones each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((value ^ (value >> 31)) % limit.max(1) as u64) as usize
    }
}

/// A seed with a few things wrong: bytes changed, cut, doubled, put in from another seed.
fn vary(seed: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    const ODD: &[u8] = b"\0\n\r\\\"'${}[]<>|&#=:*!/.-,%0\x7f\xff ";
    let mut bytes = seed.to_vec();
    for _ in 0..=numbers.below(6) {
        let at = numbers.below(bytes.len() + 1);
        let end = (at + numbers.below(40)).min(bytes.len());
        match numbers.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.insert(at, ODD[numbers.below(ODD.len())]),
            3 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << numbers.below(8);
                }
            }
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let from = numbers.below(other.len() + 1);
                let until = (from + numbers.below(60)).min(other.len());
                bytes.splice(at..end, other[from..until].iter().copied());
            }
        }
    }
    bytes
}

#[test]
fn what_was_found_once_is_found_no_more() {
    for (name, check) in targets::TARGETS {
        for input in files(&buildsys().join("fuzz/regressions").join(name), "") {
            check(&input);
        }
    }
}

#[test]
fn seeds_and_their_variations_are_read_without_a_panic() {
    for (name, check) in targets::TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        let variations = VARIATIONS.max(1000 / seeds.len());
        let mut numbers = Numbers(1);
        for seed in &seeds {
            check(seed);
            for _ in 0..variations {
                let other = &seeds[numbers.below(seeds.len())];
                let input = vary(seed, other, &mut numbers);
                if std::panic::catch_unwind(|| check(&input)).is_err() {
                    let text = String::from_utf8_lossy(&input);
                    panic!("{name} panics on {text:?}, in bytes {input:?}");
                }
            }
        }
    }
}
