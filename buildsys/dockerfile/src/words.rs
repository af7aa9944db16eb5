//! How an instruction's text falls into words.

use std::ops::Range;

/// The white space between the arguments of FROM, COPY, ADD, EXPOSE and VOLUME.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// Splits at white space; quotes do not hold anything together.
pub(crate) fn split_blank(text: &str, within: Range<usize>) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (index, c) in text[within.clone()].char_indices() {
        let index = within.start + index;
        match (is_blank(c), start) {
            (true, Some(begun)) => {
                words.push(begun..index);
                start = None;
            }
            (false, None) => start = Some(index),
            _ => {}
        }
    }
    words.extend(start.map(|begun| begun..within.end));
    words
}

/// Splits in two at the first white space: what stands before and what comes after it.
pub(crate) fn split_first(
    text: &str,
    within: Range<usize>,
) -> (Range<usize>, Option<Range<usize>>) {
    let part = &text[within.clone()];
    let Some(end) = part.find(is_blank) else {
        return (within, None);
    };
    let rest = part[end..]
        .find(|c| !is_blank(c))
        .map_or(within.end, |skip| within.start + end + skip);
    (within.start..within.start + end, Some(rest..within.end))
}

/// Without white space around it.
pub(crate) fn trim(text: &str, within: Range<usize>) -> Range<usize> {
    let part = &text[within.clone()];
    let start = within.start + part.len() - part.trim_start().len();
    start..start + part.trim().len()
}

/// Splits at white space outside quotes; the quotes stay. An escape character at the very end is left out.
pub(crate) fn split_quoted(text: &str, within: Range<usize>, escape: char) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start: Option<usize> = None;
    let mut quote: Option<char> = None;
    let mut chars = text[within.clone()]
        .char_indices()
        .map(|(index, c)| (within.start + index, c))
        .peekable();
    while let Some((index, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(start.take().map(|begun| begun..index));
            continue;
        }
        if c == escape && quote != Some('\'') {
            match chars.next() {
                Some(_) => start = Some(start.unwrap_or(index)),
                None => {
                    words.extend(start.take().map(|begun| begun..index));
                }
            }
            continue;
        }
        start = Some(start.unwrap_or(index));
        match quote {
            Some(open) if open == c => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            _ => {}
        }
    }
    words.extend(start.map(|begun| begun..within.end));
    words
}

/// A `--flag` in front of the arguments, quotes and escapes taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawFlag {
    /// With its dashes.
    pub text: String,
    /// Where it stands.
    pub range: Range<usize>,
}

/// Takes the flags off the front; gives them and the rest. A lone `--` ends them.
pub(crate) fn take_flags(
    text: &str,
    within: Range<usize>,
    escape: char,
) -> (Vec<RawFlag>, Range<usize>) {
    let mut flags = Vec::new();
    let mut at = within.start;
    loop {
        let rest = &text[at..within.end];
        let start = at + rest.len() - rest.trim_start().len();
        if !text[start..within.end].starts_with("--") {
            return (flags, start..within.end);
        }
        let (flag, end) = read_flag(text, start..within.end, escape);
        at = end;
        if flag.text == "--" {
            return (flags, end..within.end);
        }
        flags.push(flag);
    }
}

fn read_flag(text: &str, within: Range<usize>, escape: char) -> (RawFlag, usize) {
    let mut flag = String::new();
    let mut quote: Option<char> = None;
    let mut end = within.end;
    let mut chars = text[within.clone()].char_indices();
    while let Some((index, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                end = within.start + index;
                break;
            }
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if open == c => quote = None,
            _ if c == escape => flag.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => flag.push(c),
        }
    }
    (
        RawFlag {
            text: flag,
            range: within.start..end,
        },
        end,
    )
}
