//! Files that say whom programs trust, by their form.

use tbuild_netlock::{Authority, KeyStore};

/// How a file says whom to trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A bundle of certificates in PEM.
    Pem,
    /// A key store of Java.
    Java,
}

/// Where distributions keep it: Debian and Alpine; Fedora; Alpine again, for OpenSSL; for Java the same, and the images
/// of a JDK's makers.
pub(super) const FILES: [(&str, Form); 6] = [
    ("etc/ssl/certs/ca-certificates.crt", Form::Pem),
    (
        "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        Form::Pem,
    ),
    ("etc/ssl/cert.pem", Form::Pem),
    ("etc/ssl/certs/java/cacerts", Form::Java),
    ("etc/pki/ca-trust/extracted/java/cacerts", Form::Java),
    ("opt/java/openjdk/lib/security/cacerts", Form::Java),
];

/// What the authority is called in key stores.
const ALIAS: &str = "tbuild";

impl Form {
    /// The file with the authority in it; none if it is of another form.
    pub(super) fn with(self, bytes: &[u8], authority: &Authority) -> Option<Vec<u8>> {
        match self {
            Self::Pem => Some(tbuild_netlock::bundle(bytes, authority.certificate())),
            Self::Java => {
                let mut store = KeyStore::parse(bytes)?;
                store.trust(ALIAS, authority.certificate_der());
                Some(store.to_bytes())
            }
        }
    }

    /// The file without the authority; none if it is not in it.
    pub(super) fn without(self, bytes: &[u8], authority: &Authority) -> Option<Vec<u8>> {
        match self {
            Self::Pem => without(bytes, authority.certificate().as_bytes()),
            Self::Java => {
                let mut store = KeyStore::parse(bytes)?;
                let was_there = store.distrust(authority.certificate_der());
                was_there.then(|| store.to_bytes())
            }
        }
    }
}

/// The bytes without `part`, as often as it is there; none where it is not.
fn without(bytes: &[u8], part: &[u8]) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    let mut rest = bytes;
    let find = |bytes: &[u8]| bytes.windows(part.len()).position(|at| at == part);
    while let Some(at) = find(rest) {
        kept.extend_from_slice(&rest[..at]);
        rest = &rest[at + part.len()..];
    }
    (rest.len() < bytes.len()).then(|| {
        kept.extend_from_slice(rest);
        kept
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_taken_out() {
        let key = Authority::generate_key().expect("a key");
        let authority = Authority::of_key(&key, "test").expect("an authority");
        let mut store = KeyStore::default();
        store.trust("one", b"certificate");
        for (form, own) in [
            (Form::Pem, b"one\n".to_vec()),
            (Form::Java, store.to_bytes()),
        ] {
            let shown = form.with(&own, &authority).expect("of this form");
            assert_ne!(shown, own);
            assert_eq!(form.without(&shown, &authority), Some(own.clone()));
            assert_eq!(form.without(&own, &authority), None);
        }
        assert_eq!(Form::Java.with(b"PKCS #12", &authority), None);
        // As often as it is there.
        let twice = [authority.certificate(), "one\n", authority.certificate()].concat();
        let kept = Form::Pem.without(twice.as_bytes(), &authority);
        assert_eq!(kept.as_deref(), Some(&b"one\n"[..]));
    }
}
