//! TLS 1.2 and 1.3, served by this process, with a certificate that can be replaced while connections are
//! open.
//!
//! Only HTTP/1.1 is offered (ALPN). HTTP/2 would need separate limits on streams, on resets, and on the data
//! buffered in each stream.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use eventstore::Timestamp;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};
use x509_cert::der::Decode;

use crate::metrics;

/// Reason why a certificate cannot be used. Reveals nothing of the key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate file contains no certificate.
    #[error(
        "the certificate file contains no certificate: expected -----BEGIN CERTIFICATE-----, the server's own certificate first, then the intermediate certificates"
    )]
    NoCertificate,
    /// The key file contains no private key.
    #[error(
        "the key file contains no private key: expected -----BEGIN PRIVATE KEY----- (or EC or RSA PRIVATE KEY), without a passphrase"
    )]
    NoKey,
    /// The certificate cannot be read.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// The key belongs to another certificate.
    #[error(
        "the key does not belong to the certificate: expected the key of the first certificate in the file"
    )]
    KeyOfAnother,
    /// The type of the key or of the certificate is not supported.
    #[error("the key cannot be used: expected RSA of 2048 bits or more, ECDSA (P-256, P-384) or Ed25519")]
    Unsupported,
    /// No TLS version can be offered.
    #[error("TLS cannot be set up")]
    SetUp(#[source] rustls::Error),
}

/// Certificate with its chain and its private key.
#[derive(Debug, Clone)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    begins: Timestamp,
    ends: Timestamp,
}

impl Certificate {
    /// Reads a certificate chain and a private key, both as PEM. The server's own certificate is the first
    /// certificate in the chain.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the chain or the key cannot be read or used, or if they do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| TlsError::Unreadable)?;
        let (begins, ends) =
            validity(chain.first().ok_or(TlsError::NoCertificate)?).ok_or(TlsError::Unreadable)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::NoKey)?;
        let key =
            CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => TlsError::KeyOfAnother,
                rustls::Error::InvalidCertificate(_) => TlsError::Unreadable,
                _ => TlsError::Unsupported,
            })?;
        Ok(Self {
            key: Arc::new(key),
            begins,
            ends,
        })
    }

    /// Start of the certificate's validity.
    #[must_use]
    pub const fn begins(&self) -> Timestamp {
        self.begins
    }

    /// Expiry of the certificate.
    #[must_use]
    pub const fn ends(&self) -> Timestamp {
        self.ends
    }
}

/// Start and end of a certificate's validity.
fn validity(certificate: &CertificateDer<'_>) -> Option<(Timestamp, Timestamp)> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate.validity;
    let moment = |time: x509_cert::time::Time| {
        let micros = time.to_unix_duration().as_micros();
        i64::try_from(micros).ok().map(Timestamp::from_micros)
    };
    Some((moment(validity.not_before)?, moment(validity.not_after)?))
}

/// Certificate for new connections.
struct Present(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for Present {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Present")
    }
}

impl ResolvesServerCert for Present {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// TLS with a certificate. Cheap to clone; all clones share their certificate.
#[derive(Debug, Clone)]
pub struct Tls {
    present: Arc<Present>,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// Creates TLS settings with this certificate.
    ///
    /// # Errors
    ///
    /// [`TlsError::SetUp`].
    pub fn with(certificate: Certificate) -> Result<Self, TlsError> {
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        metrics::certificate_ends(certificate.ends);
        let present = Arc::new(Present(RwLock::new(certificate.key)));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::SetUp)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&present) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            present,
            config: Arc::new(config),
        })
    }

    /// Replaces the certificate for new connections. Open connections are not affected.
    pub fn replace(&self, certificate: Certificate) {
        metrics::certificate_ends(certificate.ends);
        *self.present.0.write().unwrap_or_else(PoisonError::into_inner) = certificate.key;
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}
