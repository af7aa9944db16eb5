//! Archives as no program would write them.

/// A tar under construction.
#[derive(Clone, Default)]
pub struct Tar(Vec<u8>);

/// The header of a member.
pub fn header(kind: u8, name: &[u8], link: &[u8], mode: u32, size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &name[..name.len().min(100)]);
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    if size < 1 << 33 {
        put(124, format!("{size:011o}\0").as_bytes());
    } else {
        // What octal digits cannot hold (GNU tar, "Basic Tar Format").
        put(124, &[0x80, 0, 0, 0]);
        put(128, &size.to_be_bytes());
    }
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(157, &link[..link.len().min(100)]);
    put(257, b"ustar\x0000");
    // A device has its numbers where others have nothing.
    put(329, b"0000010\0");
    put(337, b"0000000\0");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    /// These bytes.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A member of any kind.
    pub fn member(self, kind: u8, name: &[u8], link: &[u8], mode: u32, content: &[u8]) -> Self {
        let mut tar = self
            .raw(&header(kind, name, link, mode, content.len() as u64))
            .raw(content);
        tar.0.resize(tar.0.len().next_multiple_of(512), 0);
        tar
    }

    pub fn file(self, name: &str, content: &str) -> Self {
        self.mode(name, 0o644, content)
    }

    pub fn mode(self, name: &str, mode: u32, content: &str) -> Self {
        self.member(b'0', name.as_bytes(), b"", mode, content.as_bytes())
    }

    pub fn folder(self, name: &str) -> Self {
        self.member(b'5', name.as_bytes(), b"", 0o755, b"")
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.long(b'2', name.as_bytes(), target.as_bytes())
    }

    pub fn hardlink(self, name: &str, target: &str) -> Self {
        self.long(b'1', name.as_bytes(), target.as_bytes())
    }

    /// A device, 8:0: the first disk of many machines.
    pub fn device(self, kind: u8, name: &str) -> Self {
        self.member(kind, name.as_bytes(), b"", 0o666, b"")
    }

    /// A member of any kind without content, its names of any length.
    pub fn long(self, kind: u8, name: &[u8], link: &[u8]) -> Self {
        let mut records: Vec<(&str, &[u8])> = vec![("path", name)];
        if !link.is_empty() {
            records.push(("linkpath", link));
        }
        self.pax(&records).member(kind, b"x", b"x", 0o644, b"")
    }

    /// Pax records for the member that follows.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.records(b'x', records)
    }

    /// Pax records, for the member that follows or (`g`) for all of them.
    pub fn records(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let mut text = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            text.extend_from_slice(format!("{length} {key}=").as_bytes());
            text.extend_from_slice(value);
            text.push(b'\n');
        }
        self.member(kind, b"pax", b"", 0o644, &text)
    }

    /// The archive with its end.
    pub fn end(self) -> Vec<u8> {
        self.raw(&[0; 1024]).0
    }

    /// The archive as it is, without an end.
    pub fn cut(self) -> Vec<u8> {
        self.0
    }
}
