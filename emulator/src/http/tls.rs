//! TLS with a certificate of the emulator's own, made at the start.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest that all clients accept.
const VALIDITY: Duration = Duration::from_secs(397 * 24 * 60 * 60);

/// What connections are secured with.
pub(crate) struct Tls {
    pub(super) acceptor: TlsAcceptor,
    /// For clients to trust.
    pub(crate) certificate_pem: String,
}

impl Tls {
    /// Makes a self-signed certificate for the machine itself, and for `address`.
    ///
    /// # Errors
    /// A description of what the cryptography refused.
    pub(crate) fn generate(address: IpAddr) -> Result<Self, String> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        if !address.is_unspecified() && !address.is_loopback() {
            names.push(address.to_string());
        }
        let text = |error: rcgen::Error| error.to_string();
        let mut params = CertificateParams::new(names).map_err(text)?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // A day back, for clocks that differ.
        let now = SystemTime::now();
        params.not_before = (now - DAY).into();
        params.not_after = (now + VALIDITY - DAY).into();
        let key = KeyPair::generate().map_err(text)?;
        let certificate = params.self_signed(&key).map_err(text)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        // Named, because the process may have other users of rustls with another default.
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .map_err(|error| error.to_string())?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate_pem: certificate.pem() })
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
