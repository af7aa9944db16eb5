//! Secrets kept out of logs: what a step prints of them is replaced.

use std::collections::BTreeMap;

use tbuild_exec::Stream;

use crate::settings::Secret;

/// What stands in a log where a secret was printed.
const MASK: &[u8] = b"***";
/// Shorter lines are no secrets that could be told from other text.
const SHORTEST: usize = 4;

/// Replaces secrets in output that comes in pieces. A piece's end that may be the beginning of a secret waits
/// for the next piece.
pub(crate) struct Redactor {
    /// Longest first, so that a secret counts before one that it begins with.
    patterns: Vec<Vec<u8>>,
    waiting: BTreeMap<bool, Vec<u8>>,
}

impl Redactor {
    /// Hides these secrets: each as a whole and, where it has several, each of its lines.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut patterns = Vec::new();
        for secret in secrets {
            let whole = secret.bytes().trim_ascii_end();
            let lines = whole.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            patterns.extend(
                std::iter::once(whole)
                    .chain(lines)
                    .filter(|pattern| pattern.len() >= SHORTEST)
                    .map(<[u8]>::to_vec),
            );
        }
        patterns.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        patterns.dedup();
        Self {
            patterns,
            waiting: BTreeMap::new(),
        }
    }

    /// Passes on a piece of output.
    pub(crate) fn pass(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        sink: &mut dyn FnMut(Stream, &[u8]),
    ) {
        if self.patterns.is_empty() {
            return sink(stream, bytes);
        }
        let waiting = self.waiting.entry(stream == Stream::Stderr).or_default();
        waiting.extend_from_slice(bytes);
        let (clean, used) = clean(&self.patterns, waiting, false);
        waiting.drain(..used);
        if !clean.is_empty() {
            sink(stream, &clean);
        }
    }

    /// Passes on what still waits.
    pub(crate) fn finish(&mut self, sink: &mut dyn FnMut(Stream, &[u8])) {
        for (is_error, waiting) in std::mem::take(&mut self.waiting) {
            let (clean, _) = clean(&self.patterns, &waiting, true);
            let stream = if is_error {
                Stream::Stderr
            } else {
                Stream::Stdout
            };
            if !clean.is_empty() {
                sink(stream, &clean);
            }
        }
    }
}

/// The text without secrets, and how much of it was dealt with.
fn clean(patterns: &[Vec<u8>], text: &[u8], is_all: bool) -> (Vec<u8>, usize) {
    let mut clean = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if !is_all
            && patterns
                .iter()
                .any(|pattern| rest.len() < pattern.len() && pattern.starts_with(rest))
        {
            break;
        }
        if let Some(pattern) = patterns.iter().find(|pattern| rest.starts_with(pattern)) {
            clean.extend_from_slice(MASK);
            at += pattern.len();
        } else {
            clean.push(text[at]);
            at += 1;
        }
    }
    (clean, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(secrets: &[&str], pieces: &[&str]) -> String {
        let secrets: Vec<Secret> = secrets
            .iter()
            .map(|secret| Secret::new(secret.as_bytes().to_vec()))
            .collect();
        let mut redactor = Redactor::new(&secrets);
        let mut seen = Vec::new();
        for piece in pieces {
            redactor.pass(Stream::Stdout, piece.as_bytes(), &mut |_, bytes| {
                seen.extend_from_slice(bytes);
            });
        }
        redactor.finish(&mut |_, bytes| seen.extend_from_slice(bytes));
        String::from_utf8(seen).expect("text")
    }

    #[test]
    fn secrets_are_masked_however_they_come() {
        assert_eq!(through(&["hunter2\n"], &["a hunter2 b"]), "a *** b");
        assert_eq!(
            through(&["hunter2"], &["a hun", "ter", "2 b hunt"]),
            "a *** b hunt"
        );
        assert_eq!(
            through(&["first\nsecond\n"], &["second", " first\nsecond"]),
            "*** ***"
        );
        assert_eq!(through(&["abcd", "abcdef"], &["abcdef abcde"]), "*** ***e");
        assert_eq!(through(&["x", ""], &["x stays"]), "x stays");
        assert_eq!(through(&[], &["all stays"]), "all stays");
        assert_eq!(through(&["aaab"], &["aaaab"]), "a***");
    }
}
