//! Any text as a file name.

use tbuild_digest::Sha256;

/// Escaped names up to this many bytes stand as they are (file systems take 255).
const LONGEST: usize = 180;

/// `name` as a file name: letters, digits, `-`, `_` and inner dots stay, all else becomes `%XX`. A name that
/// would be too long is cut, and `~` and its digest follow.
pub fn escape(name: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if name.is_empty() {
        return "%".to_owned();
    }
    let mut escaped = String::with_capacity(name.len());
    let mut cut = 0;
    for (at, byte) in name.bytes().enumerate() {
        if escaped.len() <= 100 {
            cut = escaped.len();
        }
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => escaped.push(char::from(byte)),
            b'.' if at > 0 => escaped.push('.'),
            _ => {
                escaped.push('%');
                escaped.push(char::from(DIGITS[usize::from(byte >> 4)]));
                escaped.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
    if escaped.len() > LONGEST {
        escaped.truncate(cut);
        escaped.push('~');
        escaped.push_str(&Sha256::of(name.as_bytes()).hex());
    }
    escaped
}

/// The name that [`escape`] made this file name of; none where the file name holds only its digest, or is
/// none of ours.
pub fn unescape(file: &str) -> Option<String> {
    if file == "%" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(file.len());
    let mut rest = file.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                bytes.push(u8::try_from(digit()? << 4 | digit()?).ok()?);
            }
            b'~' => return None,
            _ => bytes.push(byte),
        }
    }
    let name = String::from_utf8(bytes).ok()?;
    (escape(&name) == file).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dots_do_not_climb() {
        assert_eq!(escape("."), "%2E");
        assert_eq!(escape(".."), "%2E.");
        assert_eq!(escape("a/../b.c"), "a%2F..%2Fb.c");
    }

    proptest! {
        #[test]
        fn escaping_is_injective_and_short(a in ".{0,120}", b in ".{0,120}") {
            let escaped = escape(&a);
            prop_assert!(!escaped.is_empty() && escaped.len() <= LONGEST && !escaped.contains('/'));
            prop_assert_eq!(a == b, escaped == escape(&b));
            if !escaped.contains('~') {
                prop_assert_eq!(unescape(&escaped), Some(a));
            }
        }
    }
}
