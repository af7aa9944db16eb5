//! Days, as locks say when something was resolved or recorded.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::FieldError;

/// A day of the Gregorian calendar, in UTC; as text `2026-11-22` (RFC 3339, `full-date`), from 1970 to 9999. Holds the
/// days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u64);

impl Day {
    /// The day of a time in seconds since the epoch.
    pub fn of_unix(seconds: u64) -> Self {
        const LAST: u64 = 2_932_896;
        Self((seconds / 86_400).min(LAST))
    }

    /// The day with a date; none if the month has no such day.
    fn of_date(year: u64, month: u64, day: u64) -> Option<Self> {
        if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        // Years are counted from March, so that the leap day is last.
        let (of_year, year) = if month > 2 {
            (month - 3, year)
        } else {
            (month + 9, year - 1)
        };
        let of_year = (153 * of_year + 2) / 5 + day - 1;
        let found = Self(year * 365 + year / 4 - year / 100 + year / 400 + of_year - ERA);
        (found.date() == (year + u64::from(month <= 2), month, day)).then_some(found)
    }

    /// Year, month and day.
    fn date(self) -> (u64, u64, u64) {
        // In eras of 400 years.
        let days = self.0 + ERA;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let year = era * 400 + year;
        if month < 10 {
            (year, month + 3, day)
        } else {
            (year + 1, month - 9, day)
        }
    }

    /// How many days this is after another; none where it is before it.
    pub fn days_since(self, other: Self) -> u64 {
        self.0.saturating_sub(other.0)
    }
}

/// Days from 0000-03-01 to 1970-01-01.
const ERA: u64 = 719_468;

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl FromStr for Day {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let number = |at: std::ops::Range<usize>| text.get(at)?.parse().ok();
        let day = (|| Self::of_date(number(0..4)?, number(5..7)?, number(8..10)?))();
        // Other ways to write it are none.
        day.filter(|day| day.to_string() == text)
            .ok_or_else(|| FieldError::Day(text.to_owned()))
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().expect("a day")
    }

    #[test]
    fn days_are_counted() {
        for (seconds, text) in [
            (0, "1970-01-01"),
            (86_399, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_795_392_000, "2026-11-23"),
            (4_107_542_400, "2100-03-01"),
            (u64::MAX, "9999-12-31"),
        ] {
            assert_eq!(Day::of_unix(seconds).to_string(), text);
            assert_eq!(day(text).to_string(), text);
        }
        assert_eq!(day("2026-11-22").days_since(day("2026-10-22")), 31);
        assert_eq!(day("2024-03-01").days_since(day("2024-02-28")), 2);
        assert_eq!(day("2024-02-28").days_since(day("2024-03-01")), 0);
    }

    #[test]
    fn other_texts_are_no_days() {
        for text in [
            "",
            "2026-11-2",
            "2026-11-31",
            "2025-02-29",
            "2026-13-01",
            "2026-00-01",
            "1969-12-31",
            "2026/11/22",
            "+026-11-22",
            "2026-11-22T00:00:00Z",
            "２026-11-22",
        ] {
            assert_eq!(
                text.parse::<Day>(),
                Err(FieldError::Day(text.to_owned())),
                "{text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn every_day_reads_back(number in 0..2_932_896_u64) {
            let found = Day::of_unix(number * 86_400);
            proptest::prop_assert_eq!(found.0, number);
            proptest::prop_assert_eq!(day(&found.to_string()), found);
        }
    }
}
