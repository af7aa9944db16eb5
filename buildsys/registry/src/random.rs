//! Names that nobody can guess.

use std::fmt::Write as _;

/// 32 hex digits out of the TLS provider's secure random source; none if it fails.
pub(crate) fn token() -> Option<String> {
    let mut bytes = [0; 16];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .ok()?;
    let mut text = String::with_capacity(32);
    for byte in bytes {
        write!(text, "{byte:02x}").ok()?;
    }
    Some(text)
}
