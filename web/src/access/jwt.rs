//! JWTs of an `OpenID` Connect issuer: access tokens as defined by RFC 9068, verified as recommended by RFC
//! 8725.
//!
//! `jsonwebtoken` parses keys and verifies signatures, using ring (`provider`). The other checks are
//! implemented here because they must be stricter:
//!
//! - The time comes from this service's clock.
//! - Duplicate JSON members are rejected.
//! - Critical header parameters are rejected rather than ignored.
//! - A key is used only for its declared purpose.
//! - Tokens of the issuer that are not access tokens are rejected.

mod claims;
mod issuer;
mod json;
mod keys;
mod options;
mod provider;
mod refused;

use std::str::FromStr;

use jsonwebtoken::{Algorithm, AlgorithmFamily};

pub use issuer::Issuer;
pub use keys::{Keys, KeysError};
pub use options::{IssuerOptions, IssuerOptionsError, TokenType, TokenTypeError};
pub(super) use refused::Refusal;

/// Maximum length of a token, in bytes.
const LONGEST: usize = 8 * 1024;

/// Allowed signature algorithms. All of them are asymmetric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Algorithms(Vec<Algorithm>);

/// Error for a text that is not a list of asymmetric algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected one or more of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA, separated by commas"
)]
pub struct AlgorithmsError;

impl Algorithms {
    fn contain(&self, algorithm: Algorithm) -> bool {
        self.0.contains(&algorithm)
    }
}

/// Parses comma-separated algorithm names. Rejects `none` and algorithms that use a shared secret.
impl FromStr for Algorithms {
    type Err = AlgorithmsError;

    fn from_str(text: &str) -> Result<Self, AlgorithmsError> {
        text.split(',')
            .map(|name| {
                let algorithm: Algorithm = name.trim().parse().map_err(|_| AlgorithmsError)?;
                match algorithm.family() {
                    AlgorithmFamily::Hmac => Err(AlgorithmsError),
                    AlgorithmFamily::Rsa | AlgorithmFamily::Ec | AlgorithmFamily::Ed => Ok(algorithm),
                }
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Whether a token has the form of a JWT. Access tokens of this service contain no dot.
pub(super) fn looks_like_one(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_algorithms_with_a_public_key_can_be_allowed() {
        assert_eq!(
            "RS256, EdDSA".parse(),
            Ok(Algorithms(vec![Algorithm::RS256, Algorithm::EdDSA]))
        );
        for text in [
            "",
            "none",
            "None",
            "HS256",
            "RS256,HS512",
            "RS256,",
            "rs256",
            "ES512",
        ] {
            assert_eq!(text.parse::<Algorithms>(), Err(AlgorithmsError), "{text}");
        }
    }
}
