//! TLS, served by the process itself: 1.2 and 1.3, with a certificate that can be replaced while connections
//! are open.
//!
//! HTTP/1.1 only is offered (ALPN). HTTP/2 would need limits of its own: on streams, on resets, on what waits
//! in each.

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

/// Why a certificate cannot be used. Nothing of the key is repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file of the certificate has none.
    #[error(
        "the certificate's file has no certificate: expected -----BEGIN CERTIFICATE-----, its own first, then those between it and the authority"
    )]
    NoCertificate,
    /// The file of the key has none.
    #[error(
        "the key's file has no private key: expected -----BEGIN PRIVATE KEY----- (or EC or RSA PRIVATE KEY), without a passphrase"
    )]
    NoKey,
    /// The certificate cannot be read.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// The key is of another certificate.
    #[error(
        "the key does not belong to the certificate: expected the key that the first certificate of the file was made for"
    )]
    KeyOfAnother,
    /// The key, or the certificate, is of a kind that is not supported.
    #[error("the key cannot be used: expected RSA of 2048 bits or more, ECDSA (P-256, P-384) or Ed25519")]
    Unsupported,
    /// No version of TLS can be offered.
    #[error("TLS cannot be set up")]
    SetUp(#[source] rustls::Error),
}

/// A certificate with its chain and its private key.
#[derive(Debug, Clone)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    begins: Timestamp,
    ends: Timestamp,
}

impl Certificate {
    /// Reads a chain, the server's own certificate first, and its key; both as PEM.
    ///
    /// # Errors
    ///
    /// [`TlsError`], if they cannot be read or used, or do not belong together.
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

    /// The moment before which no client accepts it.
    #[must_use]
    pub const fn begins(&self) -> Timestamp {
        self.begins
    }

    /// The moment from which no client accepts it any more.
    #[must_use]
    pub const fn ends(&self) -> Timestamp {
        self.ends
    }
}

/// When a certificate begins to be valid, and when it ends.
fn validity(certificate: &CertificateDer<'_>) -> Option<(Timestamp, Timestamp)> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate.validity;
    let moment = |time: x509_cert::time::Time| {
        let micros = time.to_unix_duration().as_micros();
        i64::try_from(micros).ok().map(Timestamp::from_micros)
    };
    Some((moment(validity.not_before)?, moment(validity.not_after)?))
}

/// What new connections are given.
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

/// TLS with a certificate. Cheap to clone; all clones change together.
#[derive(Debug, Clone)]
pub struct Tls {
    present: Arc<Present>,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// TLS with this certificate.
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

    /// Gives this certificate to new connections; those that are open stay as they are.
    pub fn replace(&self, certificate: Certificate) {
        metrics::certificate_ends(certificate.ends);
        *self.present.0.write().unwrap_or_else(PoisonError::into_inner) = certificate.key;
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}
