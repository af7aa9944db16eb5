//! One pattern of a .dockerignore file.

use crate::glob_class::Class;
use crate::{Glob, GlobError};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `?`.
    Any,
    /// `*`.
    Star,
    /// `**/` or a `**` before something else: nothing, or anything that ends in a slash.
    Folders,
    /// `**` at the end: anything.
    Rest,
    /// `^`: nothing, at the start of the path alone.
    Start,
    Class(Class),
}

/// How a pattern is matched. The first three are cases of their own in moby's patternmatcher, and not only for
/// speed: `**name` is any path that ends so, not only a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Exact,
    /// `text**`.
    Prefix(String),
    /// `**text`.
    Suffix(String),
    Tokens(Vec<Token>),
}

/// A pattern, cleaned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IgnorePattern {
    pub text: String,
    /// Started with `!`.
    pub exception: bool,
    kind: Kind,
}

impl IgnorePattern {
    /// Reads a cleaned pattern without its `!`.
    pub fn new(text: &str, exception: bool) -> Result<Self, GlobError> {
        // Rules of syntax are those of a COPY source.
        Glob::new(text)?;
        Ok(Self {
            text: text.to_owned(),
            exception,
            kind: kind(text),
        })
    }

    /// Whether it matches the whole of `path`, which has no leading slash.
    pub fn matches(&self, path: &str) -> bool {
        match &self.kind {
            Kind::Exact => path == self.text,
            Kind::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Kind::Suffix(suffix) => {
                path.ends_with(suffix.as_str())
                    || suffix.strip_prefix('/').is_some_and(|name| path == name)
            }
            Kind::Tokens(tokens) => match_tokens(tokens, path),
        }
    }

    /// Whether it may match something below `folder`. Yes where that is not easily said.
    pub fn may_match_below(&self, folder: &str) -> bool {
        let mut parts = self.text.split('/');
        for name in folder.split('/').filter(|name| !name.is_empty()) {
            let Some(part) = parts.next() else {
                return false;
            };
            // A class may stand for a slash.
            if part.contains("**") || part.contains('[') {
                return true;
            }
            if !Glob::new(part).is_ok_and(|glob| glob.matches(name)) {
                return false;
            }
        }
        parts.next().is_some()
    }
}

fn kind(text: &str) -> Kind {
    let mut tokens = Vec::new();
    let mut kind = Kind::Exact;
    let mut chars = text.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        let leading = std::mem::take(&mut first);
        let token = match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                let last = chars.peek().is_none();
                let exact = kind == Kind::Exact;
                kind = match (leading, last, exact) {
                    (true, ..) => Kind::Suffix(text[2..].to_owned()),
                    (_, true, true) => Kind::Prefix(text[..text.len() - 2].to_owned()),
                    _ => Kind::Tokens(Vec::new()),
                };
                tokens.push(if last { Token::Rest } else { Token::Folders });
                continue;
            }
            '*' => Token::Star,
            '?' => Token::Any,
            // What has no meaning in a pattern has the one that it has in a regular expression: the start.
            '^' => {
                tokens.push(Token::Start);
                continue;
            }
            ']' => Token::Literal(']'),
            '[' => match Class::parse(&mut chars) {
                Ok(class) => Token::Class(class),
                Err(_) => Token::Literal('['),
            },
            '\\' => {
                kind = Kind::Tokens(Vec::new());
                tokens.extend(chars.next().map(Token::Literal));
                continue;
            }
            c => {
                tokens.push(Token::Literal(c));
                continue;
            }
        };
        kind = Kind::Tokens(Vec::new());
        tokens.push(token);
    }
    if matches!(kind, Kind::Tokens(_)) {
        Kind::Tokens(tokens)
    } else {
        kind
    }
}

/// All places that the tokens so far can have led to, moved on token by token: no pattern takes more than
/// tokens × characters.
fn match_tokens(tokens: &[Token], path: &str) -> bool {
    let text: Vec<char> = path.chars().collect();
    let mut places = vec![false; text.len() + 1];
    places[0] = true;
    for token in tokens {
        let mut next = vec![false; text.len() + 1];
        let mut reached = false;
        for at in 0..=text.len() {
            match token {
                Token::Literal(c) => next[at] = at > 0 && places[at - 1] && text[at - 1] == *c,
                Token::Any => next[at] = at > 0 && places[at - 1] && text[at - 1] != '/',
                Token::Class(class) => {
                    next[at] = at > 0 && places[at - 1] && class.contains(text[at - 1]);
                }
                Token::Star => {
                    reached = places[at] || (reached && text[at - 1] != '/');
                    next[at] = reached;
                }
                Token::Start => next[at] = at == 0 && places[at],
                Token::Rest => {
                    reached |= places[at];
                    next[at] = reached;
                }
                Token::Folders => {
                    next[at] = places[at] || (reached && text[at - 1] == '/');
                    reached |= places[at];
                }
            }
        }
        places = next;
        if !places.contains(&true) {
            return false;
        }
    }
    places[text.len()]
}
