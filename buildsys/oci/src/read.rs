//! Reading layers: any tar that a registry may hold.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use tbuild_digest::{Hasher, Sha256};
use tbuild_tree::{Entry, Node, Tree, TreePath};

use crate::index::LayerIndex;
use crate::limits::{MAX_LINK, MAX_NAME, Most, bytes_of};
use crate::tar;
use crate::write::{LayerError, MAX_PATH, OPAQUE, WHITEOUT};

/// The digest of content that nobody has read yet.
const UNKNOWN: Sha256 = Sha256([0; 32]);

/// One member of a layer's tar, as it is met.
pub struct Member<'a> {
    /// The entry. A regular file's digest is all zeros: its content is only about to be read. An opaque
    /// marker comes as the folder itself, with `opaque` set and `marker` true.
    pub entry: Entry,
    /// Whether this is an opaque marker alone: the folder's own entry is another member, or missing.
    pub marker: bool,
    /// Where the content starts in the tar, in bytes.
    pub offset: u64,
    /// The content of a regular file. What is not read is skipped.
    pub content: &'a mut dyn Read,
}

/// Reads a layer from start to end and hands over its members in the order of the archive. Paths are cleaned:
/// `..` and leading slashes lead nowhere else than to the root.
pub fn read_layer<E: From<LayerError>>(
    reader: impl Read,
    visit: impl FnMut(Member<'_>) -> Result<(), E>,
) -> Result<(), E> {
    walk(reader, true, Most::default(), visit)
}

/// The same for an archive that is no layer: names that mean something in layers mean nothing, and second names
/// stay what they are. A member whose content is not in one piece (sparse files) is an error.
pub fn read_archive<E: From<LayerError>>(
    reader: impl Read,
    visit: impl FnMut(Member<'_>) -> Result<(), E>,
) -> Result<(), E> {
    walk(reader, false, Most::default(), visit)
}

/// Whether the first member of a tar can be read.
pub fn is_archive(reader: impl Read) -> bool {
    let mut archive = tar::Archive::new(reader);
    let Ok(mut members) = archive.entries() else {
        return false;
    };
    matches!(members.next(), Some(Ok(_)))
}

pub(crate) fn walk<E: From<LayerError>>(
    reader: impl Read,
    layer: bool,
    most: Most,
    mut visit: impl FnMut(Member<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut archive = tar::Archive::new(reader);
    let read = |error: io::Error| E::from(LayerError::Read(error));
    let (mut members, mut text) = (0, 0);
    for member in archive.entries().map_err(read)? {
        let mut member = member.map_err(read)?;
        members += 1;
        if members > most.members {
            return Err(LayerError::Members(most.members).into());
        }
        let offset = member.raw_file_position();
        if let Some((entry, marker)) = entry_of(&mut member, layer)? {
            text += bytes_of(&entry);
            if text > most.text {
                return Err(LayerError::Text(most.text).into());
            }
            visit(Member {
                entry,
                marker,
                offset,
                content: &mut member,
            })?;
        }
    }
    Ok(())
}

/// Refuses names that no file can have: what is written with them could never be unpacked.
fn check_name(path: &TreePath, layer: bool) -> Result<(), LayerError> {
    if path.as_bytes().len() > MAX_PATH {
        let length = path.as_bytes().len();
        return Err(LayerError::Malformed(format!(
            "a path of {length} bytes is longer than the {MAX_PATH} that a layer may hold"
        )));
    }
    if path.as_bytes().contains(&0) {
        return Err(LayerError::Malformed(format!(
            "{path:?}: its name has a zero byte"
        )));
    }
    // What marks a file as removed is no file itself.
    let length = |name: &[u8]| match name.strip_prefix(WHITEOUT) {
        Some(gone) if layer => gone.len(),
        _ => name.len(),
    };
    if let Some(long) = path.components().find(|name| length(name) > MAX_NAME) {
        return Err(LayerError::Malformed(format!(
            "a name of {} bytes is longer than the {MAX_NAME} that a file's may have",
            long.len()
        )));
    }
    Ok(())
}

/// The entry of a member, and whether it is an opaque marker; none for what stands for nothing.
fn entry_of<R: Read>(
    member: &mut tar::Entry<'_, R>,
    layer: bool,
) -> Result<Option<(Entry, bool)>, LayerError> {
    let malformed = |what: &str, path: &TreePath| LayerError::Malformed(format!("{path}: {what}"));
    let path = TreePath::clean(&member.path_bytes());
    check_name(&path, layer)?;
    let header = member.header();
    let kind = header.entry_type();
    let number = |value: io::Result<u64>, what: &str| {
        value
            .ok()
            .and_then(|value| u32::try_from(value).ok())
            .ok_or_else(|| malformed(&format!("its {what} cannot be read"), &path))
    };
    let mut entry = Entry::new(
        path.clone(),
        header.mode().unwrap_or(0o644) & 0o7777,
        Node::Directory,
    );
    entry.uid = number(header.uid(), "owner")?;
    entry.gid = number(header.gid(), "group")?;
    entry.mtime = header
        .mtime()
        .ok()
        .and_then(|time| i64::try_from(time).ok())
        .unwrap_or(0);
    let device = (
        header.device_major().ok().flatten().unwrap_or(0),
        header.device_minor().ok().flatten().unwrap_or(0),
    );
    let size = member.size();
    extensions(member, &mut entry)?;
    let name = path.name().unwrap_or_default();
    if layer && name == OPAQUE {
        let mut folder = Entry::new(path.parent().unwrap_or_default(), 0o755, Node::Directory);
        folder.opaque = true;
        return Ok(Some((folder, true)));
    }
    if let Some(gone) = name.strip_prefix(WHITEOUT).filter(|_| layer) {
        // `.wh..wh.` begins the marks of a file system that is no more.
        if gone.starts_with(WHITEOUT) || gone.is_empty() || gone == b"." || gone == b".." {
            return Ok(None);
        }
        let path = path.parent().unwrap_or_default().join(gone);
        return Ok(Some((Entry::new(path, 0, Node::Whiteout), false)));
    }
    let link = member.link_name_bytes().map(std::borrow::Cow::into_owned);
    let link = || {
        let link = link.clone().filter(|link| !link.is_empty());
        let link = link.ok_or_else(|| malformed("a link without a target", &path))?;
        if link.contains(&0) {
            return Err(malformed("its target has a zero byte", &path));
        }
        Ok(link)
    };
    entry.node = match kind {
        tar::EntryType::Directory => Node::Directory,
        tar::EntryType::Regular | tar::EntryType::Continuous => Node::File {
            size,
            digest: UNKNOWN,
        },
        tar::EntryType::Symlink => {
            let target = link()?;
            if target.len() > MAX_LINK {
                let why = format!("its target is longer than {MAX_LINK} bytes");
                return Err(malformed(&why, &path));
            }
            Node::Symlink { target }
        }
        tar::EntryType::Link => Node::Hardlink {
            target: TreePath::clean(&link()?),
        },
        tar::EntryType::Char => Node::CharDevice {
            major: device.0,
            minor: device.1,
        },
        tar::EntryType::Block => Node::BlockDevice {
            major: device.0,
            minor: device.1,
        },
        tar::EntryType::Fifo => Node::Fifo,
        tar::EntryType::XGlobalHeader => return Ok(None),
        other @ tar::EntryType::Other(_) => {
            return Err(malformed(
                &format!("members of type {other:?} are not supported"),
                &path,
            ));
        }
    };
    if entry.path.is_root() && entry.node != Node::Directory {
        return Err(malformed(
            "it stands for the root and is no folder",
            &entry.path,
        ));
    }
    Ok(Some((entry, false)))
}

/// What pax records say beyond what the reader has applied: owners and times that do not fit, xattrs.
fn extensions<R: Read>(
    member: &mut tar::Entry<'_, R>,
    entry: &mut Entry,
) -> Result<(), LayerError> {
    for record in member.records() {
        let value = record.value_bytes();
        let text = || std::str::from_utf8(value).ok();
        match record.key_bytes() {
            b"uid" => {
                entry.uid = text()
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(entry.uid);
            }
            b"gid" => {
                entry.gid = text()
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(entry.gid);
            }
            b"mtime" => {
                let seconds = text()
                    .and_then(|text| text.split('.').next().and_then(|whole| whole.parse().ok()));
                entry.mtime = seconds.unwrap_or(entry.mtime);
            }
            key if key.starts_with(b"GNU.sparse.") => {
                let message = format!("{}: sparse members are not supported", entry.path);
                return Err(LayerError::Malformed(message));
            }
            key => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    entry.xattrs.insert(name.to_vec(), value.to_vec());
                }
            }
        }
    }
    Ok(())
}

/// Reads a layer and says what it holds. Where a path comes twice, the last one counts.
pub fn index_layer(reader: impl Read) -> Result<LayerIndex, LayerError> {
    let mut members: BTreeMap<TreePath, (Entry, Option<u64>)> = BTreeMap::new();
    let mut buffer = vec![0; 1 << 17];
    read_layer(reader, |member| -> Result<(), LayerError> {
        let Member {
            mut entry,
            marker,
            offset,
            content,
        } = member;
        if let Node::File { size, digest } = &mut entry.node {
            let (read, hash) = hash(content, &mut buffer)?;
            if read != *size {
                return Err(LayerError::Malformed(format!(
                    "{}: it ends early",
                    entry.path
                )));
            }
            *digest = hash;
        }
        add(&mut members, entry, marker, offset);
        Ok(())
    })?;
    let files: Vec<(TreePath, TreePath)> = members
        .values()
        .filter_map(|(entry, _)| match &entry.node {
            Node::Hardlink { target } => Some((entry.path.clone(), target.clone())),
            _ => None,
        })
        .collect();
    settle_links(&mut members, &files)?;
    let (entries, offsets): (Vec<_>, Vec<_>) = members.into_values().unzip();
    let tree = Tree::new(entries).map_err(|error| LayerError::Malformed(error.to_string()))?;
    Ok(LayerIndex::new(Arc::new(tree), offsets))
}

fn add(
    members: &mut BTreeMap<TreePath, (Entry, Option<u64>)>,
    mut entry: Entry,
    marker: bool,
    offset: u64,
) {
    let known = members.get_mut(&entry.path);
    if let Some((old, _)) = known {
        if marker || entry.node == Node::Whiteout {
            // What is removed is what lower layers hold: the layer's own entry stays.
            old.opaque |= old.is_directory();
            return;
        }
        entry.opaque |= entry.is_directory() && (old.opaque || old.node == Node::Whiteout);
    }
    let offset = matches!(entry.node, Node::File { .. }).then_some(offset);
    members.insert(entry.path.clone(), (entry, offset));
}

/// Makes every hard link point at a regular file that comes before it in tree order: the first of the names
/// becomes the file, the others its links. A link to something of a lower layer is malformed.
fn settle_links(
    members: &mut BTreeMap<TreePath, (Entry, Option<u64>)>,
    links: &[(TreePath, TreePath)],
) -> Result<(), LayerError> {
    let mut groups: BTreeMap<TreePath, Vec<TreePath>> = BTreeMap::new();
    // Where a link leads in the end, by link: links to links would else be followed over and over.
    let mut ends: BTreeMap<&TreePath, TreePath> = BTreeMap::new();
    for (path, target) in links {
        let mut way = Vec::new();
        let mut at = target;
        let end = loop {
            if let Some(end) = ends.get(at) {
                break end.clone();
            }
            match members.get_key_value(at) {
                Some((_, (entry, _))) if matches!(entry.node, Node::File { .. }) => {
                    break at.clone();
                }
                Some((
                    name,
                    (
                        Entry {
                            node: Node::Hardlink { target },
                            ..
                        },
                        _,
                    ),
                )) if way.len() <= links.len() => {
                    way.push(name);
                    at = target;
                }
                _ => {
                    return Err(LayerError::Malformed(format!(
                        "{path}: it links to {target}, which is no file of the layer"
                    )));
                }
            }
        };
        for name in way {
            ends.insert(name, end.clone());
        }
        groups.entry(end).or_default().push(path.clone());
    }
    drop(ends);
    for (file, mut names) in groups {
        names.push(file.clone());
        names.sort();
        let Some((entry, offset)) = members.get(&file).cloned() else {
            continue;
        };
        let first = names[0].clone();
        for name in names {
            if let Some((member, at)) = members.get_mut(&name) {
                (member.node, *at) = if name == first {
                    (entry.node.clone(), offset)
                } else {
                    (
                        Node::Hardlink {
                            target: first.clone(),
                        },
                        None,
                    )
                };
            }
        }
    }
    Ok(())
}

fn hash(content: &mut dyn Read, buffer: &mut [u8]) -> Result<(u64, Sha256), LayerError> {
    let mut hasher = Hasher::new();
    let mut read = 0;
    loop {
        match content.read(buffer) {
            Ok(0) => return Ok((read, hasher.finish())),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                read += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(LayerError::Read(error)),
        }
    }
}
