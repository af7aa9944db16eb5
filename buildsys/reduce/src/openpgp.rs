//! The signature of what was cut down. Source: RFC 4880, with EdDSA as RFC 9580, section 5.5.5.5, has it.
//!
//! The key is no secret, and the same everywhere: so one release has one signature, on every machine and in every
//! recording. Nothing trusts it but a step that is answered from a lock, which names every answer by its digest.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use ring::error::KeyRejected;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// When the key and every signature were made, for who looks: 1 January 2020, in seconds. Older than any release that
/// is cut down, and not in the future anywhere.
const MADE: u32 = 1_577_836_800;

const USER: &[u8] = b"tbuild: an index cut down to what a step took of it";

/// OpenPGP's numbers: the version of keys and signatures, EdDSA, SHA-256.
const VERSION: u8 = 4;
const EDDSA: u8 = 22;
const SHA2_256: u8 = 8;
/// The curve Ed25519 with its length.
const CURVE: [u8; 10] = [9, 0x2b, 6, 1, 4, 1, 0xda, 0x47, 0x0f, 1];

/// Kinds of signatures.
const OF_TEXT: u8 = 0x01;
const OF_USER: u8 = 0x13;

/// Kinds of packets.
const SIGNATURE: u8 = 2;
const PUBLIC_KEY: u8 = 6;
const USER_ID: u8 = 13;

/// Kinds of subpackets.
const CREATED: u8 = 2;
const ISSUER: u8 = 16;
const KEY_FLAGS: u8 = 27;
const ISSUER_FINGERPRINT: u8 = 33;

/// The key.
#[derive(Debug)]
pub struct Key {
    pair: Ed25519KeyPair,
    /// The body of the public key's packet.
    public: Vec<u8>,
    fingerprint: [u8; 20],
}

impl Key {
    /// The key of all that is cut down.
    pub fn well_known() -> Result<Self, KeyRejected> {
        let seed = digest(&SHA256, b"tbuild: a key that is no secret");
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_ref())?;
        let mut public = vec![VERSION];
        public.extend_from_slice(&MADE.to_be_bytes());
        public.push(EDDSA);
        public.extend_from_slice(&CURVE);
        let mut point = vec![0x40];
        point.extend_from_slice(pair.public_key().as_ref());
        public.extend(integer(&point));
        let hashed = digest(&SHA1_FOR_LEGACY_USE_ONLY, &of_key(&public));
        let mut fingerprint = [0; 20];
        fingerprint.copy_from_slice(hashed.as_ref());
        Ok(Self {
            pair,
            public,
            fingerprint,
        })
    }

    /// The public key with its user, as keyrings hold them (binary).
    pub fn public(&self) -> Vec<u8> {
        let mut certified = of_key(&self.public);
        certified.push(0xb4);
        certified.extend(length(USER.len()));
        certified.extend_from_slice(USER);
        // It may certify and sign.
        let signature = self.sign(OF_USER, certified, &subpacket(KEY_FLAGS, &[0x03]));
        [
            packet(PUBLIC_KEY, &self.public),
            packet(USER_ID, USER),
            signature,
        ]
        .concat()
    }

    /// A text that ends with a newline, with its signature around it (section 7).
    pub fn clear_sign(&self, text: &str) -> String {
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let signature = self.sign(OF_TEXT, lines.join("\r\n").into_bytes(), &[]);
        let mut signed = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n".to_owned();
        for line in lines {
            if line.starts_with('-') {
                signed.push_str("- ");
            }
            signed.push_str(line);
            signed.push('\n');
        }
        signed + &armor("SIGNATURE", &signature)
    }

    /// A signature's packet (section 5.2.3).
    fn sign(&self, kind: u8, mut what: Vec<u8>, more: &[u8]) -> Vec<u8> {
        let mut issuer = vec![VERSION];
        issuer.extend_from_slice(&self.fingerprint);
        let hashed = [
            &subpacket(CREATED, &MADE.to_be_bytes())[..],
            &subpacket(ISSUER_FINGERPRINT, &issuer),
            more,
        ]
        .concat();
        let mut body = vec![VERSION, kind, EDDSA, SHA2_256];
        body.extend(short(hashed.len()));
        body.extend_from_slice(&hashed);
        what.extend_from_slice(&body);
        what.extend_from_slice(&[VERSION, 0xff]);
        what.extend(length(body.len()));
        let digest = digest(&SHA256, &what);
        let issuer = subpacket(ISSUER, &self.fingerprint[12..]);
        body.extend(short(issuer.len()));
        body.extend_from_slice(&issuer);
        body.extend_from_slice(&digest.as_ref()[..2]);
        let signature = self.pair.sign(digest.as_ref());
        for half in signature.as_ref().chunks(32) {
            body.extend(integer(half));
        }
        packet(SIGNATURE, &body)
    }
}

/// What is hashed of a key (section 5.2.4).
fn of_key(public: &[u8]) -> Vec<u8> {
    let mut hashed = vec![0x99];
    hashed.extend(short(public.len()));
    hashed.extend_from_slice(public);
    hashed
}

/// A length in two octets: all that is measured so is made here and shorter.
fn short(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

/// A length in four octets, likewise.
fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

/// A number with its bits counted (section 3.2).
fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0);
    let bytes = &bytes[start.unwrap_or(bytes.len())..];
    let unused = bytes
        .first()
        .map_or(0, |first| first.leading_zeros() as usize);
    let mut integer = short(bytes.len() * 8 - unused).to_vec();
    integer.extend_from_slice(bytes);
    integer
}

/// A packet of the new format, in the longest form of its length (section 4.2.2.3).
fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xc0 | kind, 0xff];
    packet.extend(length(body.len()));
    packet.extend_from_slice(body);
    packet
}

/// A subpacket of less than 192 octets (section 5.2.3.1).
fn subpacket(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut subpacket = vec![u8::try_from(body.len() + 1).unwrap_or(u8::MAX), kind];
    subpacket.extend_from_slice(body);
    subpacket
}

/// Bytes as lines of text (section 6.2).
pub(crate) fn armor(what: &str, bytes: &[u8]) -> String {
    let mut armored = format!("-----BEGIN PGP {what}-----\n\n");
    let text = BASE64_STANDARD.encode(bytes);
    for line in text.as_bytes().chunks(64) {
        armored.push_str(&String::from_utf8_lossy(line));
        armored.push('\n');
    }
    let check = checksum(bytes).to_be_bytes();
    let check = BASE64_STANDARD.encode(&check[1..]);
    armored + &format!("={check}\n-----END PGP {what}-----\n")
}

/// CRC-24 (section 6.1).
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x00b7_04ce, |crc, byte| {
        (0..8).fold(crc ^ (u32::from(*byte) << 16), |crc: u32, _| {
            let shifted = crc << 1;
            if shifted & 0x0100_0000 == 0 {
                shifted
            } else {
                (shifted ^ 0x0186_4cfb) & 0x00ff_ffff
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn gpgv_takes_it() {
        let key = Key::well_known().expect("a key");
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("keys.gpg"), key.public()).expect("written");
        let text = "Origin: Debian\n- not dashed  \n-dashed\n\nEnd: \u{e9}\n";
        let verify = |document: &str| {
            std::fs::write(path("signed"), document).expect("written");
            let mut gpgv = Command::new("gpgv");
            gpgv.arg("--keyring").arg(path("keys.gpg"));
            let output = gpgv.arg("--output").arg("-").arg(path("signed")).output();
            let output = output.expect("gpgv");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.status.success(), output.stdout, said)
        };
        let signed = key.clear_sign(text);
        let (is_good, found, said) = verify(&signed);
        assert!(is_good, "{said}");
        let found = String::from_utf8(found).expect("text");
        assert_eq!(
            found,
            "Origin: Debian\n- not dashed\n-dashed\n\nEnd: \u{e9}\n"
        );
        assert_eq!(crate::apt::signed_text(signed.as_bytes()), Some(found));
        assert!(!verify(&signed.replace("Debian", "Debiam")).0);
        assert_eq!(key.clear_sign(text), signed, "the same every time");
    }

    #[test]
    fn numbers_have_no_zeros_before_them() {
        assert_eq!(integer(&[0, 0, 1, 2]), [0, 9, 1, 2]);
        assert_eq!(integer(&[0xff]), [0, 8, 0xff]);
        assert_eq!(integer(&[]), [0, 0]);
    }

    #[test]
    fn the_checksum_is_that_of_others() {
        // Of gpg --enarmor.
        assert_eq!(checksum(b""), 0x00b7_04ce);
        assert_eq!(checksum(b"123456789"), 0x0021_cf02);
    }
}
