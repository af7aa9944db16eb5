//! Durations as Go writes them: `1h30m`, `1.5s`, `300ms`.

/// Units and their length in nanoseconds, longer spellings first where one starts with another.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("\u{b5}s", 1e3),
    ("\u{3bc}s", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Nanoseconds of a duration that is not negative; none where the text is none. `0` needs no unit.
pub fn parse_duration(text: &str) -> Option<u64> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number = &rest[..digits];
        if !number.contains(|c: char| c.is_ascii_digit()) {
            return None;
        }
        rest = &rest[digits..];
        let unit_end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..unit_end])?;
        rest = &rest[unit_end..];
        let value = if let Ok(whole) = number.parse::<u64>() {
            whole.checked_mul(*unit as u64)?
        } else {
            let value = number.parse::<f64>().ok()? * unit;
            if value >= 9.2e18 {
                return None;
            }
            value as u64
        };
        total = total.checked_add(value)?;
    }
    (i64::try_from(total).is_ok()).then_some(total)
}
