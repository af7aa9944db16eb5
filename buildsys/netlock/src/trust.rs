//! What programs of a step trust.

/// A bundle (PEM) of what is trusted anyway and of a step's authority.
pub fn bundle(trusted: &[u8], authority: &str) -> Vec<u8> {
    let mut bundle = trusted.to_vec();
    if !bundle.is_empty() && !bundle.ends_with(b"\n") {
        bundle.push(b'\n');
    }
    bundle.extend(authority.as_bytes());
    bundle
}
