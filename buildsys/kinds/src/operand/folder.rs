//! A plain folder as one layer: owners, modes, times, links and xattrs as they are on the disk.

use std::collections::HashMap;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{FileType, major, minor};
use tbuild_digest::HashingReader;
use tbuild_tree::{Entry, Node, Tree, TreePath, Xattrs};

use crate::content::{in_folder, open_file};

/// The largest list of names, and the largest value, of xattrs (Linux: `XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const XATTRS: usize = 64 << 10;

/// Everything below `root`; the folder itself is left out, for its owner and time are nobody's choice. Sockets
/// are left out.
pub(super) fn tree(root: &Path) -> io::Result<Tree> {
    let mut entries = Vec::new();
    let mut inodes: HashMap<(u64, u64), TreePath> = HashMap::new();
    let mut todo = vec![TreePath::root()];
    while let Some(folder) = todo.pop() {
        let mut names = Vec::new();
        for member in std::fs::read_dir(in_folder(root, &folder))? {
            names.push(member?.file_name());
        }
        names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        for name in names {
            let path = folder.join(name.as_bytes());
            if let Some(entry) = entry(root, &path)? {
                if entry.is_directory() {
                    todo.push(path);
                }
                entries.push(entry);
            }
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    for entry in &mut entries {
        let file = in_folder(root, &entry.path);
        let Node::File { size, digest } = &mut entry.node else {
            continue;
        };
        let stat = file.symlink_metadata()?;
        if stat.nlink() > 1 {
            let inode = (stat.dev(), stat.ino());
            if let Some(first) = inodes.get(&inode) {
                entry.node = Node::Hardlink {
                    target: first.clone(),
                };
                continue;
            }
            inodes.insert(inode, entry.path.clone());
        }
        let mut reader = HashingReader::new(open_file(&file)?);
        io::copy(&mut reader, &mut io::sink())?;
        (*digest, *size) = reader.finish();
    }
    Tree::new(entries).map_err(io::Error::other)
}

fn entry(root: &Path, path: &TreePath) -> io::Result<Option<Entry>> {
    let file = in_folder(root, path);
    let stat = file.symlink_metadata()?;
    let (major, minor) = (major(stat.rdev()), minor(stat.rdev()));
    let node = match FileType::from_raw_mode(stat.mode()) {
        FileType::Directory => Node::Directory,
        FileType::RegularFile => Node::File {
            size: stat.size(),
            digest: tbuild_digest::Sha256([0; 32]),
        },
        FileType::Symlink => Node::Symlink {
            target: std::fs::read_link(&file)?.as_os_str().as_bytes().to_vec(),
        },
        FileType::CharacterDevice => Node::CharDevice { major, minor },
        FileType::BlockDevice => Node::BlockDevice { major, minor },
        FileType::Fifo => Node::Fifo,
        _ => return Ok(None),
    };
    let mut entry = Entry::new(path.clone(), stat.mode() & 0o7777, node);
    (entry.uid, entry.gid, entry.mtime) = (stat.uid(), stat.gid(), stat.mtime());
    entry.xattrs = xattrs(&file)?;
    Ok(Some(entry))
}

/// The xattrs that layers carry.
fn xattrs(file: &Path) -> io::Result<Xattrs> {
    let mut kept = Xattrs::new();
    let mut names = vec![0; XATTRS];
    let length = match rustix::fs::llistxattr(file, names.as_mut_slice()) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => return Ok(kept),
        Err(error) => return Err(error.into()),
    };
    for name in names[..length].split(|byte| *byte == 0) {
        if name != b"security.capability" && !name.starts_with(b"user.") {
            continue;
        }
        let mut value = vec![0; XATTRS];
        let length = rustix::fs::lgetxattr(file, name, value.as_mut_slice())?;
        value.truncate(length);
        kept.insert(name.to_vec(), value);
    }
    Ok(kept)
}
