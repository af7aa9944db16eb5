//! Package versions and their order (deb-version(7)).

use std::cmp::Ordering;
use std::fmt;

/// A version: `[epoch:]upstream[-revision]`. Any text is a version of some kind; archives hold only good ones.
#[derive(Debug, Clone)]
pub struct Version(String);

impl Version {
    /// The version that `text` writes.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Epoch, upstream version, revision.
    fn parts(&self) -> (u64, &str, &str) {
        let text = self.0.as_str();
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
            None => (0, text),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch, upstream, revision)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let (epoch, upstream, revision) = self.parts();
        let (other_epoch, other_upstream, other_revision) = other.parts();
        epoch
            .cmp(&other_epoch)
            .then_with(|| compare(upstream.as_bytes(), other_upstream.as_bytes()))
            .then_with(|| compare(revision.as_bytes(), other_revision.as_bytes()))
    }
}

/// deb-version(7), "Sorting algorithm": stretches without digits and numbers by turns.
fn compare(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        loop {
            let (x, y) = (text(a), text(b));
            if x.is_none() && y.is_none() {
                break;
            }
            let order = x.map_or(0, weight).cmp(&y.map_or(0, weight));
            if order.is_ne() {
                return order;
            }
            a = &a[usize::from(x.is_some())..];
            b = &b[usize::from(y.is_some())..];
        }
        let (x, y) = (number(&mut a), number(&mut b));
        // Without leading zeros the longer number is the larger one, however long.
        let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// The first byte, if it is no digit.
fn text(version: &[u8]) -> Option<u8> {
    version
        .first()
        .copied()
        .filter(|byte| !byte.is_ascii_digit())
}

/// Letters sort before other characters, `~` before everything, the end included (weight 0).
fn weight(byte: u8) -> i32 {
    match byte {
        b'~' => -1,
        letter if letter.is_ascii_alphabetic() => i32::from(letter),
        other => i32::from(other) + 256,
    }
}

/// Takes the number that `version` starts with, without leading zeros.
fn number<'a>(version: &mut &'a [u8]) -> &'a [u8] {
    let end = version
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(version.len());
    let (digits, rest) = version.split_at(end);
    *version = rest;
    let start = digits
        .iter()
        .position(|&digit| digit != b'0')
        .unwrap_or(digits.len());
    &digits[start..]
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn dpkg(a: &str, relation: &str, b: &str) -> bool {
        Command::new("dpkg")
            .args(["--compare-versions", a, relation, b])
            .status()
            .unwrap()
            .success()
    }

    fn agrees(a: &str, b: &str) {
        let ours = Version::new(a).cmp(&Version::new(b));
        let theirs = if dpkg(a, "lt", b) {
            Ordering::Less
        } else if dpkg(a, "gt", b) {
            Ordering::Greater
        } else {
            Ordering::Equal
        };
        assert_eq!(ours, theirs, "{a} against {b}");
    }

    #[test]
    fn dpkg_agrees_on_the_odd_ones() {
        let versions = [
            "1.0",
            "1.0-0",
            "1.0-1",
            "0:1.0",
            "1:0.1",
            "1.0~rc1",
            "1.0~~",
            "1.0~",
            "1.0+b1",
            "1.0a",
            "1.0.",
            "1.00",
            "01.0",
            "1.0-1~bpo12+1",
            "2:1-1-1",
            "1.2.3-4+deb12u5",
            "1.2.3-4+deb12u15",
            "12345678901234567890123",
            "12345678901234567890124",
            "1.0-a",
            "1.0-",
            "1",
        ];
        for a in versions {
            for b in versions {
                // dpkg refuses an empty revision; ours is then as if there were none.
                if !a.ends_with('-') && !b.ends_with('-') {
                    agrees(a, b);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
        #[test]
        fn dpkg_agrees(a in "([0-2]:)?[0-9][0-9a-c.+~]{0,5}(-[0-9a-c+.~]{1,4})?", b in "([0-2]:)?[0-9][0-9a-c.+~]{0,5}(-[0-9a-c+.~]{1,4})?") {
            agrees(&a, &b);
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in "[0-9a-c.+~:-]{0,8}", b in "[0-9a-c.+~:-]{0,8}", c in "[0-9a-c.+~:-]{0,8}") {
            let (a, b, c) = (Version::new(a), Version::new(b), Version::new(c));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }
    }
}
