//! The patterns of `${name#pattern}`, `${name%pattern}` and `${name/pattern/text}`: `*`, `?` and backslashes, as
//! POSIX 2.14 has them without bracket expressions.

/// Which match a `*` prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Star {
    /// As much as possible.
    Longest,
    /// As little as possible.
    Shortest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Any,
    Star,
    Literal(char),
}

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShellPattern(Vec<Token>);

impl ShellPattern {
    /// Reads a pattern; gives the character after a backslash that may not be escaped.
    pub fn parse(pattern: &str) -> Result<Self, Option<char>> {
        let mut tokens = Vec::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Star,
                '?' => Token::Any,
                // `}` and `/` are escaped for the sake of the `${}` around, the rest for the pattern's.
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '?' | '\\' | '}' | '/')) => Token::Literal(escaped),
                    other => return Err(other),
                },
                c => Token::Literal(c),
            });
        }
        Ok(Self(tokens))
    }

    /// The same pattern for text read backwards.
    pub fn reversed(mut self) -> Self {
        self.0.reverse();
        self
    }

    /// For each position of `text` and its end: where the match that starts there ends.
    ///
    /// Worked out from the back, a row per token, so that no pattern takes more than tokens × characters.
    fn ends(&self, text: &[char], star: Star) -> Vec<Option<usize>> {
        let mut after: Vec<Option<usize>> = (0..=text.len()).map(Some).collect();
        for token in self.0.iter().rev() {
            let mut row = vec![None; text.len() + 1];
            for i in (0..=text.len()).rev() {
                let next = text.get(i).copied();
                row[i] = match token {
                    Token::Literal(c) => next.filter(|next| next == c).and_then(|_| after[i + 1]),
                    Token::Any => next.filter(|next| *next != '\n').and_then(|_| after[i + 1]),
                    Token::Star => {
                        let more = next.filter(|next| *next != '\n').and_then(|_| row[i + 1]);
                        match star {
                            Star::Longest => more.or(after[i]),
                            Star::Shortest => after[i].or(more),
                        }
                    }
                };
            }
            after = row;
        }
        after
    }

    /// Characters that a match at the very start of `text` takes.
    pub fn prefix(&self, text: &[char], star: Star) -> Option<usize> {
        self.ends(text, star)[0]
    }

    /// How many parts it has.
    pub fn parts(&self) -> usize {
        self.0.len()
    }

    /// `text` with the first match, or `all` of them, replaced; none if it becomes longer than `most` bytes.
    pub fn replace(&self, text: &str, replacement: &str, all: bool, most: usize) -> Option<String> {
        let chars: Vec<char> = text.chars().collect();
        let ends = self.ends(&chars, Star::Longest);
        let mut result = String::new();
        let mut at = 0;
        let mut matched_to = None;
        let mut replaced = false;
        while at <= chars.len() {
            // An empty match right behind another one does not count.
            let end =
                ends[at].filter(|end| (all || !replaced) && (*end > at || matched_to != Some(at)));
            if result.len() > most {
                return None;
            }
            if let Some(end) = end {
                result.push_str(replacement);
                replaced = true;
                matched_to = Some(end);
                if end > at {
                    at = end;
                    continue;
                }
            }
            result.extend(chars.get(at));
            at += 1;
        }
        Some(result)
    }
}
