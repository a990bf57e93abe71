//! Signature verification with ring, for `jsonwebtoken`. This service signs no tokens.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{self, ErrorKind};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::error::Unspecified;
use ring::signature::{
    self as with, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use signature::Verifier;

static RING: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    // Needed only to create JWKs from keys. This service creates no JWKs.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Installs ring as the crypto provider of `jsonwebtoken` for this process.
pub(super) fn install() {
    // Later calls fail because the same provider is already installed.
    let _ = RING.install_default();
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "required by the provider")]
fn signer(_: &Algorithm, _: &EncodingKey) -> errors::Result<Box<dyn JwtSigner>> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "required by the provider")]
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> errors::Result<Box<dyn JwtVerifier>> {
    if algorithm.family() != key.family() || key.family() == AlgorithmFamily::Hmac {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(Checked {
        algorithm: *algorithm,
        key: key.clone(),
    }))
}

struct Checked {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for Checked {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for Checked {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let rsa = |parameters: &'static RsaParameters| match self.key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            DecodingKeyKind::SecretOrDer(der) => {
                UnparsedPublicKey::new(parameters, der).verify(message, signature)
            }
        };
        let curve = |algorithm: &'static dyn VerificationAlgorithm| match self.key.kind() {
            DecodingKeyKind::SecretOrDer(point) => {
                UnparsedPublicKey::new(algorithm, point).verify(message, signature)
            }
            DecodingKeyKind::RsaModulusExponent { .. } => Err(Unspecified),
        };
        match self.algorithm {
            Algorithm::RS256 => rsa(&with::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => rsa(&with::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => rsa(&with::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => rsa(&with::RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => rsa(&with::RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => rsa(&with::RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => curve(&with::ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => curve(&with::ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => curve(&with::ED25519),
            _ => Err(Unspecified),
        }
        .map_err(|_| signature::Error::new())
    }
}
