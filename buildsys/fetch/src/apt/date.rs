//! Dates as Release files write them.

/// Seconds since the epoch of a date such as `Wed, 25 Nov 2026 22:17:41 UTC` (RFC 5322, section 3.3, with the
/// zone UTC, GMT, Z or +0000).
pub fn unix_seconds(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let text = text.split_once(',').map_or(text, |(_, rest)| rest);
    let mut words = text.split_whitespace();
    let day: u64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let year: u64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(str::parse::<u64>);
    let (hour, minute, second) = (
        clock.next()?.ok()?,
        clock.next()?.ok()?,
        clock.next()?.ok()?,
    );
    let zone = words.next().unwrap_or("UTC");
    let sane = (1..=31).contains(&day)
        && (1970..=9999).contains(&year)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !sane || !matches!(zone, "UTC" | "GMT" | "Z" | "+0000") {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Days from 1970-01-01 in the Gregorian calendar. The year is counted from March, so that the leap day is last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let in_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + in_year - 719_468
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::unix_seconds;

    #[test]
    fn date_agrees() {
        for text in [
            "Thu, 01 Jan 1970 00:00:00 UTC",
            "Wed, 25 Nov 2026 22:17:41 UTC",
            "Thu, 29 Feb 2024 23:59:59 UTC",
            "Fri, 01 Mar 2024 00:00:00 UTC",
            "Sun, 31 Dec 2000 12:00:00 UTC",
            "Sat,  7 Feb 2106 06:28:15 UTC",
        ] {
            let output = Command::new("date")
                .args(["-u", "+%s", "-d", text])
                .output()
                .unwrap();
            let expected: u64 = String::from_utf8(output.stdout)
                .unwrap()
                .trim()
                .parse()
                .unwrap();
            assert_eq!(unix_seconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn refuses_other_texts() {
        for text in [
            "",
            "soon",
            "Wed, 25 Nov 2026 22:17:41 PST",
            "Wed, 32 Nov 2026 22:17:41 UTC",
            "Wed, 25 Foo 2026 22:17:41 UTC",
        ] {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
    }
}
