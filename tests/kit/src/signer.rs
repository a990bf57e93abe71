//! Real keys, and JWTs signed with them.

use std::process::Command;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair,
};
use serde_json::{Value, json};

/// The shared RSA key, because generating an RSA key is slow.
static RSA: LazyLock<Vec<u8>> = LazyLock::new(|| rsa_der(2048));

/// A signer of tokens: a named key with its algorithm.
pub struct Signer {
    /// The key id, `kid`.
    pub id: String,
    /// The algorithm, `alg`.
    pub algorithm: &'static str,
    key: Key,
}

enum Key {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    /// Returns a signer with the shared RSA key, for `RS256` or `PS256`.
    pub fn rsa(id: &str, algorithm: &'static str) -> Self {
        Self::new(id, algorithm, Key::Rsa(rsa_pair(&RSA)))
    }

    /// Returns a signer with a new P-256 key.
    pub fn ec(id: &str) -> Self {
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref(), &random).unwrap();
        Self::new(id, "ES256", Key::Ec(pair))
    }

    /// Returns a signer with a new Ed25519 key.
    pub fn ed(id: &str) -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::new(
            id,
            "EdDSA",
            Key::Ed(Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap()),
        )
    }

    /// Returns one signer per algorithm, each with its own key id.
    pub fn of_each_kind() -> [Self; 4] {
        [
            Self::rsa("rsa", "RS256"),
            Self::rsa("pss", "PS256"),
            Self::ec("ec"),
            Self::ed("ed"),
        ]
    }

    fn new(id: &str, algorithm: &'static str, key: Key) -> Self {
        Self {
            id: id.to_owned(),
            algorithm,
            key,
        }
    }

    /// Returns the public key as a JWK.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.key {
            Key::Rsa(pair) => {
                let public: PublicKeyComponents<Vec<u8>> = pair.public().into();
                json!({"kty": "RSA", "n": encode(public.n), "e": encode(public.e)})
            }
            Key::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                json!({"kty": "EC", "crv": "P-256", "x": encode(&point[..32]), "y": encode(&point[32..])})
            }
            Key::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key())}),
        };
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk
    }

    /// Returns the header of the signer's tokens.
    pub fn header(&self) -> Value {
        json!({"alg": self.algorithm, "kid": self.id, "typ": "at+jwt"})
    }

    /// Returns a token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_of(&self.header().to_string(), &claims.to_string())
    }

    /// Returns a token with this header and these claims, as text.
    pub fn token_of(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        format!("{message}.{}", encode(self.sign(message.as_bytes())))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                if self.algorithm == "PS256" {
                    pair.sign(&RSA_PSS_SHA256, &random, message, &mut signature)
                } else {
                    pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                }
                .unwrap();
                signature
            }
            Key::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

/// Encodes bytes as base64url without padding.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Generates a private RSA key, in DER.
fn rsa_der(bits: u32) -> Vec<u8> {
    let output = Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-outform", "DER", "-pkeyopt"])
        .arg(format!("rsa_keygen_bits:{bits}"))
        .output();
    output.unwrap().stdout
}

/// Reads a private RSA key. Older and newer versions of OpenSSL write different formats.
fn rsa_pair(der: &[u8]) -> RsaKeyPair {
    RsaKeyPair::from_pkcs8(der)
        .or_else(|_| RsaKeyPair::from_der(der))
        .unwrap()
}
