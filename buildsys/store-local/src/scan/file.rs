//! One file: its stat key, its digest.

use std::ffi::CStr;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxFlags};
use rustix::io::Errno;
use tbuild_digest::{Hasher, Sha256};

/// How often a file that changes while it is read is read again.
const TRIES: usize = 4;

/// What is compared to see that a file is unchanged. The owner is not part of it: trees do not carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatKey {
    /// Type and permission bits.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// Time of the last change of the content, in ns since the epoch.
    pub mtime: i64,
    /// Time of the last change of anything, in ns since the epoch.
    pub ctime: i64,
    /// Inode number.
    pub inode: u64,
}

impl StatKey {
    /// Bytes in a cache file.
    pub const LEN: usize = 36;

    /// What `stat` says.
    pub fn of(stat: &Statx) -> Self {
        Self {
            mode: u32::from(stat.stx_mode),
            size: stat.stx_size,
            mtime: nanoseconds(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            ctime: nanoseconds(stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
            inode: stat.stx_ino,
        }
    }

    /// Reads the first [`StatKey::LEN`] bytes.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(Self {
            mode: u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?),
            size: number(4)?,
            mtime: number(12)? as i64,
            ctime: number(20)? as i64,
            inode: number(28)?,
        })
    }

    /// What [`StatKey::parse`] reads.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.mode.to_le_bytes());
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(&self.mtime.to_le_bytes());
        bytes.extend_from_slice(&self.ctime.to_le_bytes());
        bytes.extend_from_slice(&self.inode.to_le_bytes());
    }

    /// The file's type.
    pub fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// Whether a change right after `now` (ns since the epoch, before the file was read) could leave this
    /// key as it is. Times of files advance with the kernel's tick, of some file systems by whole seconds.
    pub fn is_racy(&self, now: i64) -> bool {
        const SECOND: i64 = 1_000_000_000;
        let whole = self.mtime % SECOND == 0 && self.ctime % SECOND == 0;
        let oldest = now.saturating_sub(if whole { 2 * SECOND } else { SECOND / 50 });
        // A change time cannot be set by hand; a content time can, far into the future too, where it says
        // nothing and the change time stands guard alone.
        let newest = now.saturating_add(2 * SECOND);
        self.ctime >= oldest || (oldest..=newest).contains(&self.mtime)
    }
}

/// The clock that file systems stamp files by, in ns since the epoch.
pub fn now() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    nanoseconds(now.tv_sec, now.tv_nsec as u32)
}

fn nanoseconds(seconds: i64, nanoseconds: u32) -> i64 {
    seconds
        .wrapping_mul(1_000_000_000)
        .wrapping_add(i64::from(nanoseconds))
}

/// The stat key of `name` in `folder`, links not followed; none if it is gone.
pub fn stat(folder: BorrowedFd<'_>, name: &CStr) -> Result<Option<StatKey>, Errno> {
    const MASK: StatxFlags = StatxFlags::TYPE
        .union(StatxFlags::MODE)
        .union(StatxFlags::SIZE)
        .union(StatxFlags::MTIME)
        .union(StatxFlags::CTIME)
        .union(StatxFlags::INO);
    match rustix::fs::statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, MASK) {
        Ok(stat) => Ok(Some(StatKey::of(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// What came of reading a file.
pub enum Hashed {
    /// Its digest, and the key that goes with it.
    Content(Sha256, StatKey),
    /// It is gone, or no regular file any more.
    Gone,
    /// It changed each time it was read.
    Unstable,
}

/// Hashes the regular file `name` in `folder`; `buffer` is room to read into.
pub fn hash(folder: BorrowedFd<'_>, name: &CStr, buffer: &mut [u8]) -> Result<Hashed, Errno> {
    // Not blocking: in the place of a file there may be a named pipe by now.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    for _ in 0..TRIES {
        let mut file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(Hashed::Gone),
            Err(errno) => return Err(errno),
        };
        let before = key_of(&file)?;
        if before.file_type() != FileType::RegularFile {
            return Ok(Hashed::Gone);
        }
        let mut hasher = Hasher::new();
        let mut size = 0;
        loop {
            match file.read(buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hasher.update(&buffer[..count]);
                    size += count as u64;
                    // A file as long as it was is read to its end by the read that would find nothing.
                    if size == before.size && count < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            }
        }
        let after = key_of(&file)?;
        if before == after && size == before.size {
            return Ok(Hashed::Content(hasher.finish(), before));
        }
    }
    Ok(Hashed::Unstable)
}

fn key_of(file: &File) -> Result<StatKey, Errno> {
    let mask = StatxFlags::BASIC_STATS;
    rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, mask).map(|stat| StatKey::of(&stat))
}
