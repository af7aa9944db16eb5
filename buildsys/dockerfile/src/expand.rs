//! Variables, quotes and escapes in words, as the reference's "Environment replacement" section has them.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

use crate::expand_error::{ExpandError, MAX_VALUES};
use crate::pattern::{ShellPattern, Star};

/// Deeper nesting of `${}` is refused: the reader calls itself.
const MAX_DEPTH: usize = 64;

/// The most comparisons of a pattern with a value.
const MAX_WORK: usize = 1 << 26;

/// A word with its variables filled in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expansion {
    /// The result as one word.
    pub text: String,
    /// The result split at white space outside quotes; what variables expand to is split as well.
    pub words: Vec<String>,
    /// Names that were looked up and are not set.
    pub undefined: BTreeSet<String>,
    /// Names that were looked up and are set.
    pub used: BTreeSet<String>,
}

/// Expands `word`: `$x`, `${x}` and the modifiers `:-` `-` `:+` `+` `:?` `?` `#` `##` `%` `%%` `/` `//`; single
/// quotes keep everything, double quotes all but `$` and the escape character. `lookup` gives a variable's value.
pub fn expand(
    word: &str,
    escape: char,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Expansion, ExpandError> {
    Lexer {
        escape,
        ..Lexer::default()
    }
    .run(word, &lookup)
}

/// Expands variables in the text of a here-document: quotes mean nothing there, and `\` escapes.
pub fn expand_heredoc(
    text: &str,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Expansion, ExpandError> {
    Lexer {
        quotes_are_text: true,
        ..Lexer::default()
    }
    .run(text, &lookup)
}

/// What the lexer keeps and what it works out.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own, set by name"
)]
pub(crate) struct Lexer {
    pub escape: char,
    /// Quotes stay in the result.
    pub keep_quotes: bool,
    /// Escape characters stay in the result.
    pub keep_escapes: bool,
    /// Quotes are characters like any other.
    pub quotes_are_text: bool,
    /// Variables that are not set stay as they are written.
    pub keep_unset: bool,
}

impl Default for Lexer {
    fn default() -> Self {
        Self {
            escape: '\\',
            keep_quotes: false,
            keep_escapes: false,
            quotes_are_text: false,
            keep_unset: false,
        }
    }
}

impl Lexer {
    /// Reads `word` to its end.
    pub fn run(
        self,
        word: &str,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Expansion, ExpandError> {
        let mut reader = Reader {
            lexer: self,
            chars: word.chars().peekable(),
            lookup,
            expansion: Expansion::default(),
            depth: 0,
            nested: false,
            values: 0,
        };
        let (text, words) = reader.read_to(None, self.keep_escapes)?;
        Ok(Expansion {
            text,
            words,
            ..reader.expansion
        })
    }
}

struct Reader<'a> {
    lexer: Lexer,
    chars: Peekable<Chars<'a>>,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    expansion: Expansion,
    depth: usize,
    /// A word within braces has been read since this was last looked at.
    nested: bool,
    /// Bytes of all values so far.
    values: usize,
}

/// The words of a result while it grows.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    current: String,
}

impl Words {
    fn push(&mut self, c: char) {
        if c.is_whitespace() {
            self.end();
        } else {
            self.current.push(c);
        }
    }

    fn end(&mut self) {
        if !self.current.is_empty() {
            self.done.push(std::mem::take(&mut self.current));
        }
    }
}

impl Reader<'_> {
    /// Reads up to `stop`, which is consumed, or to the end. None where the end comes before `stop`.
    fn read_to(
        &mut self,
        stop: Option<char>,
        keep_escapes: bool,
    ) -> Result<(String, Vec<String>), ExpandError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ExpandError::Depth);
        }
        let outer = std::mem::replace(&mut self.lexer.keep_escapes, keep_escapes);
        let result = self.read_body(stop);
        self.lexer.keep_escapes = outer;
        self.depth -= 1;
        self.nested = true;
        result
    }

    fn read_body(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), ExpandError> {
        let mut text = String::new();
        let mut words = Words::default();
        while let Some(c) = self.chars.next() {
            if Some(c) == stop {
                words.end();
                return Ok((text, words.done));
            }
            match c {
                '\'' | '"' if !self.lexer.quotes_are_text => {
                    let quoted = if c == '"' {
                        self.double_quoted()?
                    } else {
                        self.single_quoted()?
                    };
                    self.forget(&mut words);
                    words.current.push_str(&quoted);
                    text.push_str(&quoted);
                }
                '$' => {
                    let value = self.dollar()?;
                    self.forget(&mut words);
                    value.chars().for_each(|c| words.push(c));
                    text.push_str(&value);
                }
                '<' => {
                    let operator = self.redirection();
                    words.current.push_str(&operator);
                    text.push_str(&operator);
                }
                c if c == self.lexer.escape => {
                    if self.lexer.keep_escapes {
                        words.current.push(c);
                        text.push(c);
                    }
                    // At the very end it stands for nothing.
                    if let Some(escaped) = self.chars.next() {
                        words.current.push(escaped);
                        text.push(escaped);
                    }
                }
                c => {
                    words.push(c);
                    text.push(c);
                }
            }
        }
        match stop {
            Some('/') => Err(ExpandError::OpenReplacement {
                name: String::new(),
            }),
            Some(_) => Err(ExpandError::OpenBrace {
                name: String::new(),
            }),
            None => {
                words.end();
                Ok((text, words.done))
            }
        }
    }

    /// BuildKit has one buffer for the words of all levels: a word within braces takes away what stands before the
    /// variable in the word around it. The text as one word is not touched by that.
    fn forget(&mut self, words: &mut Words) {
        if std::mem::take(&mut self.nested) {
            words.current.clear();
        }
    }

    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        text.extend(self.lexer.keep_quotes.then_some('\''));
        loop {
            match self.chars.next() {
                None => return Err(ExpandError::OpenQuote('\'')),
                Some('\'') => break,
                Some(c) => text.push(c),
            }
        }
        text.extend(self.lexer.keep_quotes.then_some('\''));
        Ok(text)
    }

    fn double_quoted(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        text.extend(self.lexer.keep_quotes.then_some('"'));
        loop {
            match self.chars.next() {
                None => return Err(ExpandError::OpenQuote('"')),
                Some('"') => break,
                Some('$') => text.push_str(&self.dollar()?),
                Some(c) if c == self.lexer.escape => {
                    if self.lexer.keep_escapes {
                        text.push(c);
                    }
                    // Before anything else than these it is a character like any other.
                    let escaped = self
                        .chars
                        .next_if(|next| matches!(next, '"' | '$') || *next == self.lexer.escape);
                    match escaped {
                        Some(escaped) => text.push(escaped),
                        None if self.chars.peek().is_none() => {}
                        None => text.push(c),
                    }
                }
                Some(c) => text.push(c),
            }
        }
        text.extend(self.lexer.keep_quotes.then_some('"'));
        Ok(text)
    }

    /// `<<` and the white space after it, which belong to the delimiter that follows.
    fn redirection(&mut self) -> String {
        let mut text = String::from('<');
        if let Some(second) = self.chars.next_if_eq(&'<') {
            text.push(second);
            while let Some(blank) = self.chars.next_if(|c| matches!(c, '\t' | '\r' | ' ')) {
                text.push(blank);
            }
        }
        text
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        let value = self.variable()?;
        self.values += value.len();
        if self.values > MAX_VALUES {
            return Err(ExpandError::Long);
        }
        Ok(value)
    }

    fn variable(&mut self) -> Result<String, ExpandError> {
        if self.chars.next_if_eq(&'{').is_some() {
            return self.braced();
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok(match self.get(&name) {
            None if self.lexer.keep_unset => format!("${name}"),
            value => value.unwrap_or_default(),
        })
    }

    fn braced(&mut self) -> Result<String, ExpandError> {
        if matches!(self.chars.peek(), Some('{' | '}' | ':')) {
            return Err(ExpandError::NoName);
        }
        let name = self.name();
        let open = || ExpandError::OpenBrace { name: name.clone() };
        match self.chars.next().ok_or_else(open)? {
            '}' => Ok(match self.get(&name) {
                None if self.lexer.keep_unset => format!("${{{name}}}"),
                value => value.unwrap_or_default(),
            }),
            ':' => {
                let modifier = self.chars.next().ok_or_else(open)?;
                match modifier {
                    '-' | '+' | '?' => self.conditional(&name, modifier, true),
                    _ => Err(ExpandError::Modifier {
                        name,
                        modifier: format!(":{modifier}"),
                    }),
                }
            }
            modifier @ ('-' | '+' | '?') => self.conditional(&name, modifier, false),
            modifier @ ('#' | '%') => self.trimmed(&name, modifier),
            '/' => self.replaced(&name),
            modifier => Err(ExpandError::Modifier {
                name,
                modifier: modifier.to_string(),
            }),
        }
    }

    /// `-`, `+` and `?`, with or without a colon in front.
    fn conditional(
        &mut self,
        name: &str,
        modifier: char,
        colon: bool,
    ) -> Result<String, ExpandError> {
        let (word, _) = self
            .read_to(Some('}'), false)
            .map_err(|error| of(error, name))?;
        let value = self.get(name);
        if value.is_none() && self.lexer.keep_unset {
            let colon = if colon { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{modifier}{word}}}"));
        }
        let set = value.is_some();
        let value = value.filter(|value| !(colon && value.is_empty()));
        match (modifier, value) {
            ('+', Some(_)) | ('-', None) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            (_, None) => {
                let lacking = if set {
                    "is not allowed to be empty"
                } else {
                    "is not allowed to be unset"
                };
                let message = if word.is_empty() {
                    lacking.to_owned()
                } else {
                    word
                };
                Err(ExpandError::Required {
                    name: name.to_owned(),
                    message,
                })
            }
        }
    }

    /// `#`, `##`, `%` and `%%`.
    fn trimmed(&mut self, name: &str, modifier: char) -> Result<String, ExpandError> {
        let (word, _) = self
            .read_to(Some('}'), true)
            .map_err(|error| of(error, name))?;
        let value = self.get(name);
        if value.is_none() && self.lexer.keep_unset {
            return Ok(format!("${{{name}{modifier}{word}}}"));
        }
        let (star, pattern) = match word.strip_prefix(modifier) {
            Some(pattern) => (Star::Longest, pattern),
            None => (Star::Shortest, word.as_str()),
        };
        let pattern = parse_pattern(name, pattern)?;
        let mut chars: Vec<char> = value.unwrap_or_default().chars().collect();
        check_work(name, &pattern, chars.len())?;
        if modifier == '#' {
            let cut = pattern.prefix(&chars, star).unwrap_or(0);
            return Ok(chars[cut..].iter().collect());
        }
        chars.reverse();
        let cut = pattern.reversed().prefix(&chars, star).unwrap_or(0);
        Ok(chars[cut..].iter().rev().collect())
    }

    /// `/` and `//`.
    fn replaced(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.chars.next_if_eq(&'/').is_some();
        let (pattern, _) = self
            .read_to(Some('/'), true)
            .map_err(|error| of(error, name))?;
        let (replacement, _) = self
            .read_to(Some('}'), true)
            .map_err(|error| of(error, name))?;
        let value = self.get(name);
        if value.is_none() && self.lexer.keep_unset {
            return Ok(format!("${{{name}/{pattern}/{replacement}}}"));
        }
        let pattern = parse_pattern(name, &pattern)?;
        let value = value.unwrap_or_default();
        check_work(name, &pattern, value.len())?;
        pattern
            .replace(&value, &replacement, all, MAX_VALUES)
            .ok_or(ExpandError::Long)
    }

    /// A name, a number, or one of the shell's special parameters; empty if nothing of the kind follows.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.chars.peek() {
            Some(c) if c.is_numeric() => {
                while let Some(digit) = self.chars.next_if(|c| c.is_numeric()) {
                    name.push(digit);
                }
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => name.extend(self.chars.next()),
            _ => {
                while let Some(c) = self.chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    name.push(c);
                }
            }
        }
        name
    }

    fn get(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name);
        let seen = if value.is_some() {
            &mut self.expansion.used
        } else {
            &mut self.expansion.undefined
        };
        seen.insert(name.to_owned());
        value
    }
}

/// Names the variable in the error of what its modifier reads.
fn of(error: ExpandError, of: &str) -> ExpandError {
    match error {
        ExpandError::OpenBrace { name } if name.is_empty() => ExpandError::OpenBrace {
            name: of.to_owned(),
        },
        ExpandError::OpenReplacement { name } if name.is_empty() => ExpandError::OpenReplacement {
            name: of.to_owned(),
        },
        error => error,
    }
}

/// Each part of a pattern is held against each character.
fn check_work(name: &str, pattern: &ShellPattern, length: usize) -> Result<(), ExpandError> {
    if pattern.parts().saturating_mul(length) > MAX_WORK {
        let name = name.to_owned();
        return Err(ExpandError::Work { name });
    }
    Ok(())
}

fn parse_pattern(name: &str, pattern: &str) -> Result<ShellPattern, ExpandError> {
    ShellPattern::parse(pattern).map_err(|_| ExpandError::Pattern {
        name: name.to_owned(),
        pattern: pattern.to_owned(),
    })
}
