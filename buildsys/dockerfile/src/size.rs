//! Sizes as Docker's options take them.

/// Reads a number of bytes: `512`, `64m`, `1.5g`, `2GiB`. Letters have no case and mean powers of 1024.
pub fn parse_size(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let unit = unit.strip_suffix('b').unwrap_or(unit);
    let shift = match unit.strip_suffix('i').unwrap_or(unit) {
        "" if unit.is_empty() => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let bytes = whole.checked_mul(1 << shift)?;
    if fraction.is_empty() {
        return (!number.ends_with('.')).then_some(bytes);
    }
    // Six digits are more than a byte of any size that fits.
    let fraction = fraction.get(..6).unwrap_or(fraction);
    let part: u64 = fraction.parse().ok()?;
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u64::try_from((u128::from(part) << shift) / scale).ok()?;
    bytes.checked_add(part)
}
