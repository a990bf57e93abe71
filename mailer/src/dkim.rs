//! Signing mails, so that whoever receives one can see that the sender's domain has sent it (DKIM, RFC 6376).

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

/// In bits, of RSA; nothing may be signed with a shorter key (RFC 8301 §3.2).
const SHORTEST: usize = 1024;

/// The header fields that a signature covers, of those that every mail has.
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

/// A key to sign mails with, and the name in DNS under which its public half is found:
/// `SELECTOR._domainkey.DOMAIN`.
///
/// `Debug` shows the name alone.
pub struct Dkim {
    config: DkimConfig,
    place: String,
}

/// A key, or a name for it, that mails cannot be signed with. None of these repeats the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DkimError {
    /// It is no private key, or of another kind.
    #[error("expected a private key in PEM, RSA or Ed25519, without a passphrase")]
    Key,
    /// Nobody would accept its signatures.
    #[error("an RSA key of {0} bits is too short: expected 1024 or more, and 2048 is usual")]
    Short(usize),
    /// It is no selector.
    #[error("expected a selector such as `mail2026`: letters, digits, - and _, with dots between labels")]
    Selector,
    /// It is no domain.
    #[error("expected a domain such as `miapp.com`, in ASCII")]
    Domain,
}

impl Dkim {
    /// The private key `pem` (PKCS #8, as OpenSSL writes it, or for RSA PKCS #1), published under `selector`
    /// in `domain`.
    ///
    /// # Errors
    ///
    /// [`DkimError`] for each of the three.
    pub fn new(pem: &str, selector: &str, domain: &str) -> Result<Self, DkimError> {
        if !is_name(selector) {
            return Err(DkimError::Selector);
        }
        if !is_name(domain) {
            return Err(DkimError::Domain);
        }
        // What happens to white space on the way does no harm then.
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

/// lettre takes RSA as PKCS #1 and Ed25519 as the bare seed; neither is what OpenSSL writes today.
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

/// Whether it is labels of DNS with dots between them.
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
