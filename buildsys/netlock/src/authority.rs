//! A certificate authority that only the steps of one store trust, so that the gateway can take TLS by any name.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Why there is no authority, or no certificate of it.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The key cannot be used.
    #[error("the authority's key cannot be used: {0}")]
    Key(rcgen::Error),
    /// A certificate could not be made.
    #[error("cannot make a certificate for {name}: {why}")]
    Certificate {
        /// For whom.
        name: String,
        /// Why not.
        why: String,
    },
}

/// The authority. Its key signs for every name that a step asks for, and must never leave the store's private folder.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    der: Vec<u8>,
    leaf_key: KeyPair,
    issued: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

/// A name as the subject of the authority; the store's own part tells two stores apart.
fn parameters(store: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "tbuild");
    name.push(DnType::CommonName, format!("tbuild recorded steps {store}"));
    parameters.distinguished_name = name;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut parameters);
    parameters
}

/// From 2000 to 2049: what a step thinks of the time is its own matter.
fn validity(parameters: &mut CertificateParams) {
    parameters.not_before = date_time_ymd(2000, 1, 1);
    parameters.not_after = date_time_ymd(2049, 12, 31);
}

impl Authority {
    /// A new key in PEM (PKCS #8), to be kept by the caller where nobody else reads.
    pub fn generate_key() -> Result<String, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Key)?;
        Ok(key.serialize_pem())
    }

    /// The authority of a key that [`Self::generate_key`] made. `store` names the store in the certificate, in a few
    /// characters.
    pub fn of_key(key: &str, store: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key).map_err(AuthorityError::Key)?;
        let parameters = parameters(store);
        let certificate = parameters
            .self_signed(&key)
            .map_err(|error| certificate("itself", error))?;
        Ok(Self {
            issuer: Issuer::new(parameters, key),
            certificate: certificate.pem(),
            der: certificate.der().to_vec(),
            leaf_key: KeyPair::generate().map_err(AuthorityError::Key)?,
            issued: Mutex::default(),
        })
    }

    /// The certificate in PEM, for the trust stores of steps.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The same in DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate of `name`, a host name or an IP address, with its key.
    pub fn issue(&self, name: &str) -> Result<Arc<CertifiedKey>, AuthorityError> {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = issued.get(name) {
            return Ok(Arc::clone(found));
        }
        let mut parameters =
            CertificateParams::new([name.to_owned()]).map_err(|error| certificate(name, error))?;
        // A common name longer than 64 bytes is none (RFC 5280, ub-common-name); clients read the other names.
        parameters.distinguished_name = DistinguishedName::new();
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.use_authority_key_identifier_extension = true;
        validity(&mut parameters);
        let leaf = parameters
            .signed_by(&self.leaf_key, &self.issuer)
            .map_err(|error| certificate(name, error))?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let key = ring::sign::any_supported_type(&key).map_err(|error| certificate(name, error))?;
        let pair = Arc::new(CertifiedKey::new(vec![leaf.der().clone()], key));
        issued.insert(name.to_owned(), Arc::clone(&pair));
        Ok(pair)
    }
}

fn certificate(name: &str, why: impl fmt::Display) -> AuthorityError {
    AuthorityError::Certificate {
        name: name.to_owned(),
        why: why.to_string(),
    }
}

/// Answers a handshake with the certificate of the name that the client asks for (SNI), or of the name whose address
/// it connected to.
#[derive(Debug)]
pub(crate) struct ByName {
    pub(crate) authority: Arc<Authority>,
    pub(crate) otherwise: String,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().unwrap_or(&self.otherwise);
        match self.authority.issue(name) {
            Ok(pair) => Some(pair),
            Err(error) => {
                tracing::warn!(%error, "a handshake of a step fails");
                None
            }
        }
    }
}
