//! Which tokens of an issuer are good.

use std::str::FromStr;

use super::Algorithms;

/// The longest name of an issuer, in bytes.
const LONGEST_ISSUER: usize = 200;
/// The longest audience, and the longest name of a claim, in bytes.
const LONGEST: usize = 255;

/// Which tokens are good.
#[derive(Debug, Clone)]
pub struct IssuerOptions {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) algorithms: Algorithms,
    pub(super) token_type: TokenType,
    pub(super) roles_claim: String,
}

/// Why no token could be good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssuerOptionsError {
    /// The text cannot be the name of an issuer.
    #[error("expected 1 to {LONGEST_ISSUER} visible ASCII characters without #, as in the iss of its tokens")]
    Issuer,
    /// The text cannot be an audience.
    #[error("expected 1 to {LONGEST} visible ASCII characters, as in the aud of its tokens")]
    Audience,
    /// The text cannot be the name of a claim, or the way to one.
    #[error("expected the name of a claim, such as roles, or the way to it, such as realm_access.roles")]
    RolesClaim,
}

impl IssuerOptions {
    /// Tokens of `issuer` for `audience`, both to the letter, with the roles in `roles_claim`, whose points
    /// lead into objects. The issuer has no `#`, which ends it in the actor.
    ///
    /// # Errors
    ///
    /// [`IssuerOptionsError`].
    pub fn new(
        issuer: String,
        audience: String,
        algorithms: Algorithms,
        token_type: TokenType,
        roles_claim: String,
    ) -> Result<Self, IssuerOptionsError> {
        let is_visible = |text: &str, most| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !is_visible(&issuer, LONGEST_ISSUER) || issuer.contains('#') {
            return Err(IssuerOptionsError::Issuer);
        }
        if !is_visible(&audience, LONGEST) {
            return Err(IssuerOptionsError::Audience);
        }
        if !is_visible(&roles_claim, LONGEST) || roles_claim.split('.').any(str::is_empty) {
            return Err(IssuerOptionsError::RolesClaim);
        }
        Ok(Self {
            issuer,
            audience,
            algorithms,
            token_type,
            roles_claim,
        })
    }

    /// What tokens may be signed with.
    #[must_use]
    pub const fn algorithms(&self) -> &Algorithms {
        &self.algorithms
    }
}

/// What the `typ` in a token's header must be. Issuers give out more than access tokens, under the same keys:
/// an ID token, whose audience is a client, is not for an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenType {
    /// `at+jwt`: an access token that says it is one (RFC 9068, section 2.1).
    #[default]
    AccessToken,
    /// Also `JWT`, or no `typ`, for issuers that do not follow RFC 9068. What gives away a token of another
    /// kind still refuses it.
    Any,
}

/// The text is no such type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected at+jwt, or any for an issuer whose access tokens do not say that they are some")]
pub struct TokenTypeError;

impl FromStr for TokenType {
    type Err = TokenTypeError;

    /// An empty text is the default, as compose files and `.env` say "not set".
    fn from_str(text: &str) -> Result<Self, TokenTypeError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "at+jwt" => Ok(Self::AccessToken),
            "any" => Ok(Self::Any),
            _ => Err(TokenTypeError),
        }
    }
}

impl TokenType {
    /// Whether a token may have this `typ`. Media types are compared without regard to case, and may omit
    /// `application/` (RFC 7515, section 4.1.9).
    pub(super) fn allows(self, typ: Option<&str>) -> bool {
        let is = |known: &str| typ.is_some_and(|typ| typ.eq_ignore_ascii_case(known));
        is("at+jwt")
            || is("application/at+jwt")
            || self == Self::Any && (typ.is_none() || is("JWT") || is("application/jwt"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_with_which_no_token_could_be_good_are_refused() {
        let new = |issuer: &str, audience: &str, claim: &str| {
            let algorithms = "RS256".parse().unwrap();
            let [issuer, audience, claim] = [issuer, audience, claim].map(str::to_owned);
            IssuerOptions::new(issuer, audience, algorithms, TokenType::default(), claim).map(drop)
        };
        for claim in ["roles", "realm_access.roles", "https://example.com/roles"] {
            assert_eq!(
                new("https://id.example.com", "patients", claim),
                Ok(()),
                "{claim}"
            );
        }
        for issuer in ["", " ", "a#b", "https://id.example.com ", "é"] {
            assert_eq!(
                new(issuer, "patients", "roles"),
                Err(IssuerOptionsError::Issuer),
                "{issuer}"
            );
        }
        for audience in ["", " ", "a b", "a\n", "é"] {
            assert_eq!(
                new("a", audience, "roles"),
                Err(IssuerOptionsError::Audience),
                "{audience}"
            );
        }
        for claim in ["", ".", ".roles", "roles.", "a..b", "a b", "a\n"] {
            assert_eq!(
                new("a", "b", claim),
                Err(IssuerOptionsError::RolesClaim),
                "{claim}"
            );
        }
    }

    #[test]
    fn a_type_is_compared_as_media_types_are() {
        for (typ, by_default) in [
            (Some("at+jwt"), true),
            (Some("AT+JWT"), true),
            (Some("application/at+jwt"), true),
            (Some("JWT"), false),
            (Some("jwt"), false),
            (None, false),
        ] {
            assert_eq!(TokenType::AccessToken.allows(typ), by_default, "{typ:?}");
            assert!(TokenType::Any.allows(typ), "{typ:?}");
        }
        for typ in [
            "",
            "logout+jwt",
            "dpop+jwt",
            "secevent+jwt",
            "at+jwt ",
            "id_token",
            "application/JOSE",
        ] {
            assert!(!TokenType::Any.allows(Some(typ)), "{typ}");
        }
    }
}
