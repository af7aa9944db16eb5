//! An image archive as sorted text: one line a config value, one line a file. The same as
//! `ci/conformance/lib/listing.py` writes, read by other means; nothing of tbuild's own reader is used.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;

use serde_json::Value;
use tbuild_digest::Sha256;

const CONFIG: [&str; 12] = [
    "Env",
    "Cmd",
    "Entrypoint",
    "User",
    "WorkingDir",
    "ExposedPorts",
    "Volumes",
    "Labels",
    "Healthcheck",
    "Shell",
    "StopSignal",
    "OnBuild",
];
/// The longest content that is shown as it is, in bytes.
const SHORT: usize = 120;

/// What a path leads to. Hard links share one.
struct File {
    kind: char,
    mode: u32,
    owner: (u64, u64),
    detail: String,
    xattrs: BTreeMap<String, String>,
}

type Files = BTreeMap<Vec<u8>, Rc<File>>;

/// The lines of an OCI archive, one block an image. Contents with the digest `busybox` are that word.
pub fn of_archive(path: &Path, busybox: &Sha256) -> Vec<String> {
    let mut blobs = BTreeMap::new();
    let file = std::fs::File::open(path).expect("the archive is there");
    let mut archive = tar::Archive::new(file);
    for member in archive.entries().expect("it is a tar") {
        let mut member = member.expect("its members can be read");
        let name = String::from_utf8(member.path_bytes().into_owned()).expect("names are text");
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).expect("blobs can be read");
        blobs.insert(name, bytes);
    }
    let blob = |descriptor: &Value| -> &[u8] {
        let digest = descriptor["digest"]
            .as_str()
            .expect("descriptors have digests");
        &blobs[&digest.replace("sha256:", "blobs/sha256/")]
    };
    let json = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).expect("it is JSON") };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut open = list(&json(&blobs["index.json"])["manifests"]);
    let mut lines = Vec::new();
    while !open.is_empty() {
        let document = json(blob(&open.remove(0)));
        if document["manifests"].is_array() {
            open.splice(0..0, list(&document["manifests"]));
            continue;
        }
        lines.extend(config_lines(&json(blob(&document["config"]))));
        let mut files = Files::new();
        for layer in list(&document["layers"]) {
            let mut plain = Vec::new();
            flate2::read::MultiGzDecoder::new(blob(&layer))
                .read_to_end(&mut plain)
                .expect("layers are gzip");
            apply(&mut files, &plain, busybox);
        }
        lines.extend(file_lines(&files));
    }
    lines
}

/// Lays a layer over what is below it. Paths have no leading slash; the root is empty.
fn apply(files: &mut Files, layer: &[u8], busybox: &Sha256) {
    let lower: BTreeSet<Vec<u8>> = files.keys().cloned().collect();
    let remove_below = |files: &mut Files, folder: &[u8]| {
        let below = [folder, b"/"].concat();
        files.retain(|path, _| !(path.starts_with(&below) && lower.contains(path)));
    };
    let mut archive = tar::Archive::new(layer);
    for member in archive.entries().expect("layers are tars") {
        let mut member = member.expect("members can be read");
        let path = clean(&member.path_bytes());
        let (folder, name) = split(&path);
        if name == b".wh..wh..opq" {
            remove_below(files, folder);
        } else if let Some(gone) = name.strip_prefix(b".wh.") {
            let gone = join(folder, gone);
            remove_below(files, &gone);
            if lower.contains(&gone) {
                files.remove(&gone);
            }
        } else {
            put(files, path, &mut member, busybox);
        }
    }
}

fn put<R: Read>(
    files: &mut Files,
    path: Vec<u8>,
    member: &mut tar::Entry<'_, R>,
    busybox: &Sha256,
) {
    for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
        files
            .entry(path[..at].to_vec())
            .or_insert_with(|| Rc::new(implied()));
    }
    let link = member
        .link_name_bytes()
        .map(std::borrow::Cow::into_owned)
        .unwrap_or_default();
    let header = member.header();
    let number = |value: std::io::Result<Option<u32>>| value.ok().flatten().unwrap_or_default();
    let device = format!(
        "{},{}",
        number(header.device_major()),
        number(header.device_minor())
    );
    let mut file = File {
        kind: 'f',
        mode: header.mode().expect("a mode") & 0o7777,
        owner: (
            header.uid().expect("an owner"),
            header.gid().expect("a group"),
        ),
        detail: String::new(),
        xattrs: BTreeMap::new(),
    };
    match header.entry_type() {
        tar::EntryType::Link => {
            let target = Rc::clone(&files[&clean(&link)]);
            files.insert(path, target);
            return;
        }
        tar::EntryType::Directory => file.kind = 'd',
        tar::EntryType::Symlink => {
            (file.kind, file.detail) = ('l', format!("-> {}", shown(&link)));
        }
        tar::EntryType::Char => (file.kind, file.detail) = ('c', device),
        tar::EntryType::Block => (file.kind, file.detail) = ('b', device),
        tar::EntryType::Fifo => file.kind = 'p',
        tar::EntryType::Regular => {
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes).expect("contents are there");
            file.detail = content(&bytes, busybox);
        }
        other => panic!("{}: a member of type {other:?}", shown(&path)),
    }
    for record in member
        .pax_extensions()
        .expect("pax records")
        .into_iter()
        .flatten()
    {
        let record = record.expect("pax records can be read");
        let key = record.key().expect("keys are text");
        let value = record.value_bytes();
        let number = || {
            let text = std::str::from_utf8(value).expect("numbers are text");
            text.parse().expect("numbers are numbers")
        };
        match key {
            "uid" => file.owner.0 = number(),
            "gid" => file.owner.1 = number(),
            _ => {
                if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                    let hex = value.iter().fold(String::new(), |mut hex, byte| {
                        let _ = write!(hex, "{byte:02x}");
                        hex
                    });
                    file.xattrs.insert(name.to_owned(), hex);
                }
            }
        }
    }
    let stays = file.kind == 'd' && files.get(&path).is_none_or(|old| old.kind == 'd');
    if !stays {
        let below = [&path[..], b"/"].concat();
        files.retain(|path, _| !path.starts_with(&below));
    }
    files.insert(path, Rc::new(file));
}

/// A folder that no layer has an entry for.
fn implied() -> File {
    File {
        kind: 'd',
        mode: 0o755,
        owner: (0, 0),
        detail: String::new(),
        xattrs: BTreeMap::new(),
    }
}

fn file_lines(files: &Files) -> Vec<String> {
    let mut first: BTreeMap<*const File, &[u8]> = BTreeMap::new();
    let mut lines = Vec::new();
    for (path, file) in files {
        if path.is_empty() && (file.mode, file.owner) == (0o755, (0, 0)) {
            continue;
        }
        let known = *first.entry(Rc::as_ptr(file)).or_insert(path);
        let detail = if known == path {
            file.detail.clone()
        } else {
            format!("= /{}", shown(known))
        };
        let (uid, gid) = file.owner;
        let line = format!(
            "/{} {} {:04o} {uid}:{gid} {detail}",
            shown(path),
            file.kind,
            file.mode
        );
        let mut line = line.trim_end().to_owned();
        for (name, value) in &file.xattrs {
            let _ = write!(line, " {name}={value}");
        }
        lines.push(line);
    }
    lines
}

fn config_lines(document: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |key: &str, value: &Value| {
        let empty = match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        if !empty {
            lines.push(format!("{key} {}", sorted(value)));
        }
    };
    for key in ["architecture", "os", "variant", "author"] {
        line(key, &document[key]);
    }
    for key in CONFIG {
        line(key, &document["config"][key]);
    }
    lines
}

/// JSON with sorted keys, whatever order the parser keeps.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let fields: BTreeMap<&String, String> = map
                .iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect();
            let fields: Vec<String> = fields
                .into_iter()
                .map(|(key, value)| format!("{}:{value}", Value::from(key.as_str())))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(list) => format!(
            "[{}]",
            list.iter().map(sorted).collect::<Vec<_>>().join(",")
        ),
        other => other.to_string(),
    }
}

/// Short texts as they are, the rest by size and digest.
fn content(bytes: &[u8], busybox: &Sha256) -> String {
    let digest = Sha256::of(bytes);
    let plain = |byte: &u8| matches!(byte, b'\n' | b'\t' | 0x20..=0x7e);
    if digest == *busybox {
        "busybox".to_owned()
    } else if bytes.len() <= SHORT && bytes.iter().all(plain) {
        Value::from(String::from_utf8_lossy(bytes).into_owned()).to_string()
    } else {
        format!("{} {}", bytes.len(), &digest.hex()[..32])
    }
}

/// Bytes as printable text.
fn shown(name: &[u8]) -> String {
    name.iter().fold(String::new(), |mut text, byte| {
        if (0x21..=0x7e).contains(byte) && *byte != b'\\' {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "\\x{byte:02x}");
        }
        text
    })
}

fn clean(path: &[u8]) -> Vec<u8> {
    let parts = path.split(|byte| *byte == b'/');
    let parts: Vec<&[u8]> = parts
        .filter(|part| !part.is_empty() && *part != b".")
        .collect();
    parts.join(&b'/')
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() {
        name.to_vec()
    } else {
        [folder, b"/", name].concat()
    }
}

/// Replaces the files of the base, where all are there as they were, by one line.
pub fn abbreviate(lines: Vec<String>, base: &[String]) -> Vec<String> {
    if !base.iter().all(|line| lines.contains(line)) {
        return lines;
    }
    let mut short: Vec<String> = lines
        .into_iter()
        .filter(|line| !base.contains(line))
        .collect();
    let at = short.iter().position(|line| line.starts_with('/'));
    short.insert(at.unwrap_or(short.len()), "base".to_owned());
    short
}

/// What one listing has and the other has not, as `-expected` and `+made`, in the order of the listings.
pub fn differing(expected: &[String], made: &[String]) -> Vec<String> {
    let gone = expected.iter().filter(|line| !made.contains(line));
    let new = made.iter().filter(|line| !expected.contains(line));
    gone.map(|line| format!("-{line}"))
        .chain(new.map(|line| format!("+{line}")))
        .collect()
}
