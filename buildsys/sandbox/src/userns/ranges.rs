//! Subordinate ids: who may use which.

use std::process::Command;

/// Ranges of ids that a user may map: first id and count each.
pub type Ranges = Vec<(u32, u32)>;

/// The ranges of `uid` in /etc/subuid and in /etc/subgid; empty where there are none.
pub fn subordinate(uid: u32) -> (Ranges, Ranges) {
    let name = name_of(uid);
    let ranges = |file: &str, flag: &[&str]| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let found = parse(&text, uid, name.as_deref());
        match &name {
            // They may come from elsewhere (nsswitch.conf, `subid`), which getsubids(1) knows.
            Some(name) if found.is_empty() => getsubids(flag, name),
            _ => found,
        }
    };
    (ranges("/etc/subuid", &[]), ranges("/etc/subgid", &["-g"]))
}

fn name_of(uid: u32) -> Option<String> {
    let find = |text: &str| {
        text.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
        })
    };
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    find(&text).or_else(|| {
        let output = Command::new("getent")
            .args(["passwd", &uid.to_string()])
            .output();
        find(&String::from_utf8_lossy(&output.ok()?.stdout))
    })
}

/// Lines `name-or-id:first:count` (subuid(5)).
fn parse(text: &str, uid: u32, name: Option<&str>) -> Ranges {
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        if Some(owner) != name && owner.parse() != Ok(uid) {
            return None;
        }
        let first: u32 = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        (count > 0 && first.checked_add(count).is_some()).then_some((first, count))
    };
    text.lines().filter_map(range).collect()
}

/// What getsubids prints: `0: name first count`.
fn getsubids(flag: &[&str], name: &str) -> Ranges {
    let Ok(output) = Command::new("getsubids").args(flag).arg(name).output() else {
        return Ranges::new();
    };
    let range = |line: &str| {
        let mut fields = line.split_whitespace().skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(range)
        .collect()
}

/// The arguments of newuidmap and newgidmap after the process: `own` becomes 0, the ranges follow from 1 on.
pub(super) fn map(own: u32, ranges: &[(u32, u32)]) -> Vec<String> {
    let mut words = vec![0, own, 1];
    let mut next = 1_u32;
    for (first, count) in ranges {
        let count = (*count).min(u32::MAX - 1 - next);
        words.extend([next, *first, count]);
        next += count;
    }
    words.iter().map(u32::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_name_and_number() {
        let text = "root:1:2\nalice:100000:65536\n# note\n1000:300000:10\nalice:bad:1\nalice:7:0\nalice:4294967295:9\n";
        assert_eq!(
            parse(text, 1000, Some("alice")),
            [(100_000, 65_536), (300_000, 10)]
        );
        assert_eq!(parse(text, 5, None), []);
    }

    #[test]
    fn ranges_follow_each_other() {
        let words = map(1000, &[(100_000, 65_536), (300_000, 10)]).join(" ");
        assert_eq!(words, "0 1000 1 1 100000 65536 65537 300000 10");
    }
}
