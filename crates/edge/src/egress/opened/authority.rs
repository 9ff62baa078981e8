//! The node's certificate authority, which sandboxes trust and nobody else does.

use rcgen::{
    date_time_ymd, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wardian_wire::egress::destination::Host;

/// A leaf holds from a day before it is made, for clocks that are behind, to a week after.
const BEFORE: Duration = Duration::from_secs(24 * 3600);
const AFTER: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest common name (RFC 5280, A.1: ub-common-name).
const MAX_COMMON_NAME: usize = 64;
const SERIAL_BYTES: usize = 16;

/// Why an authority can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityError {
    /// The certificate or the key is no such thing.
    #[error("the egress authority can't be used: {0}; the control plane makes another when its files are removed")]
    Unusable(#[from] rcgen::Error),
    /// There is no certificate in the PEM text.
    #[error("the egress authority's certificate is not in PEM form")]
    NoCertificate,
    /// The kernel gave no random numbers, or the key is of a kind that TLS can't use.
    #[error("leaf certificates can't be made: {0}")]
    Leaf(#[from] rustls::Error),
}

/// A certificate authority with the one key that all its leaves share.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    leaf_pair: KeyPair,
    leaf_key: Arc<dyn SigningKey>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads certificate and key, and makes the key of the leaves.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub(crate) fn new(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let certificate = rustls_pemfile::certs(&mut certificate.as_bytes())
            .next()
            .and_then(Result::ok)
            .ok_or(AuthorityError::NoCertificate)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, KeyPair::from_pem(key)?)?;
        let leaf_pair = KeyPair::generate()?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_pair.serialize_der()));
        let leaf_key = default_provider().key_provider.load_private_key(private)?;
        Ok(Self {
            issuer,
            certificate,
            leaf_pair,
            leaf_key,
        })
    }

    /// Makes a leaf for one name or address, with the chain up to the authority.
    ///
    /// # Errors
    /// [`AuthorityError`] where the name can't stand in a certificate.
    pub(crate) fn issue(&self, subject: &Host) -> Result<CertifiedKey, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(subject);
        params.subject_alt_names = vec![match subject {
            Host::Name(name) => SanType::DnsName(name.as_str().try_into()?),
            Host::Address(address) => SanType::IpAddress(*address),
        }];
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let epoch = date_time_ymd(1970, 1, 1);
        params.not_before = epoch + now.saturating_sub(BEFORE);
        params.not_after = epoch + now + AFTER;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial()?);
        let leaf = params.signed_by(&self.leaf_pair, &self.issuer)?;
        let chain = vec![leaf.der().clone(), self.certificate.clone()];
        Ok(CertifiedKey::new(chain, Arc::clone(&self.leaf_key)))
    }
}

fn distinguished_name(subject: &Host) -> DistinguishedName {
    let text = subject.to_string();
    let mut name = DistinguishedName::new();
    // The name that counts is the alternative one; this one is for people and old programs.
    let common = if text.len() <= MAX_COMMON_NAME {
        text
    } else {
        "Wardian egress".to_owned()
    };
    name.push(DnType::CommonName, common);
    name
}

/// A positive number that no other leaf has: some clients refuse two certificates of one serial.
fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; SERIAL_BYTES];
    let filled = default_provider().secure_random.fill(&mut bytes);
    filled.map_err(|_| AuthorityError::Leaf(rustls::Error::FailedToGetRandomBytes))?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rcgen::BasicConstraints;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::client::WebPkiServerVerifier;
    use rustls::pki_types::{ServerName, UnixTime};
    use rustls::RootCertStore;

    /// PEM of the certificate and key of a fresh authority.
    pub(in crate::egress::opened) fn pem() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "Wardian test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn verify(root: &str, chain: &[CertificateDer<'_>], name: &str) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        for one in rustls_pemfile::certs(&mut root.as_bytes()) {
            roots.add(one.unwrap()).unwrap();
        }
        let provider = Arc::new(default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let name = ServerName::try_from(name).unwrap();
        let verifier = verifier.build().unwrap();
        verifier
            .verify_server_cert(&chain[0], &chain[1..], &name, &[], UnixTime::now())
            .map(|_| ())
    }

    #[test]
    fn a_leaf_is_good_for_its_name_alone() {
        let (certificate, key) = pem();
        let authority = Authority::new(&certificate, &key).unwrap();
        let long = format!("{}.example", "a".repeat(63));
        for name in ["api.example.com", "127.0.0.1", long.as_str()] {
            let subject = Host::parse(name).unwrap();
            let leaf = authority.issue(&subject).unwrap();
            verify(&certificate, &leaf.cert, name).unwrap();
            assert!(verify(&certificate, &leaf.cert, "other.example.com").is_err());
            assert!(verify(&pem().0, &leaf.cert, name).is_err());
        }
    }

    #[test]
    fn the_authority_is_named_by_the_key_it_says_it_has() {
        use x509_parser::prelude::*;
        let (certificate, key) = pem();
        let authority = Authority::new(&certificate, &key).unwrap();
        let subject = Host::parse("a.example").unwrap();
        let (one, two) = (
            authority.issue(&subject).unwrap(),
            authority.issue(&subject).unwrap(),
        );
        let (_, leaf) = X509Certificate::from_der(&one.cert[0]).unwrap();
        let (_, again) = X509Certificate::from_der(&two.cert[0]).unwrap();
        let (_, root) = X509Certificate::from_der(&one.cert[1]).unwrap();
        assert_ne!(leaf.raw_serial(), again.raw_serial());
        assert_eq!(leaf.issuer().as_raw(), root.subject().as_raw());
        let mut named = None;
        for extension in leaf.extensions() {
            if let ParsedExtension::AuthorityKeyIdentifier(found) = extension.parsed_extension() {
                named = found.key_identifier.clone();
            }
        }
        let own =
            root.extensions()
                .iter()
                .find_map(|extension| match extension.parsed_extension() {
                    ParsedExtension::SubjectKeyIdentifier(found) => Some(found.clone()),
                    _ => None,
                });
        assert!(named.is_some());
        assert_eq!(named, own);
        let validity = leaf.validity();
        let span = validity.not_after.timestamp() - validity.not_before.timestamp();
        assert_eq!(span, 8 * 24 * 3600);
    }

    #[test]
    fn nonsense_is_no_authority_and_no_key_is_shown() {
        let (certificate, key) = pem();
        assert!(Authority::new("", &key).is_err());
        assert!(Authority::new(&certificate, "").is_err());
        let authority = Authority::new(&certificate, &key).unwrap();
        assert_eq!(format!("{authority:?}"), "Authority { .. }");
    }
}
