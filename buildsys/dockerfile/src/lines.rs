//! Lines joined over their continuations, with a way back to the file.

use std::ops::Range;

use crate::Span;

/// The physical lines of a text, each with its line end.
#[derive(Debug, Clone)]
pub(crate) struct Lines<'a> {
    text: &'a str,
    offset: usize,
    number: usize,
}

/// One physical line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Physical<'a> {
    /// The line without its end.
    pub body: &'a str,
    /// The line with its end.
    pub full: &'a str,
    /// Where it starts.
    pub start: usize,
    /// Its number, from 1.
    pub number: usize,
}

impl<'a> Lines<'a> {
    /// All lines of `text`, a byte order mark left out.
    pub fn new(text: &'a str) -> Self {
        let offset = if text.starts_with('\u{feff}') {
            '\u{feff}'.len_utf8()
        } else {
            0
        };
        Self {
            text,
            offset,
            number: 0,
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Physical<'a>;

    fn next(&mut self) -> Option<Physical<'a>> {
        let rest = &self.text[self.offset..];
        let full = rest.split_inclusive('\n').next()?;
        let start = self.offset;
        self.offset += full.len();
        self.number += 1;
        let body = full.trim_end_matches(['\r', '\n']);
        Some(Physical {
            body,
            full,
            start,
            number: self.number,
        })
    }
}

/// A line joined over its continuations.
#[derive(Debug, Clone, Default)]
pub(crate) struct Logical {
    /// The joined text.
    pub text: String,
    /// Where each piece starts, in the joined text and in the file.
    pieces: Vec<(usize, usize)>,
    /// Number of the first physical line.
    pub line: usize,
    /// An empty line among the continuations.
    pub empty_continuation: Option<Span>,
    /// Comments among the continuations that are options of a step.
    pub options: Vec<Span>,
}

impl Logical {
    /// A text that stands nowhere.
    pub fn of(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            ..Self::default()
        }
    }

    /// Reads on from `first`, whose leading white space is dropped, over every line that it is continued by.
    /// Comments and blank lines among the continuations are left out.
    pub fn read(first: Physical<'_>, lines: &mut Lines<'_>, escape: char) -> Self {
        let mut logical = Self {
            line: first.number,
            ..Self::default()
        };
        let body = first.body.trim_start();
        let (mut content, mut continued) = trim_continuation(body, escape);
        logical.push(content, first.start + first.body.len() - body.len());
        while continued {
            let Some(next) = lines.next() else { break };
            if is_comment(next.body) {
                if crate::normalize::marked(next.body).is_some() {
                    let end = next.start + next.body.trim_end().len();
                    logical.options.push(Span::new(next.start, end));
                }
                continue;
            }
            if next.body.trim_start().is_empty() {
                logical.empty_continuation =
                    Some(Span::new(next.start, next.start + next.body.len()));
                continue;
            }
            (content, continued) = trim_continuation(next.body, escape);
            logical.push(content, next.start);
        }
        logical
    }

    fn push(&mut self, piece: &str, start: usize) {
        self.pieces.push((self.text.len(), start));
        self.text.push_str(piece);
    }

    /// Where a range of the joined text stands in the file.
    pub fn span(&self, range: Range<usize>) -> Span {
        let at = |offset: usize| {
            let piece = self
                .pieces
                .partition_point(|(logical, _)| *logical <= offset)
                .max(1)
                - 1;
            let (logical, source) = self.pieces.get(piece).copied().unwrap_or_default();
            source + offset.saturating_sub(logical)
        };
        if range.is_empty() {
            // The end of a piece, not the start of the next.
            let point = if range.start == 0 {
                at(0)
            } else {
                at(range.start - 1) + 1
            };
            return Span::new(point, point);
        }
        Span::new(at(range.start), at(range.end - 1) + 1)
    }

    /// The whole text, without white space around it.
    pub fn whole(&self) -> Span {
        let end = self.text.trim_end().len();
        self.span(0..end)
    }

    /// The text on one line, white space at the joints reduced to one space.
    pub fn display(&self) -> String {
        let mut display = String::with_capacity(self.text.len());
        for (index, (start, _)) in self.pieces.iter().enumerate() {
            let end = self
                .pieces
                .get(index + 1)
                .map_or(self.text.len(), |(next, _)| *next);
            let piece = &self.text[*start..end];
            let blank = |edge: Option<char>| edge.is_some_and(char::is_whitespace);
            if blank(piece.chars().next()) && !blank(display.chars().next_back()) {
                display.push(' ');
            }
            display.push_str(piece.trim());
            if blank(piece.chars().next_back()) && !blank(display.chars().next_back()) {
                display.push(' ');
            }
        }
        display.trim().to_owned()
    }
}

/// Whether a line is a comment.
pub(crate) fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// The line without its continuation character, and whether it had one: the escape character as the last one
/// that is not a space or tab, unless another stands before it.
fn trim_continuation(line: &str, escape: char) -> (&str, bool) {
    let Some(content) = line.trim_end_matches([' ', '\t']).strip_suffix(escape) else {
        return (line, false);
    };
    if content.ends_with(escape) {
        (line, false)
    } else {
        (content, true)
    }
}
