//! The smallest program of a platform: it exits with status 0. Source of the layout: System V ABI, "Object
//! Files", and the processor supplements; of the calls, syscall(2).

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tbuild_dockerfile::Platform;

/// Where the program is in memory.
const BASE: u64 = 0x40_0000;
/// How often a program is tried that another process still has open, having inherited it from this one.
const TRIES: usize = 20;

struct Machine {
    wide: bool,
    little: bool,
    number: u16,
    flags: u32,
    code: &'static [u8],
}

/// exit(0).
fn machine(architecture: &str) -> Option<Machine> {
    let (wide, little, number, flags, code): (_, _, _, _, &[u8]) = match architecture {
        // xor edi, edi; mov eax, 60; syscall
        "amd64" => (true, true, 62, 0, b"\x31\xff\xb8\x3c\0\0\0\x0f\x05"),
        // xor ebx, ebx; mov eax, 1; int 0x80
        "386" => (false, true, 3, 0, b"\x31\xdb\xb8\x01\0\0\0\xcd\x80"),
        // mov x0, 0; mov x8, 93; svc 0
        "arm64" => (
            true,
            true,
            183,
            0,
            b"\0\0\x80\xd2\xa8\x0b\x80\xd2\x01\0\0\xd4",
        ),
        // mov r0, 0; mov r7, 1; svc 0
        "arm" => (
            false,
            true,
            40,
            0x0500_0000,
            b"\0\0\xa0\xe3\x01\x70\xa0\xe3\0\0\0\xef",
        ),
        // li a0, 0; li a7, 93; ecall
        "riscv64" => (
            true,
            true,
            243,
            0,
            b"\x13\x05\0\0\x93\x08\xd0\x05\x73\0\0\0",
        ),
        // li 3, 0; li 0, 1; sc
        "ppc64le" => (true, true, 21, 2, b"\0\0\x60\x38\x01\0\0\x38\x02\0\0\x44"),
        // lghi %r2, 0; svc 1
        "s390x" => (true, false, 22, 0, b"\xa7\x29\0\0\x0a\x01"),
        _ => return None,
    };
    Some(Machine {
        wide,
        little,
        number,
        flags,
        code,
    })
}

impl Machine {
    /// `value` in as many bytes as asked for.
    fn put(&self, bytes: &mut Vec<u8>, value: u64, length: usize) {
        if self.little {
            bytes.extend(&value.to_le_bytes()[..length]);
        } else {
            bytes.extend(&value.to_be_bytes()[8 - length..]);
        }
    }

    fn elf(&self) -> Vec<u8> {
        let word = if self.wide { 8 } else { 4 };
        let (header, segment) = if self.wide { (64, 56) } else { (52, 32) };
        let start = header + segment;
        let size = start + self.code.len() as u64;
        let mut bytes = b"\x7fELF".to_vec();
        bytes.extend([1 + u8::from(self.wide), 2 - u8::from(self.little), 1]);
        bytes.resize(16, 0);
        for (value, length) in [
            (2, 2),
            (u64::from(self.number), 2),
            (1, 4),
            (BASE + start, word),
            (header, word),
            (0, word),
            (u64::from(self.flags), 4),
            (header, 2),
            (segment, 2),
            (1, 2),
            (0, 2),
            (0, 2),
            (0, 2),
        ] {
            self.put(&mut bytes, value, length);
        }
        // One segment to load, readable and executable. Where its flags stand depends on the width.
        let mut fields = vec![
            (1, 4),
            (0, word),
            (BASE, word),
            (BASE, word),
            (size, word),
            (size, word),
        ];
        fields.insert(if self.wide { 1 } else { 6 }, (5, 4));
        fields.push((0x1000, word));
        for (value, length) in fields {
            self.put(&mut bytes, value, length);
        }
        bytes.extend(self.code);
        bytes
    }
}

/// A program for `platform`; none where it is not known what one is.
pub(super) fn program(platform: &Platform) -> Option<Vec<u8>> {
    if platform.os != "linux" {
        return None;
    }
    Some(machine(&platform.architecture)?.elf())
}

/// Whether this machine runs `program`, which is put into `folder`; in a user namespace, if one is given.
pub(super) fn runs(
    folder: &Path,
    platform: &Platform,
    program: &[u8],
    inside: Option<&Path>,
) -> io::Result<bool> {
    let path = folder.join(platform.joined("-"));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(program)?;
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(0o755))?;
    file.into_temp_path().persist(&path)?;
    for _ in 0..TRIES {
        let mut command = match inside {
            Some(namespace) => {
                let mut enter = Command::new("nsenter");
                enter.arg(format!("--user={}", namespace.display()));
                enter.arg("--").arg(&path);
                enter
            }
            None => Command::new(&path),
        };
        let ended = command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match ended {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            ended => return Ok(ended.is_ok_and(|status| status.success())),
        }
    }
    Ok(false)
}
