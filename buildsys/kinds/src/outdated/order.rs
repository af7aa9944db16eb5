//! Which of two versions is newer, by what pip (PEP 440), npm and cargo (semver), Go and Maven have in common: numbers
//! count as numbers, and what is called alpha, beta or a candidate comes before what is not.

use std::cmp::Ordering;

/// A part of a version: what a release is without comes between what is before it and what is after.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// `a`, `alpha`, `b`, `rc`, `pre`, `snapshot`, ...; nothing for `dev`.
    Before(String),
    End,
    /// `post`, `r`, `sp`, `final` and others.
    After(String),
    Number(u128),
}

fn parts(version: &str) -> Vec<Part> {
    // What was built of it says nothing of its age (semver, section 10).
    let version = version.split('+').next().unwrap_or_default();
    let version = version.trim_start_matches('v').to_ascii_lowercase();
    let mut parts = Vec::new();
    let mut rest = version.as_str();
    while let Some(first) = rest.chars().next() {
        let is_like = |c: char| {
            c.is_ascii_digit() == first.is_ascii_digit()
                && c.is_alphanumeric() == first.is_alphanumeric()
        };
        let end = rest.find(|c: char| !is_like(c)).unwrap_or(rest.len());
        let (word, others) = rest.split_at(end);
        rest = others;
        if first.is_ascii_digit() {
            parts.push(Part::Number(word.parse().unwrap_or(u128::MAX)));
        } else if first.is_alphanumeric() {
            parts.push(named(word));
        }
    }
    parts
}

fn named(word: &str) -> Part {
    const BEFORE: [&str; 11] = [
        "a", "alpha", "b", "beta", "c", "canary", "m", "pre", "preview", "rc", "snapshot",
    ];
    // Before every alpha (PEP 440, "Summary of permitted suffixes and relative ordering").
    if word == "dev" {
        return Part::Before(String::new());
    }
    let is_before = BEFORE.contains(&word) || matches!(word, "next" | "milestone" | "cr");
    if is_before {
        Part::Before(word.to_owned())
    } else {
        Part::After(word.to_owned())
    }
}

/// Whether a version is one before a release.
pub(super) fn is_before_release(version: &str) -> bool {
    let parts = parts(version);
    parts.iter().any(|part| matches!(part, Part::Before(_)))
}

fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (parts(a), parts(b));
    for at in 0..a.len().max(b.len()) {
        let (one, other) = (
            a.get(at).unwrap_or(&Part::End),
            b.get(at).unwrap_or(&Part::End),
        );
        // 1.0 is 1.
        let order = match (one, other) {
            (Part::Number(0), Part::End) | (Part::End, Part::Number(0)) => Ordering::Equal,
            _ => one.cmp(other),
        };
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Whether `version` is newer than `other`.
pub(super) fn is_newer(version: &str, other: &str) -> bool {
    compare(version, other).is_gt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_versions_are_newer() {
        let rising = [
            "0.9",
            "1.0.dev1",
            "1.0a1",
            "1.0b2",
            "1.0rc1",
            "1.0",
            "1.0.post1",
            "1.0.1",
            "1.2",
            "1.10",
            "2.0.0-beta.2",
            "2.0.0-beta.11",
            "2.0.0-rc.1",
            "2.0.0",
            "v2.0.1",
            "20.1",
        ];
        for pair in rising.windows(2) {
            assert!(is_newer(pair[1], pair[0]), "{pair:?}");
            assert!(!is_newer(pair[0], pair[1]), "{pair:?}");
        }
        for (one, other) in [
            ("1.0", "1.0.0"),
            ("1", "1.0"),
            ("v1.2", "1.2"),
            ("1.2+b", "1.2+a"),
        ] {
            assert!(
                !is_newer(one, other) && !is_newer(other, one),
                "{one} {other}"
            );
        }
        assert!(is_before_release("1.0rc1") && is_before_release("2.0.0-beta.2"));
        assert!(!is_before_release("1.0.post1") && !is_before_release("3.2.1"));
    }

    #[test]
    fn any_text_has_its_place() {
        let texts = [
            "",
            "v",
            "+",
            "1.",
            "a",
            "1a",
            "1.é",
            "999999999999999999999999999999999999999999",
        ];
        for one in texts {
            for other in texts {
                assert_eq!(
                    compare(one, other),
                    compare(other, one).reverse(),
                    "{one} {other}"
                );
            }
        }
    }
}
