//! Reading tar archives: ustar, pax, GNU's long names and numbers (POSIX.1-2017, pax, "ustar Interchange Format"
//! and "pax Interchange Format"; GNU tar, "Basic Tar Format").
//!
//! Own code for the sake of pax records: they have lengths, so that names and values may hold any byte. A reader
//! that looks for line ends instead refuses a file whose name has one, and takes what stands in an attribute's
//! value for a record.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{self, Read};

use crate::header::BLOCK;

/// The most bytes that one member's extended header may have.
const MAX_EXTENDED: u64 = 1 << 20;

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// An archive being read.
pub(crate) struct Archive<R>(RefCell<Stream<R>>);

struct Stream<R> {
    reader: R,
    /// Bytes read so far.
    position: u64,
    /// Where the current member's content ends, and where the next header starts.
    end: u64,
    next: u64,
}

impl<R: Read> Stream<R> {
    /// Fills `buffer`; how much of it before the archive ended.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.position += filled as u64;
        Ok(filled)
    }

    /// Goes to the next header.
    fn skip(&mut self) -> io::Result<()> {
        let left = self.next - self.position;
        let skipped = io::copy(&mut (&mut self.reader).take(left), &mut io::sink())?;
        self.position += skipped;
        if skipped < left {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it ends in the middle of a member",
            ));
        }
        Ok(())
    }

    /// The next header block; none at the end of the archive.
    fn block(&mut self) -> io::Result<Option<Header>> {
        self.skip()?;
        let mut block = [0; BLOCK];
        match self.fill(&mut block)? {
            0 => return Ok(None),
            BLOCK => {}
            _ => return Err(malformed("it ends in the middle of a header")),
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header(block);
        if !header.has_its_sum() {
            return Err(malformed("a header's checksum is wrong"));
        }
        // Until the member says more, its content is what the header says.
        self.extent(header.size()?)?;
        Ok(Some(header))
    }

    /// Sets how much content follows the header that was just read.
    fn extent(&mut self, size: u64) -> io::Result<()> {
        let end = self.position.checked_add(size);
        let next = end.and_then(|end| {
            let over = (end - self.position) % BLOCK as u64;
            end.checked_add(if over > 0 { BLOCK as u64 - over } else { 0 })
        });
        (self.end, self.next) = end
            .zip(next)
            .ok_or_else(|| malformed("a member's size cannot be"))?;
        Ok(())
    }

    /// The content of an extended header.
    fn extended(&mut self) -> io::Result<Vec<u8>> {
        let size = self.end - self.position;
        if size > MAX_EXTENDED {
            return Err(malformed("an extended header is too large"));
        }
        let mut content = vec![0; size as usize];
        if self.fill(&mut content)? < content.len() {
            return Err(malformed("it ends in the middle of an extended header"));
        }
        Ok(content)
    }
}

impl<R: Read> Archive<R> {
    /// An archive at its start.
    pub(crate) fn new(reader: R) -> Self {
        Self(RefCell::new(Stream {
            reader,
            position: 0,
            end: 0,
            next: 0,
        }))
    }

    /// Its members. Each has to be done with before the next is asked for.
    #[expect(
        clippy::unnecessary_wraps,
        clippy::needless_pass_by_ref_mut,
        reason = "as readers of archives are used"
    )]
    pub(crate) fn entries(&mut self) -> io::Result<Entries<'_, R>> {
        Ok(Entries(Some(&self.0)))
    }
}

/// The members of an archive, in order. An error is the last of them.
pub(crate) struct Entries<'a, R>(Option<&'a RefCell<Stream<R>>>);

impl<'a, R: Read> Iterator for Entries<'a, R> {
    type Item = io::Result<Entry<'a, R>>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = read_entry(self.0?).transpose();
        if !matches!(entry, Some(Ok(_))) {
            self.0 = None;
        }
        entry
    }
}

fn read_entry<R: Read>(cell: &RefCell<Stream<R>>) -> io::Result<Option<Entry<'_, R>>> {
    let mut stream = cell.borrow_mut();
    let (mut name, mut link, mut records) = (None, None, Vec::new());
    loop {
        let Some(header) = stream.block()? else {
            return Ok(None);
        };
        match header.0[156] {
            b'x' => records = parse(&stream.extended()?)?,
            b'L' => name = Some(until_nul(&stream.extended()?).to_vec()),
            b'K' => link = Some(until_nul(&stream.extended()?).to_vec()),
            _ => {
                let last = |key: &[u8]| {
                    let mut found = records.iter().rev();
                    found
                        .find(|record: &&Record| record.key == key)
                        .map(|record| record.value.clone())
                };
                if let Some(size) = last(b"size") {
                    let size = std::str::from_utf8(&size)
                        .ok()
                        .and_then(|text| text.parse().ok());
                    stream.extent(size.ok_or_else(|| malformed("a size cannot be read"))?)?;
                }
                if header.entry_type().has_no_content() {
                    stream.extent(0)?;
                }
                let path = last(b"path").or(name).unwrap_or_else(|| header.name());
                let link = last(b"linkpath").or(link).or_else(|| header.link());
                return Ok(Some(Entry {
                    stream: cell,
                    start: stream.position,
                    size: stream.end - stream.position,
                    path,
                    link,
                    records,
                    header,
                }));
            }
        }
    }
}

/// Pax records: a length in decimal that covers the whole record, a space, key, `=`, value, newline.
fn parse(mut text: &[u8]) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    while !text.is_empty() {
        let record = (|| {
            let space = text.iter().position(|byte| *byte == b' ')?;
            let length: usize = std::str::from_utf8(&text[..space]).ok()?.parse().ok()?;
            let record = text.get(space + 1..length)?.strip_suffix(b"\n")?;
            text = &text[length..];
            let equals = record.iter().position(|byte| *byte == b'=')?;
            Some(Record {
                key: record[..equals].to_vec(),
                value: record[equals + 1..].to_vec(),
            })
        })();
        records.push(record.ok_or_else(|| malformed("a pax record is malformed"))?);
    }
    Ok(records)
}

/// One record of a pax header.
pub(crate) struct Record {
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Record {
    /// What it is about.
    pub(crate) fn key_bytes(&self) -> &[u8] {
        &self.key
    }

    /// What it says.
    pub(crate) fn value_bytes(&self) -> &[u8] {
        &self.value
    }
}

/// A member. Reading it reads its content.
pub(crate) struct Entry<'a, R> {
    stream: &'a RefCell<Stream<R>>,
    start: u64,
    size: u64,
    path: Vec<u8>,
    link: Option<Vec<u8>>,
    records: Vec<Record>,
    header: Header,
}

impl<R> Entry<'_, R> {
    /// Its name as it stands in the archive, extended headers counted in.
    pub(crate) fn path_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.path)
    }

    /// What it links to, if it says so.
    pub(crate) fn link_name_bytes(&self) -> Option<Cow<'_, [u8]>> {
        self.link.as_deref().map(Cow::Borrowed)
    }

    /// Its header.
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes of its content.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Where its content starts, in bytes from the start of the archive.
    pub(crate) fn raw_file_position(&self) -> u64 {
        self.start
    }

    /// The records of its pax header.
    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }
}

impl<R: Read> Read for Entry<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.stream.borrow_mut();
        let left = usize::try_from(stream.end - stream.position).unwrap_or(usize::MAX);
        let most = left.min(buffer.len());
        let count = stream.reader.read(&mut buffer[..most])?;
        stream.position += count as u64;
        Ok(count)
    }
}

/// What a member is (the header's type flag).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryType {
    Regular,
    Continuous,
    Link,
    Symlink,
    Char,
    Block,
    Directory,
    Fifo,
    XGlobalHeader,
    Other(u8),
}

impl EntryType {
    /// Whether a size in the header means nothing.
    fn has_no_content(self) -> bool {
        !matches!(
            self,
            Self::Regular | Self::Continuous | Self::XGlobalHeader | Self::Other(_)
        )
    }
}

/// A header block.
pub(crate) struct Header([u8; BLOCK]);

impl Header {
    /// The sum of all bytes, the sum's own field taken for spaces. Some old programs added signed bytes.
    fn has_its_sum(&self) -> bool {
        let bytes = self.0.iter().enumerate().map(|(at, byte)| {
            if (148..156).contains(&at) {
                b' '
            } else {
                *byte
            }
        });
        let (plain, signed) = bytes.fold((0_i64, 0_i64), |(plain, signed), byte| {
            (plain + i64::from(byte), signed + i64::from(byte as i8))
        });
        octal(&self.0[148..156]).is_some_and(|sum| [plain, signed].contains(&(sum as i64)))
    }

    fn name(&self) -> Vec<u8> {
        let name = until_nul(&self.0[..100]);
        let prefix = until_nul(&self.0[345..500]);
        // GNU's own format has other things where ustar has the prefix.
        if &self.0[257..263] == b"ustar\0" && !prefix.is_empty() {
            return [prefix, b"/", name].concat();
        }
        name.to_vec()
    }

    fn link(&self) -> Option<Vec<u8>> {
        let link = until_nul(&self.0[157..257]);
        (!link.is_empty()).then(|| link.to_vec())
    }

    fn number(&self, from: usize, length: usize, what: &str) -> io::Result<u64> {
        let field = &self.0[from..from + length];
        let found = if field[0] & 0x80 == 0 {
            octal(field)
        } else {
            binary(field)
        };
        found.ok_or_else(|| malformed(&format!("its {what} cannot be read")))
    }

    fn size(&self) -> io::Result<u64> {
        self.number(124, 12, "size")
    }

    /// Permission bits, and on some systems more.
    pub(crate) fn mode(&self) -> io::Result<u32> {
        Ok(self.number(100, 8, "mode")? as u32)
    }

    /// The owner.
    pub(crate) fn uid(&self) -> io::Result<u64> {
        self.number(108, 8, "owner")
    }

    /// The group.
    pub(crate) fn gid(&self) -> io::Result<u64> {
        self.number(116, 8, "group")
    }

    /// The time, in seconds since 1970.
    pub(crate) fn mtime(&self) -> io::Result<u64> {
        self.number(136, 12, "time")
    }

    /// The device's class.
    pub(crate) fn device_major(&self) -> io::Result<Option<u32>> {
        self.device(329)
    }

    /// Which of its class.
    pub(crate) fn device_minor(&self) -> io::Result<Option<u32>> {
        self.device(337)
    }

    fn device(&self, from: usize) -> io::Result<Option<u32>> {
        let is_ustar = &self.0[257..262] == b"ustar";
        let number = || self.number(from, 8, "device");
        is_ustar
            .then(number)
            .transpose()
            .map(|found| found.map(|number| number as u32))
    }

    /// What it is.
    pub(crate) fn entry_type(&self) -> EntryType {
        match self.0[156] {
            // From before there were folders in archives.
            0 if self.name().ends_with(b"/") => EntryType::Directory,
            0 | b'0' => EntryType::Regular,
            b'1' => EntryType::Link,
            b'2' => EntryType::Symlink,
            b'3' => EntryType::Char,
            b'4' => EntryType::Block,
            b'5' => EntryType::Directory,
            b'6' => EntryType::Fifo,
            b'7' => EntryType::Continuous,
            b'g' => EntryType::XGlobalHeader,
            other => EntryType::Other(other),
        }
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// An octal number with spaces around it; an empty field is 0.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(until_nul(field))
        .ok()?
        .trim_matches(' ');
    if text.is_empty() {
        return Some(0);
    }
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| u64::from_str_radix(text, 8).ok())?
}

/// GNU's numbers for what octal digits cannot hold: the first bit set, then big-endian. Negative ones are none.
fn binary(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    let start = u64::from(first & 0x7f);
    rest.iter().try_fold(start, |number, byte| {
        (number < 1 << 56).then_some(number << 8 | u64::from(*byte))
    })
}
