//! Wildcards of COPY sources: the rules of Go's `filepath.Match`.

use crate::glob_class::Class;

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad pattern {pattern:?}: {reason}")]
pub struct GlobError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// `*`: any characters but `/`.
    Star,
    /// `?`: one character but `/`.
    Any,
    /// `[…]`.
    Class(Class),
    Literal(char),
}

/// A parsed pattern: `*`, `?`, `[a-z]`, `[^a-z]`, and a backslash before any of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<Token>);

impl Glob {
    /// Reads a pattern.
    pub fn new(pattern: &str) -> Result<Self, GlobError> {
        let error = |reason| GlobError {
            pattern: pattern.to_owned(),
            reason,
        };
        let mut tokens = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Star,
                '?' => Token::Any,
                '[' => Token::Class(Class::parse(&mut chars).map_err(error)?),
                '\\' => Token::Literal(
                    chars
                        .next()
                        .ok_or_else(|| error("a backslash at the end"))?,
                ),
                c => Token::Literal(c),
            });
        }
        Ok(Self(tokens))
    }

    /// Whether it matches the whole of `path`. Bytes that are not UTF-8 count as U+FFFD.
    pub fn matches(&self, path: impl AsRef<[u8]>) -> bool {
        let text: Vec<char> = String::from_utf8_lossy(path.as_ref()).chars().collect();
        let (mut token, mut at) = (0, 0);
        // The last star: its token, and how far it reaches so far.
        let mut star: Option<(usize, usize)> = None;
        loop {
            let step = match self.0.get(token) {
                Some(Token::Star) => {
                    star = Some((token, at));
                    token += 1;
                    continue;
                }
                None if at == text.len() => return true,
                None => false,
                Some(Token::Any) => text.get(at).is_some_and(|c| *c != '/'),
                Some(Token::Literal(literal)) => text.get(at) == Some(literal),
                Some(Token::Class(class)) => text.get(at).is_some_and(|c| class.contains(*c)),
            };
            if step {
                token += 1;
                at += 1;
                continue;
            }
            // Let the last star take one more. What an earlier one could take, the last one can as well.
            match star {
                Some((begun, reach)) if text.get(reach).is_some_and(|c| *c != '/') => {
                    star = Some((begun, reach + 1));
                    token = begun + 1;
                    at = reach + 1;
                }
                _ => return false,
            }
        }
    }
}

/// Whether the pattern matches the whole path.
pub fn glob_matches(pattern: &str, path: impl AsRef<[u8]>) -> Result<bool, GlobError> {
    Ok(Glob::new(pattern)?.matches(path))
}

/// Whether a path of COPY is to be matched rather than taken as it is.
pub fn has_wildcards(pattern: &str) -> bool {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}
