//! `.helmignore`: which files of a chart's folder stay out of the archive (helm's `pkg/ignore`).

/// The rules of one `.helmignore`, with helm's own rule that hidden files under `templates` stay out.
#[derive(Debug, Clone)]
pub struct IgnoreRules {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    pattern: Vec<char>,
    negated: bool,
    folders_only: bool,
    /// Matched against the whole path rather than its last component.
    whole_path: bool,
}

/// Why a `.helmignore` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IgnoreError {
    /// helm has no `**`.
    #[error(".helmignore line {line}: double-star (**) is not supported by helm")]
    DoubleStar {
        /// Counted from 1.
        line: usize,
    },
    /// Not a pattern.
    #[error(".helmignore line {line}: {pattern:?} is no pattern")]
    Pattern {
        /// Counted from 1.
        line: usize,
        /// The pattern.
        pattern: String,
    },
}

impl IgnoreRules {
    /// Reads the text of a `.helmignore`; an empty one gives the built-in rule alone.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        let mut rules = Vec::new();
        for (at, line) in text.lines().chain(["templates/.?*"]).enumerate() {
            let line_text = line.trim();
            if line_text.is_empty() || line_text.starts_with('#') {
                continue;
            }
            let line = at + 1;
            if line_text.contains("**") {
                return Err(IgnoreError::DoubleStar { line });
            }
            let (negated, text) = match line_text.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, line_text),
            };
            let (folders_only, text) = match text.strip_suffix('/') {
                Some(rest) => (true, rest),
                None => (false, text),
            };
            // A leading slash only says that the pattern is of the whole path.
            let pattern: Vec<char> = text.strip_prefix('/').unwrap_or(text).chars().collect();
            if !is_pattern(&pattern) {
                return Err(IgnoreError::Pattern {
                    line,
                    pattern: line_text.to_owned(),
                });
            }
            rules.push(Rule {
                pattern,
                negated,
                folders_only,
                whole_path: text.contains('/'),
            });
        }
        Ok(Self { rules })
    }

    /// Whether the file or folder at `path` (relative, `/` between components) stays out. The caller asks for each
    /// folder before it asks for what is in it: what lies in an ignored folder is ignored.
    pub fn ignores(&self, path: &str, is_folder: bool) -> bool {
        if path.is_empty() || path == "." {
            return false;
        }
        for rule in &self.rules {
            let name = if rule.whole_path {
                path
            } else {
                path.rsplit('/').next().unwrap_or(path)
            };
            let matches = || matches(&rule.pattern, &name.chars().collect::<Vec<_>>());
            if rule.negated {
                // helm's reading of `!`: what does not match is ignored.
                if rule.folders_only && !is_folder || !matches() {
                    return true;
                }
            } else if (!rule.folders_only || is_folder) && matches() {
                return true;
            }
        }
        false
    }
}

/// Whether the brackets and escapes of a pattern are closed.
fn is_pattern(pattern: &[char]) -> bool {
    let mut rest = pattern;
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            '\\' => match after.split_first() {
                Some((_, after)) => after,
                None => return false,
            },
            '[' => match class(after, None) {
                Some((_, after)) => after,
                None => return false,
            },
            _ => after,
        };
    }
    true
}

/// Go's `path.Match`: `*` and `?` stop at slashes, `[a-z]` and `[^a-z]`, `\` escapes.
fn matches(pattern: &[char], name: &[char]) -> bool {
    let Some((first, after)) = pattern.split_first() else {
        return name.is_empty();
    };
    match first {
        '*' => {
            let reach = name.iter().position(|c| *c == '/').unwrap_or(name.len());
            (0..=reach).any(|taken| matches(after, &name[taken..]))
        }
        '?' => name
            .split_first()
            .is_some_and(|(c, rest)| *c != '/' && matches(after, rest)),
        '[' => name.split_first().is_some_and(|(c, rest)| {
            class(after, Some(*c))
                .is_some_and(|(inside, after)| *c != '/' && inside && matches(after, rest))
        }),
        '\\' => match (after.split_first(), name.split_first()) {
            (Some((escaped, after)), Some((c, rest))) => escaped == c && matches(after, rest),
            _ => false,
        },
        literal => name
            .split_first()
            .is_some_and(|(c, rest)| literal == c && matches(after, rest)),
    }
}

/// Reads a character class whose `[` is behind us: whether `c` is in it, and what follows. None where it is not
/// closed or holds nothing.
fn class(pattern: &[char], c: Option<char>) -> Option<(bool, &[char])> {
    let (negated, mut rest) = match pattern.split_first() {
        Some(('^', after)) => (true, after),
        _ => (false, pattern),
    };
    let mut inside = false;
    let mut ranges = 0;
    loop {
        if rest.first() == Some(&']') && ranges > 0 {
            return Some((inside != negated, &rest[1..]));
        }
        let (low, after) = class_char(rest)?;
        let (high, after) = match after.split_first() {
            Some(('-', after)) => class_char(after)?,
            _ => (low, after),
        };
        inside |= c.is_some_and(|c| low <= c && c <= high);
        ranges += 1;
        rest = after;
    }
}

fn class_char(pattern: &[char]) -> Option<(char, &[char])> {
    match pattern.split_first()? {
        ('-' | ']', _) => None,
        ('\\', after) => after.split_first().map(|(c, after)| (*c, after)),
        (c, after) => Some((*c, after)),
    }
}
