//! .dockerignore: the rules of moby's patternmatcher, which are not those of .gitignore.

use crate::ignore_pattern::IgnorePattern;
use crate::values::clean_path;
use crate::{Diagnostic, GlobError, Span};

/// The rules of a .dockerignore file, or of any list of such patterns. The last one that matches a path or a
/// folder above it decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IgnoreRules(Vec<IgnorePattern>);

/// Which rules match a folder: what a walk hands down from a folder to what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FolderMatches(Vec<bool>);

impl IgnoreRules {
    /// Reads a file. A line that starts with `#` is a comment.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        let mut rules = Self::default();
        let mut errors = Vec::new();
        let mut offset = 0;
        for full in text.split_inclusive('\n') {
            let (start, line) = match (offset, full.strip_prefix('\u{feff}')) {
                (0, Some(line)) => (full.len() - line.len(), line),
                _ => (offset, full),
            };
            offset += full.len();
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            if let Err(error) = rules.push(line) {
                let begin = start + line.len() - line.trim_start().len();
                let span = Span::new(begin, begin + line.trim().len());
                errors.push(Diagnostic::error(
                    "InvalidIgnorePattern",
                    span,
                    error.to_string(),
                ));
            }
        }
        if errors.is_empty() {
            Ok(rules)
        } else {
            Err(errors)
        }
    }

    /// The same from patterns one by one; `#` has no meaning there.
    pub fn from_patterns(
        patterns: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, GlobError> {
        let mut rules = Self::default();
        for pattern in patterns {
            rules.push(pattern.as_ref())?;
        }
        Ok(rules)
    }

    /// Adds a pattern. As with moby it is cleaned twice, as a line of the file and as a pattern, so that `/!x`
    /// is an exception as well.
    fn push(&mut self, pattern: &str) -> Result<(), GlobError> {
        let pattern = pattern.trim();
        let line = match pattern.strip_prefix('!').map(str::trim) {
            Some("") => "!".to_owned(),
            Some(body) => format!("!{}", relative(body)),
            None if pattern.is_empty() => return Ok(()),
            None => relative(pattern),
        };
        let cleaned = clean(line.trim());
        let (exception, body) = match cleaned.strip_prefix('!') {
            Some(body) => (true, body),
            None => (false, cleaned.as_str()),
        };
        if body.is_empty() {
            return Err(GlobError {
                pattern: pattern.to_owned(),
                reason: "! without a pattern",
            });
        }
        self.0.push(IgnorePattern::new(body, exception)?);
        Ok(())
    }

    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether COPY of `source` from a context with these rules surely finds nothing: what the rule
    /// `CopyIgnoredFile` tells of. No where there are exceptions, which may bring back a part of it.
    pub fn leaves_out(&self, source: &str) -> bool {
        if self.0.iter().any(|pattern| pattern.exception) {
            return false;
        }
        match relative(source).trim_start_matches('/') {
            "" | "." => {
                let everything = ["*", "**", "**/*"];
                self.0
                    .iter()
                    .any(|one| everything.contains(&one.text.as_str()))
            }
            path => self.matches(path),
        }
    }

    /// Whether the rules match `path`: relative, `/` between components. A folder that is matched takes what is
    /// in it along, unless a later exception brings it back. Whether the path is a folder makes no difference.
    pub fn matches(&self, path: impl AsRef<[u8]>) -> bool {
        let path = String::from_utf8_lossy(path.as_ref());
        let path = path.trim_matches('/');
        let mut matches = FolderMatches::default();
        let ends = path
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([path.len()]);
        let mut matched = false;
        for end in ends {
            (matched, matches) = self.matches_in(&matches, &path[..end]);
        }
        matched
    }

    /// The same for one entry of a folder, given what [`Self::matches_in`] gave for that folder (the default for
    /// the root); gives what to hand down to the entries of `path`.
    pub fn matches_in(
        &self,
        folder: &FolderMatches,
        path: impl AsRef<[u8]>,
    ) -> (bool, FolderMatches) {
        let path = String::from_utf8_lossy(path.as_ref());
        let mut matched = false;
        let mut here = Vec::with_capacity(self.0.len());
        for (index, pattern) in self.0.iter().enumerate() {
            let inherited = folder.0.get(index).copied().unwrap_or(false);
            // A rule that cannot change the verdict so far is not tried.
            let matches = inherited || (pattern.exception == matched && pattern.matches(&path));
            if matches {
                matched = !pattern.exception;
            }
            here.push(matches);
        }
        (matched, FolderMatches(here))
    }

    /// Whether an exception may bring back something below `folder`, which itself is matched: if not, a walk
    /// need not look into it. Yes where that is not easily said.
    pub fn may_contain_exceptions_below(&self, folder: impl AsRef<[u8]>) -> bool {
        let folder = String::from_utf8_lossy(folder.as_ref());
        self.0
            .iter()
            .any(|pattern| pattern.exception && pattern.may_match_below(&folder))
    }

    /// Whether anything below `folder` may be matched: for lists of what to take, where a walk need not look
    /// into a folder of which nothing is taken. Yes where that is not easily said.
    pub fn may_match_below(&self, folder: impl AsRef<[u8]>) -> bool {
        let folder = String::from_utf8_lossy(folder.as_ref());
        self.matches(folder.as_bytes())
            || self
                .0
                .iter()
                .any(|pattern| !pattern.exception && pattern.may_match_below(&folder))
    }
}

/// Cleaned, and without a leading slash.
fn relative(pattern: &str) -> String {
    let clean = clean(pattern);
    match clean.strip_prefix('/') {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => clean,
    }
}

/// Without `.`, doubled and trailing slashes; `..` at the front of a relative one stays, and then nothing
/// matches.
fn clean(pattern: &str) -> String {
    if pattern.starts_with('/') {
        return clean_path("/", pattern);
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        ".".to_owned()
    } else {
        parts.join("/")
    }
}
