//! The canonical layer: one tree, one sequence of bytes.
//!
//! Names in the tree's order, parents first; a folder's opaque marker and whiteouts before its other members;
//! ustar headers, numeric owners, no names of users; the time that each entry carries; two zero blocks at the
//! end and nothing after them. Source: OCI image spec, "Image Layer Filesystem Changeset".

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use tbuild_digest::{Hasher, Sha256};
use tbuild_tree::{Entry, Node, Tree, TreePath};

use crate::header::{BLOCK, Header, pad};
use crate::index::LayerIndex;
use crate::limits::{MAX_MEMBERS, MAX_TEXT, bytes_of};

/// What a whiteout's name begins with.
pub(crate) const WHITEOUT: &[u8] = b".wh.";
/// The marker in an opaque folder.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// The longest path that a layer may hold, in bytes. Linux opens up to 4,096 at once, but a program that goes
/// deeper step by step makes longer ones; without a limit a few of them would fill the memory.
pub const MAX_PATH: usize = 16 << 10;

/// Where the contents of a tree's files come from.
pub trait FileContent {
    /// Opens the content of `entry`, a regular file. Called once a file, in the tree's order.
    fn open<'a>(&'a mut self, entry: &Entry) -> io::Result<Box<dyn Read + 'a>>;
}

/// Why a layer could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A file's content could not be read.
    #[error("cannot read {path}")]
    Content {
        /// The file.
        path: TreePath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file's content is not what its entry says.
    #[error("{0} changed while it was being read")]
    Changed(TreePath),
    /// A name that would be read back as a whiteout.
    #[error("{0} has a name that stands for a removed file in a layer")]
    Reserved(TreePath),
    /// The other end failed.
    #[error("cannot write the layer")]
    Write(#[source] io::Error),
    /// The archive could not be read.
    #[error("cannot read the layer")]
    Read(#[source] io::Error),
    /// There are too many files.
    #[error("it holds more than {0} files, which is the most that a layer may hold")]
    Members(u64),
    /// Names and attributes are too long.
    #[error(
        "its names, links and extended attributes come to more than {} MiB, which is the most that a layer may hold",
        .0 >> 20
    )]
    Text(u64),
    /// The archive is no layer.
    #[error("the layer is malformed: {0}")]
    Malformed(String),
}

impl LayerError {
    /// Whether what was read is to blame, and not the reading of it.
    pub fn is_malformed(&self) -> bool {
        match self {
            Self::Read(error) => matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ),
            Self::Malformed(_) | Self::Members(_) | Self::Text(_) | Self::Reserved(_) => true,
            Self::Content { .. } | Self::Changed(_) | Self::Write(_) => false,
        }
    }
}

/// Writes the canonical layer of `tree`, and says where each file's content went.
pub fn write_layer(
    tree: &Tree,
    content: &mut dyn FileContent,
    out: &mut dyn Write,
) -> Result<LayerIndex, LayerError> {
    let mut writer = Writer {
        out,
        position: 0,
        headers: Vec::with_capacity(4 * BLOCK),
        buffer: vec![0; 1 << 18],
    };
    let entries = tree.entries();
    // What is written has to be read again.
    if entries.len() as u64 > MAX_MEMBERS / 2 {
        return Err(LayerError::Members(MAX_MEMBERS / 2));
    }
    if entries.iter().map(bytes_of).sum::<u64>() > MAX_TEXT {
        return Err(LayerError::Text(MAX_TEXT));
    }
    let mut offsets = vec![None; entries.len()];
    // In tree order a whiteout stands among its siblings; readers that apply as they read want it first.
    let mut whiteouts: HashMap<&[u8], Vec<&Entry>> = HashMap::new();
    for entry in entries.iter().filter(|entry| entry.node == Node::Whiteout) {
        let folder = entry.path.parent_bytes().unwrap_or_default();
        whiteouts.entry(folder).or_default().push(entry);
    }
    writer.whiteouts(whiteouts.remove(b"".as_slice()))?;
    for (entry, offset) in entries.iter().zip(&mut offsets) {
        if entry.node == Node::Whiteout {
            // Those of a folder that has no entry of its own come where they stand.
            let folder = entry.path.parent_bytes().unwrap_or_default();
            if whiteouts.contains_key(folder) {
                writer.whiteout(entry)?;
            }
            continue;
        }
        *offset = writer.entry(entry, content)?;
        if entry.is_directory() {
            writer.whiteouts(whiteouts.remove(entry.path.as_bytes()))?;
        }
    }
    writer
        .out
        .write_all(&[0; 2 * BLOCK])
        .map_err(LayerError::Write)?;
    Ok(LayerIndex::new(Arc::new(tree.clone()), offsets))
}

struct Writer<'a> {
    out: &'a mut dyn Write,
    position: u64,
    headers: Vec<u8>,
    buffer: Vec<u8>,
}

impl Writer<'_> {
    fn whiteouts(&mut self, entries: Option<Vec<&Entry>>) -> Result<(), LayerError> {
        for entry in entries.into_iter().flatten() {
            self.whiteout(entry)?;
        }
        Ok(())
    }

    fn header(&mut self, header: &Header<'_>) -> Result<(), LayerError> {
        self.headers.clear();
        header.encode(&mut self.headers);
        self.out
            .write_all(&self.headers)
            .map_err(LayerError::Write)?;
        self.position += self.headers.len() as u64;
        Ok(())
    }

    fn marker(&mut self, name: &[u8]) -> Result<(), LayerError> {
        let plain = Entry::new(TreePath::root(), 0, Node::Whiteout);
        self.header(&Header {
            name,
            kind: b'0',
            link: b"",
            size: 0,
            device: (0, 0),
            entry: &plain,
        })
    }

    fn whiteout(&mut self, entry: &Entry) -> Result<(), LayerError> {
        let name = [WHITEOUT, entry.path.name().unwrap_or_default()].concat();
        let path = entry.path.parent().unwrap_or_default().join(&name);
        self.marker(path.as_bytes())
    }

    /// Writes one entry; where its content starts, if it has any place for it.
    fn entry(
        &mut self,
        entry: &Entry,
        content: &mut dyn FileContent,
    ) -> Result<Option<u64>, LayerError> {
        if entry
            .path
            .name()
            .is_some_and(|name| name.starts_with(WHITEOUT))
        {
            return Err(LayerError::Reserved(entry.path.clone()));
        }
        let mut name = entry.path.as_bytes().to_vec();
        if entry.is_directory() {
            if name.is_empty() {
                name.push(b'.');
            }
            name.push(b'/');
        }
        let plain = |kind: u8| Header {
            name: &name,
            kind,
            link: b"",
            size: 0,
            device: (0, 0),
            entry,
        };
        match &entry.node {
            Node::Directory => {
                self.header(&plain(b'5'))?;
                if entry.opaque {
                    self.marker(entry.path.join(OPAQUE).as_bytes())?;
                }
                Ok(None)
            }
            Node::File { size, digest } => {
                self.header(&Header {
                    size: *size,
                    ..plain(b'0')
                })?;
                let offset = self.position;
                self.content(entry, *size, digest, content)?;
                Ok(Some(offset))
            }
            Node::Symlink { target } => self
                .header(&Header {
                    link: target,
                    ..plain(b'2')
                })
                .map(|()| None),
            Node::Hardlink { target } => self
                .header(&Header {
                    link: target.as_bytes(),
                    ..plain(b'1')
                })
                .map(|()| None),
            Node::CharDevice { major, minor } => self
                .header(&Header {
                    device: (*major, *minor),
                    ..plain(b'3')
                })
                .map(|()| None),
            Node::BlockDevice { major, minor } => self
                .header(&Header {
                    device: (*major, *minor),
                    ..plain(b'4')
                })
                .map(|()| None),
            Node::Fifo => self.header(&plain(b'6')).map(|()| None),
            Node::Whiteout => Ok(None),
        }
    }

    /// Copies a file's content, and checks that it is what the entry says: the tree was made earlier.
    fn content(
        &mut self,
        entry: &Entry,
        size: u64,
        digest: &Sha256,
        content: &mut dyn FileContent,
    ) -> Result<(), LayerError> {
        let failed = |source| LayerError::Content {
            path: entry.path.clone(),
            source,
        };
        let mut reader = content.open(entry).map_err(failed)?;
        let mut hasher = Hasher::new();
        let mut left = size;
        loop {
            let count = match reader.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            left = left
                .checked_sub(count as u64)
                .ok_or_else(|| LayerError::Changed(entry.path.clone()))?;
            hasher.update(&self.buffer[..count]);
            self.out
                .write_all(&self.buffer[..count])
                .map_err(LayerError::Write)?;
        }
        if left != 0 || hasher.finish() != *digest {
            return Err(LayerError::Changed(entry.path.clone()));
        }
        self.headers.clear();
        pad(&mut self.headers, size);
        self.out
            .write_all(&self.headers)
            .map_err(LayerError::Write)?;
        self.position += size + self.headers.len() as u64;
        Ok(())
    }
}
