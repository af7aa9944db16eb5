//! Names in a step's network: each gets an address of the loopback device when it is first asked for.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

/// Addresses by name, and back. 127.0.0.0/16 is left to what steps themselves do there.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    addresses: HashMap<String, Ipv4Addr>,
    names: Vec<String>,
}

/// As many names as one step may ask for.
const MOST: usize = 100_000;

impl Names {
    /// The address of `name`, which is lower case without the last dot; none once there are too many.
    pub(crate) fn address(&self, name: &str) -> Option<Ipv4Addr> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = table.addresses.get(name) {
            return Some(*address);
        }
        let number = u32::try_from(table.names.len()).ok()?;
        if table.names.len() >= MOST {
            return None;
        }
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + number);
        table.addresses.insert(name.to_owned(), address);
        table.names.push(name.to_owned());
        Some(address)
    }

    /// The name that got `address`.
    pub(crate) fn name(&self, address: Ipv4Addr) -> Option<String> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = u32::from(address).checked_sub(u32::from(Ipv4Addr::new(127, 1, 0, 1)))?;
        table.names.get(usize::try_from(number).ok()?).cloned()
    }
}

const HEADER: usize = 12;
const A: u16 = 1;
const ANY: u16 = 255;
const IN: u16 = 1;

/// Answers a DNS message (RFC 1035, section 4): one question; an address for A, nothing for other types. None for
/// what is no query.
pub(crate) fn answer(query: &[u8], names: &Names) -> Option<Vec<u8>> {
    let (header, questions) = query.split_at_checked(HEADER)?;
    let is_response = header[2] & 0x80 != 0;
    let opcode = header[2] >> 3 & 0xF;
    if is_response {
        return None;
    }
    let mut reply = header[..2].to_vec();
    // QR, the opcode and RD of the query, RA.
    reply.extend([0x80 | header[2] & 0x79, 0x80]);
    let count = u16::from_be_bytes([header[4], header[5]]);
    let question = (opcode == 0 && count == 1)
        .then(|| question(questions))
        .flatten();
    let Some((name, length, kind, class)) = question else {
        const NOT_IMPLEMENTED: u8 = 4;
        reply[3] |= NOT_IMPLEMENTED;
        reply.extend([0; 8]);
        return Some(reply);
    };
    let is_asked = class == IN && (kind == A || kind == ANY);
    let address = if is_asked { names.address(&name) } else { None };
    let answers = u8::from(address.is_some());
    reply.extend([0, 1, 0, answers, 0, 0, 0, 0]);
    reply.extend(&questions[..length]);
    if let Some(address) = address {
        // A pointer to the question's name, type A, class IN, an hour, four bytes.
        reply.extend([0xC0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0x0E, 0x10, 0, 4]);
        reply.extend(address.octets());
    }
    Some(reply)
}

/// The name of the first question in lower case, how long the question is, its type and class.
fn question(bytes: &[u8]) -> Option<(String, usize, u16, u16)> {
    const LONGEST: usize = 255;
    let mut name = String::new();
    let mut at = 0;
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        // More than 63 is a pointer, which a question has no use for.
        if length > 63 || name.len() + length > LONGEST {
            return None;
        }
        let label = bytes.get(at..at + length)?;
        at += length;
        if !name.is_empty() {
            name.push('.');
        }
        for byte in label {
            let is_plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if !is_plain {
                return None;
            }
            name.push(char::from(byte.to_ascii_lowercase()));
        }
    }
    let rest = bytes.get(at..at + 4)?;
    let kind = u16::from_be_bytes([rest[0], rest[1]]);
    let class = u16::from_be_bytes([rest[2], rest[3]]);
    Some((name, at + 4, kind, class))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut bytes = vec![0xAB, 0xCD, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        bytes
    }

    #[test]
    fn every_name_has_an_address_of_its_own() {
        let names = Names::default();
        let one = answer(&query("Example.com", A), &names).expect("answered");
        let two = answer(&query("other.example.com", A), &names).expect("answered");
        assert_eq!((&one[..2], one[2], one[3]), (&[0xAB, 0xCD][..], 0x81, 0x80));
        assert_eq!(one[one.len() - 4..], [127, 1, 0, 1]);
        assert_eq!(two[two.len() - 4..], [127, 1, 0, 2]);
        assert_eq!(
            answer(&query("example.com", A), &names).expect("answered")[one.len() - 4..],
            [127, 1, 0, 1]
        );
        assert_eq!(
            names.name(Ipv4Addr::new(127, 1, 0, 2)).as_deref(),
            Some("other.example.com")
        );
        assert_eq!(names.name(Ipv4Addr::new(127, 1, 0, 3)), None);
        assert_eq!(names.name(Ipv4Addr::LOCALHOST), None);
    }

    #[test]
    fn other_types_have_no_answer_and_no_error() {
        const AAAA: u16 = 28;
        let reply = answer(&query("example.com", AAAA), &Names::default()).expect("answered");
        assert_eq!((reply[3] & 0xF, reply[7]), (0, 0));
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let _answer = answer(&bytes, &Names::default());
        }
    }
}
