//! Small files that say what they are: a digest, the name that they are kept under, and the value.
//!
//! ```text
//! <64 hex digits of the SHA-256 of all that follows this line> LF
//! <length of the name in bytes, decimal> LF
//! <name> LF
//! <value>
//! ```
//!
//! The digest is what makes it safe not to sync them: a file that a crash of the machine left short or full
//! of zeros does not parse, and counts as absent.

use tbuild_digest::Sha256;

/// Hex digits of a digest.
const DIGEST: usize = 64;

/// The record of `value` under `name`.
pub fn encode(name: &str, value: &[u8]) -> Vec<u8> {
    // Values can be large: the digest is put into its place rather than the rest behind the digest.
    let head = format!("\n{}\n{name}\n", name.len());
    let mut record = Vec::with_capacity(DIGEST + head.len() + value.len());
    record.resize(DIGEST, b'0');
    record.extend_from_slice(head.as_bytes());
    record.extend_from_slice(value);
    let digest = Sha256::of(&record[DIGEST + 1..]).hex();
    record[..DIGEST].copy_from_slice(digest.as_bytes());
    record
}

/// The name and the value, unless the record is damaged.
pub fn decode(record: &[u8]) -> Option<(&str, &[u8])> {
    let (digest, body) = record.split_at_checked(DIGEST)?;
    let body = body.strip_prefix(b"\n")?;
    if Sha256::of(body).hex().as_bytes() != digest {
        return None;
    }
    let end = body.iter().position(|byte| *byte == b'\n')?;
    let len: usize = std::str::from_utf8(&body[..end]).ok()?.parse().ok()?;
    let (name, value) = body[end + 1..].split_at_checked(len)?;
    Some((std::str::from_utf8(name).ok()?, value.strip_prefix(b"\n")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_round_trip(name in "(?s).{0,20}", value in prop::collection::vec(any::<u8>(), 0..40)) {
            let record = encode(&name, &value);
            prop_assert_eq!(decode(&record), Some((name.as_str(), value.as_slice())));
        }

        #[test]
        fn damage_is_seen(name in ".{0,20}", value in prop::collection::vec(any::<u8>(), 0..40), at in any::<prop::sample::Index>()) {
            let record = encode(&name, &value);
            let at = at.index(record.len());
            prop_assert_eq!(decode(&record[..at]), None);
            let mut flipped = record.clone();
            flipped[at] ^= 1;
            prop_assert_eq!(decode(&flipped), None);
            let zeros = vec![0; record.len()];
            prop_assert_eq!(decode(&zeros), None);
        }
    }
}
