//! DKIM signatures (RFC 6376), which let recipients verify that the sender's domain sent an email.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use lettre::Message;
use lettre::message::dkim::{
    DkimCanonicalization, DkimCanonicalizationType, DkimConfig, DkimSigningAlgorithm, DkimSigningKey,
};
use lettre::message::header::HeaderName;
use rsa::RsaPrivateKey;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey, LineEnding};
use rsa::pkcs8::DecodePrivateKey;
use rsa::traits::PublicKeyParts;

/// Minimum size of an RSA key, in bits. RFC 8301 §3.2 forbids signing with a shorter key.
const SHORTEST: usize = 1024;

/// Header fields that a signature covers. Every email has all of them.
const SIGNED: [&str; 8] = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "MIME-Version",
    "Auto-Submitted",
    "Content-Language",
];

/// A signing key and the DNS name of its public key, `SELECTOR._domainkey.DOMAIN`.
///
/// `Debug` shows only the name.
pub struct Dkim {
    config: DkimConfig,
    place: String,
}

/// An invalid key, selector or domain. No error message contains the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DkimError {
    /// The text is not a private key, or the key has an unsupported type.
    #[error("expected an RSA or Ed25519 private key in PEM format, without a passphrase")]
    Key,
    /// An RSA key that is too short: recipients would reject its signatures. Contains the size of the key in
    /// bits.
    #[error("an RSA key of {0} bits is too short: expected at least 1024 (2048 is typical)")]
    Short(usize),
    /// An invalid selector.
    #[error("expected a selector such as `mail2026`: letters, digits, - and _, with dots between labels")]
    Selector,
    /// An invalid domain.
    #[error("expected an ASCII domain such as `miapp.com`")]
    Domain,
}

impl Dkim {
    /// Creates a signer from the private key `pem`, whose public key is published under `selector` in
    /// `domain`. The key is in PKCS #8 format, which OpenSSL writes. An RSA key may also be in PKCS #1
    /// format.
    ///
    /// # Errors
    ///
    /// [`DkimError`] if the key, the selector or the domain is invalid.
    pub fn new(pem: &str, selector: &str, domain: &str) -> Result<Self, DkimError> {
        if !is_name(selector) {
            return Err(DkimError::Selector);
        }
        if !is_name(domain) {
            return Err(DkimError::Domain);
        }
        // With relaxed canonicalization, whitespace changes in transit do not break the signature.
        let relaxed = DkimCanonicalization {
            header: DkimCanonicalizationType::Relaxed,
            body: DkimCanonicalizationType::Relaxed,
        };
        let headers = SIGNED.map(HeaderName::new_from_ascii_str).to_vec();
        Ok(Self {
            config: DkimConfig::new(
                selector.to_owned(),
                domain.to_owned(),
                key(pem)?,
                headers,
                relaxed,
            ),
            place: format!("{selector}._domainkey.{domain}"),
        })
    }

    pub(crate) fn sign(&self, message: &mut Message) {
        message.sign(&self.config);
    }
}

impl fmt::Debug for Dkim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dkim")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// Converts the key for lettre, which takes RSA as PKCS #1 and Ed25519 as the bare seed. Current versions of
/// OpenSSL write neither format by default.
fn key(pem: &str) -> Result<DkimSigningKey, DkimError> {
    let pem = pem.trim();
    if let Ok(key) = SigningKey::from_pkcs8_pem(pem) {
        let seed = STANDARD.encode(key.to_bytes());
        return DkimSigningKey::new(&seed, DkimSigningAlgorithm::Ed25519).map_err(|_| DkimError::Key);
    }
    let key = RsaPrivateKey::from_pkcs8_pem(pem)
        .or_else(|_| RsaPrivateKey::from_pkcs1_pem(pem))
        .map_err(|_| DkimError::Key)?;
    let bits = key.size() * 8;
    if bits < SHORTEST {
        return Err(DkimError::Short(bits));
    }
    let pem = key.to_pkcs1_pem(LineEnding::LF).map_err(|_| DkimError::Key)?;
    DkimSigningKey::new(&pem, DkimSigningAlgorithm::Rsa).map_err(|_| DkimError::Key)
}

/// Whether the name consists of dot-separated DNS labels.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 200 && name.split('.').all(label)
}

#[cfg(test)]
mod tests;
