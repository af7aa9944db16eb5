//! What binfmt_misc says of an interpreter.

use std::path::{Path, PathBuf};

/// A registered interpreter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Handler {
    interpreter: PathBuf,
    /// Whether the kernel holds it open since it was registered.
    held: bool,
}

impl Handler {
    /// Where the kernel looks for it at each start, if it does.
    pub(super) fn by_path(self) -> Option<PathBuf> {
        (!self.held).then_some(self.interpreter)
    }
}

/// The interpreter of `program` among those of a binfmt_misc file system; none where none can be seen.
pub(super) fn of(folder: &Path, program: &[u8]) -> Option<Handler> {
    let entries = std::fs::read_dir(folder).ok()?;
    let texts = entries.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
    texts.into_iter().find_map(|text| parse(&text, program))
}

/// What an entry says, if it is of `program`.
fn parse(text: &str, program: &[u8]) -> Option<Handler> {
    let mut lines = text.lines();
    if lines.next()? != "enabled" {
        return None;
    }
    let (mut interpreter, mut held, mut offset) = (None, false, 0);
    let (mut magic, mut mask) = (Vec::new(), Vec::new());
    for line in lines {
        let (name, value) = line.split_once(' ')?;
        match name {
            "interpreter" => interpreter = Some(PathBuf::from(value)),
            "flags:" => held = value.contains('F'),
            "offset" => offset = value.parse().ok()?,
            "magic" => magic = bytes(value)?,
            "mask" => mask = bytes(value)?,
            _ => {}
        }
    }
    mask.resize(magic.len(), 0xff);
    let head = program.get(offset..offset + magic.len())?;
    let fits = !magic.is_empty()
        && head
            .iter()
            .zip(&mask)
            .zip(&magic)
            .all(|((byte, mask), magic)| byte & mask == magic & mask);
    let interpreter = interpreter.filter(|_| fits)?;
    Some(Handler { interpreter, held })
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
