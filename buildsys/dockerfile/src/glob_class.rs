//! Bracket expressions of path patterns.

use std::iter::Peekable;
use std::str::Chars;

/// `[a-z]`, `[^a-z]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    /// Reads what follows the opening bracket, closing bracket included. Gives what is wrong otherwise.
    pub fn parse(chars: &mut Peekable<Chars<'_>>) -> Result<Self, &'static str> {
        const OPEN: &str = "[ without ]";
        let negated = chars.next_if_eq(&'^').is_some();
        let mut ranges = Vec::new();
        loop {
            if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
                return Ok(Self { negated, ranges });
            }
            let low = Self::bound(chars)?;
            let high = if chars.next_if_eq(&'-').is_some() {
                Self::bound(chars)?
            } else {
                low
            };
            if chars.peek().is_none() {
                return Err(OPEN);
            }
            ranges.push((low, high));
        }
    }

    fn bound(chars: &mut Peekable<Chars<'_>>) -> Result<char, &'static str> {
        match chars.next() {
            None => Err("[ without ]"),
            Some('-' | ']') => Err("- and ] in [] need a backslash"),
            Some('\\') => chars.next().ok_or("a backslash at the end"),
            Some(c) => Ok(c),
        }
    }

    /// Whether it stands for `c`.
    pub fn contains(&self, c: char) -> bool {
        self.ranges
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&c))
            != self.negated
    }
}
