//! Header fields of two entries.

use tbuild_tree::{Entry, Node};

use crate::report::FieldDifference;

/// What an entry is, in a word.
pub(crate) fn kind(node: &Node) -> &'static str {
    match node {
        Node::Directory => "folder",
        Node::File { .. } => "file",
        Node::Symlink { .. } => "link",
        Node::Hardlink { .. } => "hard link",
        Node::CharDevice { .. } => "character device",
        Node::BlockDevice { .. } => "block device",
        Node::Fifo => "named pipe",
        Node::Whiteout => "whiteout",
    }
}

/// The header fields that differ: type, mode, owner, time, link, device, size, xattrs. Never the content.
pub(crate) fn compare(a: &Entry, b: &Entry) -> Vec<FieldDifference> {
    let mut found = Vec::new();
    let mut field = |name: &str, a: Option<String>, b: Option<String>| {
        if a != b {
            let field = name.to_owned();
            found.push(FieldDifference { field, a, b });
        }
    };
    field(
        "type",
        Some(kind(&a.node).into()),
        Some(kind(&b.node).into()),
    );
    let whiteout = |entry: &Entry| entry.node == Node::Whiteout;
    // A whiteout says nothing else of itself.
    if !whiteout(a) && !whiteout(b) {
        let mode = |entry: &Entry| Some(format!("{:04o}", entry.mode));
        field("mode", mode(a), mode(b));
        let owner = |entry: &Entry| Some(format!("{}:{}", entry.uid, entry.gid));
        field("owner", owner(a), owner(b));
        let time = |entry: &Entry| Some(date(entry.mtime));
        field("mtime", time(a), time(b));
    }
    let flag = |set: bool| Some(if set { "yes" } else { "no" }.to_owned());
    field("opaque", flag(a.opaque), flag(b.opaque));
    if std::mem::discriminant(&a.node) == std::mem::discriminant(&b.node) {
        field("link", link(&a.node), link(&b.node));
        field("device", device(&a.node), device(&b.node));
        field("size", size(&a.node), size(&b.node));
    }
    let names = a.xattrs.keys().chain(b.xattrs.keys());
    let names: std::collections::BTreeSet<&Vec<u8>> = names.collect();
    for name in names {
        let value = |entry: &Entry| entry.xattrs.get(name).map(|value| hex(value));
        let name = format!("xattr {}", String::from_utf8_lossy(name));
        field(&name, value(a), value(b));
    }
    found
}

fn link(node: &Node) -> Option<String> {
    match node {
        Node::Symlink { target } => Some(String::from_utf8_lossy(target).into_owned()),
        Node::Hardlink { target } => Some(target.to_string()),
        _ => None,
    }
}

fn device(node: &Node) -> Option<String> {
    match node {
        Node::CharDevice { major, minor } | Node::BlockDevice { major, minor } => {
            Some(format!("{major}:{minor}"))
        }
        _ => None,
    }
}

fn size(node: &Node) -> Option<String> {
    match node {
        Node::File { size, .. } => Some(size.to_string()),
        _ => None,
    }
}

/// Bytes as hex digits; at most 64 of them.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in bytes.iter().take(64) {
        let _infallible = write!(text, "{byte:02x}");
    }
    if bytes.len() > 64 {
        let _infallible = write!(text, "... ({} bytes)", bytes.len());
    }
    text
}

/// Seconds since the epoch as RFC 3339, in UTC. The calendar is the proleptic Gregorian one.
pub(crate) fn date(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years that begin in March have their odd day at the end; 400 of them have always as many days.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 {
        (era * 400 + year, month + 3)
    } else {
        (era * 400 + year + 1, month - 9)
    };
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{of_month:02}T{hour:02}:{minute:02}:{second:02}Z")
}
