//! Two contents: the first bytes that differ, and lines where they are text.

use std::io::{self, Read};

use similar::{Algorithm, ChangeTag, TextDiff};

use crate::report::{BytesDifference, Excerpt, LineDifference, LineSide};

/// How much is read at once, in bytes.
const BUFFER: usize = 64 << 10;
/// How many bytes are shown.
const SHOWN: usize = 16;
/// Texts up to this size are compared line by line, in bytes.
pub(crate) const TEXT: u64 = 256 << 10;
/// How many lines are shown.
const LINES: usize = 12;
/// How many letters of a line are shown.
const LETTERS: usize = 160;

/// Where two streams begin to differ; none if they are the same.
pub(crate) fn first_difference(
    mut a: impl Read,
    mut b: impl Read,
) -> io::Result<Option<BytesDifference>> {
    let (mut one, mut other) = (vec![0; BUFFER], vec![0; BUFFER]);
    let mut offset = 0;
    loop {
        let (got_a, got_b) = (fill(&mut a, &mut one)?, fill(&mut b, &mut other)?);
        let (left, right) = (&one[..got_a], &other[..got_b]);
        if left == right {
            if got_a < BUFFER {
                return Ok(None);
            }
            offset += got_a as u64;
            continue;
        }
        let at = left.iter().zip(right).take_while(|(a, b)| a == b).count();
        // What stands just behind the end of the buffer is shown as well.
        let show = |bytes: &[u8], rest: &mut dyn Read| -> io::Result<Excerpt> {
            let mut shown = bytes[at..].iter().take(SHOWN).copied().collect::<Vec<u8>>();
            let missing = (SHOWN - shown.len()) as u64;
            rest.take(missing).read_to_end(&mut shown)?;
            Ok(excerpt(&shown))
        };
        return Ok(Some(BytesDifference {
            offset: offset + at as u64,
            a: show(left, &mut a)?,
            b: show(right, &mut b)?,
            lines: Vec::new(),
            more_lines: 0,
        }));
    }
}

/// Reads until the buffer is full or the stream ends.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut at = 0;
    while at < buffer.len() {
        match reader.read(&mut buffer[at..]) {
            Ok(0) => break,
            Ok(count) => at += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}

fn excerpt(bytes: &[u8]) -> Excerpt {
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = bytes.iter().map(|byte| match byte {
        0x20..=0x7e => char::from(*byte),
        _ => '.',
    });
    Excerpt {
        hex: hex.join(" "),
        text: text.collect(),
    }
}

/// Fills in the lines that differ, where both are text.
pub(crate) fn lines(difference: &mut BytesDifference, a: &[u8], b: &[u8]) {
    let text = |bytes| std::str::from_utf8(bytes).ok().filter(|text| is_text(text));
    let (Some(a), Some(b)) = (text(a), text(b)) else {
        return;
    };
    let diff = TextDiff::configure()
        .algorithm(Algorithm::Myers)
        .diff_lines(a, b);
    for change in diff.iter_all_changes() {
        let (side, number) = match change.tag() {
            ChangeTag::Equal => continue,
            ChangeTag::Delete => (LineSide::A, change.old_index()),
            ChangeTag::Insert => (LineSide::B, change.new_index()),
        };
        if difference.lines.len() == LINES {
            difference.more_lines += 1;
            continue;
        }
        difference.lines.push(LineDifference {
            side,
            number: number.unwrap_or_default() + 1,
            text: cut(change.value().trim_end_matches(['\r', '\n'])),
        });
    }
}

/// Whether people could read it: no control characters but those of text files.
fn is_text(text: &str) -> bool {
    let plain = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\r' | '\t');
    text.chars().all(plain)
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(LETTERS) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line.to_owned(),
    }
}
