//! Requirements that an issuer's tokens must meet.

use std::str::FromStr;

use super::Algorithms;

/// Maximum length of an issuer, in bytes.
const LONGEST_ISSUER: usize = 200;
/// Maximum length of an audience or of the name of a claim, in bytes.
const LONGEST: usize = 255;

/// Requirements that an issuer's tokens must meet.
#[derive(Debug, Clone)]
pub struct IssuerOptions {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) algorithms: Algorithms,
    pub(super) token_type: TokenType,
    pub(super) roles_claim: String,
}

/// Error for options that no token could meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssuerOptionsError {
    /// The text is not a valid issuer.
    #[error(
        "expected the iss of the issuer's tokens: 1 to {LONGEST_ISSUER} visible ASCII characters without #"
    )]
    Issuer,
    /// The text is not a valid audience.
    #[error("expected the aud of the issuer's tokens: 1 to {LONGEST} visible ASCII characters")]
    Audience,
    /// The text is not the name of a claim, nor the path to a claim.
    #[error("expected the name of a claim, such as roles, or the path to it, such as realm_access.roles")]
    RolesClaim,
}

impl IssuerOptions {
    /// Returns options that accept tokens of `issuer` for `audience`, both compared exactly. The token's
    /// roles are in the claim `roles_claim`, which may be a path into nested objects, separated by dots. The
    /// issuer must not contain `#`, because `#` separates the issuer from the subject in the actor.
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

    /// Algorithms that tokens may be signed with.
    #[must_use]
    pub const fn algorithms(&self) -> &Algorithms {
        &self.algorithms
    }
}

/// Required `typ` in a token's header. Issuers sign other tokens with the same keys as access tokens. An ID
/// token, for example, has a client as its audience and must not be accepted by an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenType {
    /// `at+jwt`: the token declares itself an access token (RFC 9068, section 2.1).
    #[default]
    AccessToken,
    /// `at+jwt`, `JWT` or no `typ`, for issuers that do not follow RFC 9068. Tokens whose claims identify
    /// them as another kind are still rejected.
    Any,
}

/// Error for a text that is not a [`TokenType`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected at+jwt, or any for an issuer whose access tokens do not have this type")]
pub struct TokenTypeError;

impl FromStr for TokenType {
    type Err = TokenTypeError;

    /// Parses a token type. An empty text yields the default, because Compose files and `.env` use it for an
    /// unset variable.
    fn from_str(text: &str) -> Result<Self, TokenTypeError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "at+jwt" => Ok(Self::AccessToken),
            "any" => Ok(Self::Any),
            _ => Err(TokenTypeError),
        }
    }
}

impl TokenType {
    /// Whether a token may have this `typ`. Media types are compared case-insensitively and may omit
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
            assert_eq!(new("https://id.example.com", "service", claim), Ok(()), "{claim}");
        }
        for issuer in ["", " ", "a#b", "https://id.example.com ", "é"] {
            assert_eq!(
                new(issuer, "service", "roles"),
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
