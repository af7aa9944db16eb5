//! The files of an archive or of an image layout's folder, by path.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use tbuild_oci::{Guard, LayerError, Member, Ratio, decompress, read_layer};
use tbuild_tree::{Node, TreePath};

/// How many links to other members are followed.
const LINKS: usize = 8;

/// Named files.
pub(super) enum Container {
    /// In a tar that can be read from anywhere.
    Tar {
        file: File,
        members: BTreeMap<TreePath, Place>,
    },
    /// In a folder.
    Folder(PathBuf),
}

/// What a member of a tar is.
pub(super) enum Place {
    Content { offset: u64, size: u64 },
    Link(TreePath),
}

impl Container {
    /// The members of the tar at `path`. A compressed one is unpacked into a file without a name first, for a
    /// compressed stream cannot be read from its middle.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = plain(File::open(path)?)?;
        let mut members = BTreeMap::new();
        let read = read_layer(
            io::BufReader::with_capacity(1 << 20, &file),
            |member: Member<'_>| -> Result<(), LayerError> {
                let path = member.entry.path.clone();
                let place = match &member.entry.node {
                    Node::File { size, .. } => Place::Content {
                        offset: member.offset,
                        size: *size,
                    },
                    // `docker save` names a layer that it has already by a link.
                    Node::Symlink { target } => Place::Link(TreePath::clean(
                        path.parent().unwrap_or_default().join(target).as_bytes(),
                    )),
                    Node::Hardlink { target } => Place::Link(target.clone()),
                    _ => return Ok(()),
                };
                members.insert(path, place);
                Ok(())
            },
        );
        read.map_err(io::Error::other)?;
        file.rewind()?;
        Ok(Self::Tar { file, members })
    }

    /// Opens a file, if it is there.
    pub(super) fn file(&self, path: &str) -> io::Result<Option<Box<dyn Read + Send>>> {
        let mut path = TreePath::clean(path.as_bytes());
        match self {
            Self::Folder(folder) => {
                match crate::small::open(&crate::content::in_folder(folder, &path)) {
                    Ok(file) => Ok(Some(Box::new(file))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error),
                }
            }
            Self::Tar { file, members } => {
                for _ in 0..LINKS {
                    match members.get(&path) {
                        Some(Place::Link(target)) => path = target.clone(),
                        Some(Place::Content { offset, size }) => {
                            // A position of its own, whoever else reads the archive.
                            let at = At {
                                file: file.try_clone()?,
                                offset: *offset,
                            };
                            return Ok(Some(Box::new(at.take(*size))));
                        }
                        None => return Ok(None),
                    }
                }
                Ok(None)
            }
        }
    }

    /// Reads a small file whole; more than `limit` bytes are an error.
    pub(super) fn small(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(reader) = self.file(path)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        reader.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::other(format!("{path} is too large")));
        }
        Ok(Some(bytes))
    }
}

/// Reads a file from a position, without moving that of others.
struct At {
    file: File,
    offset: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt as _;
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// The file itself if it is not compressed, else what it holds.
fn plain(mut file: File) -> io::Result<File> {
    let mut magic = [0; 4];
    let got = file.read(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    if !matches!(
        magic[..got],
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..]
    ) {
        return Ok(file);
    }
    let mut unpacked = tempfile::tempfile()?;
    let guard = Guard::new(Ratio::LAYER);
    let reader = decompress(guard.packed(file))?;
    io::copy(&mut guard.unpacked(reader), &mut unpacked)?;
    unpacked.rewind()?;
    Ok(unpacked)
}
