//! Layer indexes: what a layer holds, and where in its tar each file's content lies.

use std::sync::Arc;

use tbuild_digest::Sha256;
use tbuild_tree::{Entry, Node, Tree, TreePath, Xattrs};

/// The first byte of an encoded index.
const VERSION: u8 = 1;
/// Stands for "no content" among offsets.
const NONE: u64 = u64::MAX;

/// What a layer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerIndex {
    tree: Arc<Tree>,
    /// By position in the tree.
    offsets: Vec<u64>,
}

/// Why bytes are not an encoded index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a layer index: {0}")]
pub struct IndexError(&'static str);

impl LayerIndex {
    /// An index of `tree`, with the offset of each entry's content, in the tree's order.
    pub(crate) fn new(tree: Arc<Tree>, offsets: Vec<Option<u64>>) -> Self {
        Self {
            tree,
            offsets: offsets
                .into_iter()
                .map(|offset| offset.unwrap_or(NONE))
                .collect(),
        }
    }

    /// The entries.
    pub fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    /// Where in the tar the content of the file `path` starts, in bytes; a hard link's is that of its first
    /// name. None if there is no such file.
    pub fn offset(&self, path: &TreePath) -> Option<u64> {
        let at = self
            .tree
            .entries()
            .binary_search_by(|entry| entry.path.cmp(path))
            .ok()?;
        if let Node::Hardlink { target } = &self.tree.entries()[at].node {
            return if target == path {
                None
            } else {
                self.offset(target)
            };
        }
        self.offsets
            .get(at)
            .copied()
            .filter(|offset| *offset != NONE)
    }

    /// The index as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.tree.entries().len() * 96);
        out.push(VERSION);
        number(&mut out, self.tree.entries().len() as u64);
        for (entry, offset) in self.tree.entries().iter().zip(&self.offsets) {
            bytes(&mut out, entry.path.as_bytes());
            number(&mut out, u64::from(entry.mode));
            number(&mut out, u64::from(entry.uid));
            number(&mut out, u64::from(entry.gid));
            out.extend_from_slice(&entry.mtime.to_le_bytes());
            out.push(u8::from(entry.opaque));
            number(&mut out, entry.xattrs.len() as u64);
            for (name, value) in &entry.xattrs {
                bytes(&mut out, name);
                bytes(&mut out, value);
            }
            match &entry.node {
                Node::Directory => out.push(0),
                Node::File { size, digest } => {
                    out.push(1);
                    number(&mut out, *size);
                    out.extend_from_slice(&digest.0);
                    number(&mut out, *offset);
                }
                Node::Symlink { target } => {
                    out.push(2);
                    bytes(&mut out, target);
                }
                Node::Hardlink { target } => {
                    out.push(3);
                    bytes(&mut out, target.as_bytes());
                }
                Node::CharDevice { major, minor } => {
                    out.push(4);
                    number(&mut out, u64::from(*major));
                    number(&mut out, u64::from(*minor));
                }
                Node::BlockDevice { major, minor } => {
                    out.push(5);
                    number(&mut out, u64::from(*major));
                    number(&mut out, u64::from(*minor));
                }
                Node::Fifo => out.push(6),
                Node::Whiteout => out.push(7),
            }
        }
        out
    }

    /// Reads what [`LayerIndex::encode`] wrote; anything else is an error.
    pub fn decode(text: &[u8]) -> Result<Self, IndexError> {
        let mut input = Input(text);
        if input.byte()? != VERSION {
            return Err(IndexError("another version"));
        }
        let count = input.number()?;
        // An entry has 15 bytes at least: a count beyond that is a lie, and must not reserve memory.
        if count > text.len() as u64 / 15 {
            return Err(IndexError("too many entries"));
        }
        let mut entries = Vec::with_capacity(count as usize);
        let mut offsets = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let (entry, offset) = input.entry()?;
            entries.push(entry);
            offsets.push(offset);
        }
        if !input.0.is_empty() {
            return Err(IndexError("bytes after the end"));
        }
        if !entries.is_sorted_by(|a: &Entry, b: &Entry| a.path < b.path) {
            return Err(IndexError("not sorted"));
        }
        let tree = Tree::new(entries).map_err(|_| IndexError("not a tree"))?;
        Ok(Self {
            tree: Arc::new(tree),
            offsets,
        })
    }
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    // LEB128: most numbers are small.
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    number(out, value.len() as u64);
    out.extend_from_slice(value);
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], IndexError> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(IndexError("it ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, IndexError> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u64, IndexError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                // One encoding a number: a final zero byte would be a second one.
                return if byte == 0 && shift > 0 {
                    Err(IndexError("a padded number"))
                } else {
                    Ok(value)
                };
            }
        }
        Err(IndexError("a number out of range"))
    }

    fn small(&mut self) -> Result<u32, IndexError> {
        u32::try_from(self.number()?).map_err(|_| IndexError("a number out of range"))
    }

    fn bytes(&mut self) -> Result<&'a [u8], IndexError> {
        let count =
            usize::try_from(self.number()?).map_err(|_| IndexError("a length out of range"))?;
        self.take(count)
    }

    fn path(&mut self) -> Result<TreePath, IndexError> {
        let text = self.bytes()?;
        let path = TreePath::clean(text);
        if path.as_bytes() == text {
            Ok(path)
        } else {
            Err(IndexError("a path that is not clean"))
        }
    }

    fn entry(&mut self) -> Result<(Entry, u64), IndexError> {
        let mut entry = Entry::new(self.path()?, self.small()?, Node::Fifo);
        entry.uid = self.small()?;
        entry.gid = self.small()?;
        entry.mtime = i64::from_le_bytes(
            self.take(8)?
                .try_into()
                .map_err(|_| IndexError("it ends early"))?,
        );
        entry.opaque = match self.byte()? {
            0 => false,
            1 => true,
            _ => return Err(IndexError("a flag that is none")),
        };
        let count = self.number()?;
        let mut xattrs = Xattrs::new();
        for _ in 0..count {
            let name = self.bytes()?.to_vec();
            if xattrs
                .last_key_value()
                .is_some_and(|(last, _)| *last >= name)
            {
                return Err(IndexError("xattrs not sorted"));
            }
            xattrs.insert(name, self.bytes()?.to_vec());
        }
        entry.xattrs = xattrs;
        let mut offset = NONE;
        entry.node = match self.byte()? {
            0 => Node::Directory,
            1 => {
                let size = self.number()?;
                let digest = self
                    .take(32)?
                    .try_into()
                    .map_err(|_| IndexError("it ends early"))?;
                offset = self.number()?;
                Node::File {
                    size,
                    digest: Sha256(digest),
                }
            }
            2 => Node::Symlink {
                target: self.bytes()?.to_vec(),
            },
            3 => Node::Hardlink {
                target: self.path()?,
            },
            4 => Node::CharDevice {
                major: self.small()?,
                minor: self.small()?,
            },
            5 => Node::BlockDevice {
                major: self.small()?,
                minor: self.small()?,
            },
            6 => Node::Fifo,
            7 => Node::Whiteout,
            _ => return Err(IndexError("an unknown kind of entry")),
        };
        Ok((entry, offset))
    }
}
