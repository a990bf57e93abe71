//! JWTs of an `OpenID` Connect issuer, as RFC 9068 has access tokens and RFC 8725 wants them checked.
//!
//! `jsonwebtoken` reads keys and checks signatures, with ring underneath (`provider`). What is around that is
//! here, because it has to be stricter: the time comes from our clock, no member may be there twice, nothing
//! that is critical is passed over, a key is only ever used for what it says it is for, and tokens of the
//! issuer that are no access tokens are refused.

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

/// The longest token that is looked at, in bytes.
const LONGEST: usize = 8 * 1024;

/// The algorithms that tokens may be signed with: asymmetric ones only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Algorithms(Vec<Algorithm>);

/// The text is not a list of such algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected some of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA, with commas between"
)]
pub struct AlgorithmsError;

impl Algorithms {
    fn contain(&self, algorithm: Algorithm) -> bool {
        self.0.contains(&algorithm)
    }
}

/// Reads names with commas between. No name stands for no signature, and none for a secret that both sides
/// share.
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

/// Whether a token may be a JWT at all. Our own tokens have no point in them.
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
