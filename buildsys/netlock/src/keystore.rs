//! Key stores of Java, which reads no PEM bundle.
//!
//! The format is that of `sun.security.provider.JavaKeyStore` (JKS, version 2): a header, entries, and the SHA-1 of a
//! password and of all before. Every distribution's `cacerts` has the same password, which protects nothing: JVMs read
//! that file without it. All of them read JKS, whatever type they have by default (`keystore.type.compat`).

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha1::{Digest as _, Sha1};

const MAGIC: u32 = 0xFEED_FEED;
const VERSION: u32 = 2;
const KEY: u32 = 1;
const CERTIFICATE: u32 = 2;
const X509: &[u8] = b"X.509";
const PASSWORD: &str = "changeit";
const SALT: &[u8] = b"Mighty Aphrodite";
const DIGEST: usize = 20;

/// A key store that any program may read and write: one with the usual password, or with certificates alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyStore {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    tag: u32,
    /// In Java's own UTF-8.
    alias: Vec<u8>,
    /// Milliseconds since 1970.
    made: u64,
    /// What follows: of a certificate its type and its bytes, each after its length.
    rest: Vec<u8>,
}

impl KeyStore {
    /// Reads one; none where the bytes are something else, or have another password.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
        if digest != digest_of(content) {
            return None;
        }
        let mut reader = Reader(content);
        if reader.number()? != MAGIC || reader.number()? != VERSION {
            return None;
        }
        let count = reader.number()?;
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(reader.entry()?);
        }
        reader.0.is_empty().then_some(Self { entries })
    }

    /// One with the certificates of a bundle (PEM), which are named by their order.
    pub fn of_bundle(bundle: &[u8]) -> Self {
        let mut store = Self::default();
        let certificates = CertificateDer::pem_slice_iter(bundle).flatten();
        for (number, certificate) in certificates.enumerate() {
            store.trust(&number.to_string(), &certificate);
        }
        store
    }

    /// Adds a certificate (DER), in the place of what has that alias.
    pub fn trust(&mut self, alias: &str, certificate: &[u8]) {
        let mut rest = Vec::new();
        rest.extend((X509.len() as u16).to_be_bytes());
        rest.extend(X509);
        rest.extend((certificate.len() as u32).to_be_bytes());
        rest.extend(certificate);
        self.entries.retain(|entry| entry.alias != alias.as_bytes());
        self.entries.push(Entry {
            tag: CERTIFICATE,
            alias: alias.as_bytes().to_vec(),
            made: 0,
            rest,
        });
    }

    /// Takes a certificate (DER) out, whatever its alias; whether it was there.
    pub fn distrust(&mut self, certificate: &[u8]) -> bool {
        let before = self.entries.len();
        self.entries
            .retain(|entry| entry.tag != CERTIFICATE || !entry.rest.ends_with(certificate));
        self.entries.len() < before
    }

    /// Gives all entries the time 0 and the order of their aliases: what Java makes of them does not depend on either,
    /// and tools write the time of day and the order in which they were given folders.
    pub fn normalize(&mut self) {
        for entry in &mut self.entries {
            entry.made = 0;
        }
        self.entries.sort_by(|a, b| a.alias.cmp(&b.alias));
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(MAGIC.to_be_bytes());
        bytes.extend(VERSION.to_be_bytes());
        bytes.extend((self.entries.len() as u32).to_be_bytes());
        for entry in &self.entries {
            bytes.extend(entry.tag.to_be_bytes());
            bytes.extend((entry.alias.len() as u16).to_be_bytes());
            bytes.extend(&entry.alias);
            bytes.extend(entry.made.to_be_bytes());
            bytes.extend(&entry.rest);
        }
        let digest = digest_of(&bytes);
        bytes.extend(digest);
        bytes
    }
}

fn digest_of(content: &[u8]) -> [u8; DIGEST] {
    let mut sha1 = Sha1::new();
    for unit in PASSWORD.encode_utf16() {
        sha1.update(unit.to_be_bytes());
    }
    sha1.update(SALT);
    sha1.update(content);
    sha1.finalize().into()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Text after its length in two bytes.
    fn text(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        self.take(length.into())
    }

    /// Bytes after their length in four.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length.try_into().ok()?)
    }

    fn certificate(&mut self) -> Option<()> {
        self.text()?;
        self.bytes()?;
        Some(())
    }

    fn entry(&mut self) -> Option<Entry> {
        let tag = self.number()?;
        let alias = self.text()?.to_vec();
        let made = u64::from_be_bytes(self.take(8)?.try_into().ok()?);
        let begin = self.0;
        match tag {
            CERTIFICATE => self.certificate()?,
            KEY => {
                self.bytes()?;
                for _ in 0..self.number()? {
                    self.certificate()?;
                }
            }
            _ => return None,
        }
        let rest = begin[..begin.len() - self.0.len()].to_vec();
        Some(Entry {
            tag,
            alias,
            made,
            rest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> KeyStore {
        let mut store = KeyStore::default();
        store.trust("two", b"another");
        store.trust("one", b"certificate");
        store.entries[0].made = 1_234_567;
        store
    }

    #[test]
    fn what_is_written_is_read() {
        let store = store();
        assert_eq!(KeyStore::parse(&store.to_bytes()), Some(store));
    }

    #[test]
    fn certificates_come_and_go() {
        let plain = store();
        let mut store = plain.clone();
        store.trust("tbuild", b"own");
        assert!(store.distrust(b"own"));
        assert!(!store.distrust(b"own"));
        assert_eq!(store, plain);
    }

    #[test]
    fn times_and_order_do_not_show() {
        let mut store = store();
        store.normalize();
        let mut other = KeyStore::default();
        other.trust("one", b"certificate");
        other.trust("two", b"another");
        assert_eq!(store, other);
    }

    #[test]
    fn other_files_are_none() {
        let bytes = store().to_bytes();
        assert_eq!(KeyStore::parse(b""), None);
        assert_eq!(KeyStore::parse(&bytes[..bytes.len() - 1]), None);
        let mut changed = bytes.clone();
        changed[30] ^= 1;
        assert_eq!(KeyStore::parse(&changed), None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(content in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let mut bytes = [&MAGIC.to_be_bytes()[..], &VERSION.to_be_bytes(), &content].concat();
            bytes.extend(digest_of(&bytes));
            if let Some(store) = KeyStore::parse(&bytes) {
                assert_eq!(store.to_bytes(), bytes);
            }
        }
    }
}
