//! Keyrings, as apt and gpgv read them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::openpgp::armor;

/// A keyring with one more key; as text if it is text.
pub fn with_key(keyring: &[u8], key: &[u8]) -> Vec<u8> {
    match dearmored(keyring) {
        Some(keys) => armor("PUBLIC KEY BLOCK", &[&keys[..], key].concat()).into_bytes(),
        None => [keyring, key].concat(),
    }
}

/// The bytes of a keyring that is text; none if it is not, or not by the rules (RFC 4880, section 6.2).
fn dearmored(keyring: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(keyring).ok()?;
    let mut keys = Vec::new();
    let mut blocks = text.split("-----BEGIN PGP PUBLIC KEY BLOCK-----");
    blocks.next();
    for block in blocks {
        let block = block.replace('\r', "");
        let (body, _) = block.split_once("-----END PGP")?;
        let (_, body) = body.split_once("\n\n")?;
        let lines = body.lines().take_while(|line| !line.starts_with('='));
        let text: String = lines.map(str::trim).collect();
        keys.extend(BASE64_STANDARD.decode(text).ok()?);
    }
    (!keys.is_empty()).then_some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyrings_stay_what_they_are() {
        assert_eq!(with_key(b"\x99one", b"\x98two"), b"\x99one\x98two");
        let one = armor("PUBLIC KEY BLOCK", b"\x99one");
        let two = armor("PUBLIC KEY BLOCK", b"\x98two");
        let both = with_key(one.as_bytes(), b"\x98two");
        assert_eq!(dearmored(&both).expect("text"), b"\x99one\x98two");
        let blocks = format!("a comment\n{one}\n{two}").replace('\n', "\r\n");
        assert_eq!(
            dearmored(blocks.as_bytes()).expect("text"),
            b"\x99one\x98two"
        );
    }
}
