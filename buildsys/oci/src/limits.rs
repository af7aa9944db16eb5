//! What layers and archives may hold, and what may come of something packed: a few bytes of an archive can stand
//! for more than a disk or a memory holds.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use tbuild_tree::{Entry, Node};

/// The most members that a layer may hold. Images of whole distributions have a few hundred thousand.
pub const MAX_MEMBERS: u64 = 4_000_000;

/// The most bytes that all names, links and extended attributes of a layer may have: what is kept of it in memory.
pub const MAX_TEXT: u64 = 512 << 20;

/// What is read at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most {
    /// Members.
    pub members: u64,
    /// Bytes of names, links and attributes.
    pub text: u64,
}

impl Default for Most {
    fn default() -> Self {
        Self {
            members: MAX_MEMBERS,
            text: MAX_TEXT,
        }
    }
}

/// The longest name of a file, in bytes (Linux: `NAME_MAX`).
pub(crate) const MAX_NAME: usize = 255;

/// The longest target of a symbolic link, in bytes (Linux: `PATH_MAX`, its closing zero not counted).
pub(crate) const MAX_LINK: usize = 4095;

/// Bytes that an entry keeps in memory beside its own size.
pub(crate) fn bytes_of(entry: &Entry) -> u64 {
    let link = match &entry.node {
        Node::Symlink { target } => target.len(),
        Node::Hardlink { target } => target.as_bytes().len(),
        _ => 0,
    };
    let xattrs = entry.xattrs.iter();
    let xattrs: usize = xattrs.map(|(name, value)| name.len() + value.len()).sum();
    (entry.path.as_bytes().len() + link + xattrs) as u64
}

/// How much may come of something packed.
#[derive(Debug, Clone, Copy)]
pub struct Ratio {
    /// Bytes up to which the ratio does not count.
    pub bytes: u64,
    /// Bytes unpacked for one that is packed.
    pub ratio: u64,
}

impl Ratio {
    /// Of archives that are unpacked into an image. Texts come to 20, gzip cannot do more than 1,032.
    pub const ARCHIVE: Self = Self {
        bytes: 512 << 20,
        ratio: 200,
    };
    /// Of an image's layers. They may be made of what packs very well, such as files of a database that are all
    /// zeros.
    pub const LAYER: Self = Self {
        bytes: 1 << 30,
        ratio: 200,
    };
}

/// More came of something packed than may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it unpacks to more than {} MiB and more than {} times its size: it may be made to fill the disk",
    .bytes >> 20,
    .ratio
)]
pub struct Bomb {
    bytes: u64,
    ratio: u64,
}

impl Bomb {
    /// What who knows better can do about a layer.
    pub const LAYER_HINT: &'static str = "if the layer is what it should be, copy the image without compression \
         (skopeo copy --dest-decompress): then no ratio counts";

    /// The bomb among the causes of an error, if it is one.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Self>().copied()
    }
}

/// Compares what goes into something that unpacks with what comes out.
#[derive(Debug)]
pub struct Guard {
    ratio: Ratio,
    packed: AtomicU64,
}

impl Guard {
    /// With nothing read.
    pub fn new(ratio: Ratio) -> Self {
        Self {
            ratio,
            packed: AtomicU64::new(0),
        }
    }

    /// What is packed: to be unpacked out of what this gives.
    pub fn packed<R: Read>(&self, reader: R) -> Packed<'_, R> {
        Packed {
            reader,
            guard: self,
        }
    }

    /// What came of it: an error whose inside is a [`Bomb`] once it is too much.
    pub fn unpacked<R: Read>(&self, reader: R) -> Unpacked<'_, R> {
        Unpacked {
            reader,
            guard: self,
            bytes: 0,
        }
    }
}

/// Something packed, counted.
pub struct Packed<'a, R> {
    reader: R,
    guard: &'a Guard,
}

impl<R: Read> Read for Packed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.guard.packed.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// What came of something packed, held against it.
pub struct Unpacked<'a, R> {
    reader: R,
    guard: &'a Guard,
    bytes: u64,
}

impl<R: Read> Read for Unpacked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.bytes += count as u64;
        let Ratio { bytes, ratio } = self.guard.ratio;
        let packed = self.guard.packed.load(Ordering::Relaxed);
        if self.bytes > bytes && self.bytes / ratio > packed {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                Bomb { bytes, ratio },
            ));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use tbuild_tree::Tree;

    use super::*;
    use crate::read::walk;
    use crate::{FileContent, LayerError, write_layer};

    struct Nothing;

    impl FileContent for Nothing {
        fn open<'a>(&'a mut self, _: &Entry) -> io::Result<Box<dyn Read + 'a>> {
            Ok(Box::new(io::empty()))
        }
    }

    /// A layer of `count` named pipes.
    fn layer(count: usize) -> Vec<u8> {
        let entries = (0..count).map(|number| {
            let mut entry = Entry::new(
                format!("pipe{number:03}").as_str().into(),
                0o644,
                Node::Fifo,
            );
            let value = vec![b'x'; 1000];
            entry.xattrs.insert(b"user.note".to_vec(), value);
            entry
        });
        let tree = Tree::new(entries.collect()).expect("a tree");
        let mut tar = Vec::new();
        write_layer(&tree, &mut Nothing, &mut tar).expect("written");
        tar
    }

    fn read(tar: &[u8], most: Most) -> Result<usize, LayerError> {
        let mut seen = 0;
        walk(tar, true, most, |_| {
            seen += 1;
            Ok::<(), LayerError>(())
        })?;
        Ok(seen)
    }

    #[test]
    fn members_and_their_texts_are_counted() {
        let tar = layer(10);
        let few = |members| Most {
            members,
            ..Most::default()
        };
        assert_eq!(read(&tar, few(10)).expect("all of it"), 10);
        assert!(matches!(read(&tar, few(9)), Err(LayerError::Members(9))));
        let short = |text| Most {
            text,
            ..Most::default()
        };
        assert_eq!(read(&tar, short(10 * 1016)).expect("all of it"), 10);
        assert!(matches!(
            read(&tar, short(10 * 1016 - 1)),
            Err(LayerError::Text(_))
        ));
    }

    #[test]
    fn only_what_is_large_and_packed_well_is_a_bomb() {
        const FEW: Ratio = Ratio {
            bytes: 1000,
            ratio: 10,
        };
        let unpack = |packed: u64, unpacked: u64| {
            let guard = Guard::new(FEW);
            io::copy(
                &mut guard.packed(io::repeat(0).take(packed)),
                &mut io::sink(),
            )
            .expect("counted");
            io::copy(
                &mut guard.unpacked(io::repeat(0).take(unpacked)),
                &mut io::sink(),
            )
        };
        assert_eq!(unpack(1, 1000).expect("small"), 1000);
        assert_eq!(
            unpack(100_000, 1_000_000).expect("packed as usual"),
            1_000_000
        );
        let error = unpack(1, 1_000_000).expect_err("too much");
        let bomb = Bomb::of(&error).expect("a bomb");
        assert!(bomb.to_string().contains("more than 10 times"), "{bomb}");
        assert_eq!(Bomb::of(&io::Error::other("x")), None);
    }

    /// A tar of members of any kind without content, with the names of a pax header.
    fn archive(members: &[(u8, &[u8], &[u8])]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (kind, name, link) in members {
            let entry = Entry::new("x".into(), 0o644, Node::Fifo);
            let header = crate::header::Header {
                name,
                kind: *kind,
                link,
                size: 0,
                device: (0, 0),
                entry: &entry,
            };
            header.encode(&mut tar);
        }
        tar
    }

    #[test]
    fn names_that_no_file_can_have_are_refused() {
        let read = |name: &[u8], layer| {
            let tar = archive(&[(b'6', name, b"")]);
            walk::<LayerError>(tar.as_slice(), layer, Most::default(), |_| Ok(()))
        };
        let removed = [b".wh.".as_slice(), &b"n".repeat(255)].concat();
        for layer in [true, false] {
            read(&b"n".repeat(255), layer).expect("as long as names may be");
            read(&b"n".repeat(256), layer).expect_err("too long");
            let long = [b"d/\0/".as_slice(), &b"n".repeat(200)].concat();
            read(&long, layer).expect_err("a zero byte");
        }
        read(&removed, true).expect("it marks a file as removed");
        read(&removed, false).expect_err("it is a file");
        let linked = |target: &[u8]| {
            let tar = archive(&[(b'2', b"l", target)]);
            walk::<LayerError>(tar.as_slice(), true, Most::default(), |_| Ok(()))
        };
        linked(&b"t".repeat(4095)).expect("as long as targets may be");
        for target in [b"t".repeat(4096), b"to\0nul".repeat(50), Vec::new()] {
            linked(&target).expect_err("no target");
        }
    }

    #[test]
    fn links_to_links_are_followed_once() {
        let names: Vec<String> = (0..=20_000).map(|number| format!("l{number}")).collect();
        // The longest way first, and then around in a circle.
        let mut members: Vec<(u8, &[u8], &[u8])> = names
            .windows(2)
            .map(|pair| (b'1', pair[0].as_bytes(), pair[1].as_bytes()))
            .collect();
        members.push((b'0', names[20_000].as_bytes(), b""));
        let index = crate::index_layer(archive(&members).as_slice()).expect("a layer");
        let entries = index.tree().entries();
        assert_eq!(entries.len(), 20_001);
        let files = entries
            .iter()
            .filter(|entry| matches!(entry.node, Node::File { .. }));
        assert_eq!(files.count(), 1);
        members.pop();
        members.push((b'1', names[20_000].as_bytes(), b"l0"));
        let error = crate::index_layer(archive(&members).as_slice()).expect_err("a circle");
        assert!(
            error.to_string().contains("no file of the layer"),
            "{error}"
        );
    }
}
