//! Authentication by bearer token, and authorization by role.
//!
//! A bearer token is an access token of this service ([`Tokens`]) or a JWT of an issuer ([`Issuer`]). Both
//! kinds can be enabled at the same time. The kind of a route determines the roles that may use it
//! (`route_kind`), so no route lacks an access rule. The request pipeline authenticates the caller before the
//! route runs.

mod caller;
mod jwt;
mod role;
mod tokens;

use std::sync::{Arc, PoisonError, RwLock};

use axum::http::{HeaderMap, header};

pub use caller::{Allowed, Caller};
pub use jwt::{
    Algorithms, AlgorithmsError, Issuer, IssuerOptions, IssuerOptionsError, Keys, KeysError, TokenType,
    TokenTypeError,
};
pub use role::{Role, Roles, UnknownRole};
pub use tokens::{Token, TokenError, Tokens};

/// Access control: either open access, or authentication by token. Cheap to clone; all clones share their
/// state.
#[derive(Debug, Clone)]
pub struct Access(Option<Arc<Authentication>>);

/// Means of authentication.
#[derive(Debug)]
struct Authentication {
    tokens: RwLock<Arc<Tokens>>,
    issuer: Option<Issuer>,
}

impl Access {
    /// Returns open access: any caller may do anything, without a token.
    #[must_use]
    pub const fn open() -> Self {
        Self(None)
    }

    /// Whether access is open. If it is, any caller may do anything.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Returns access control by these tokens. Each token grants the permissions of its role.
    #[must_use]
    pub fn by(tokens: Tokens) -> Self {
        Self::by_either(tokens, None)
    }

    /// Returns access control by these tokens and by valid tokens of `issuer`. Each token grants the
    /// permissions of its roles.
    #[must_use]
    pub fn by_either(tokens: Tokens, issuer: Option<Issuer>) -> Self {
        Self(Some(Arc::new(Authentication {
            tokens: RwLock::new(Arc::new(tokens)),
            issuer,
        })))
    }

    /// Replaces the access tokens. Does nothing if access is open.
    pub fn replace(&self, tokens: Tokens) {
        if let Some(authentication) = &self.0 {
            *authentication
                .tokens
                .write()
                .unwrap_or_else(PoisonError::into_inner) = Arc::new(tokens);
        }
    }

    /// Returns the caller identified by these headers, without waiting for newer keys of the issuer. An
    /// unknown token yields a caller without an identity.
    #[must_use]
    pub fn caller(&self, headers: &HeaderMap) -> Caller {
        self.look(headers).unwrap_or(Caller::Refused)
    }

    /// Like [`Access::caller`], but returns `None` if the result may depend on newer keys of the issuer.
    pub(crate) fn caller_at_once(&self, headers: &HeaderMap) -> Option<Caller> {
        self.look(headers).ok()
    }

    /// Like [`Access::caller`], but if no known key matches a token, waits briefly for newer keys and checks
    /// the token again.
    pub(crate) async fn caller_with_newest_keys(&self, headers: &HeaderMap) -> Caller {
        match self.look(headers) {
            Ok(caller) => caller,
            Err(issuer) if issuer.newer_keys().await => self.caller(headers),
            Err(_) => Caller::Refused,
        }
    }

    /// Returns the caller, or the issuer if none of its known keys matches the token.
    fn look(&self, headers: &HeaderMap) -> Result<Caller, &Issuer> {
        let Some(authentication) = &self.0 else {
            return Ok(Caller::Anybody);
        };
        let Some(token) = bearer(headers) else {
            return Ok(Caller::Nobody);
        };
        let tokens = Arc::clone(
            &authentication
                .tokens
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        );
        if let Some((name, role)) = tokens.find(token) {
            return Ok(Caller::Known {
                actor: name.to_owned(),
                roles: role.into(),
            });
        }
        let Some(issuer) = authentication
            .issuer
            .as_ref()
            .filter(|_| jwt::looks_like_one(token))
        else {
            return Ok(Caller::Refused);
        };
        match issuer.verify(token) {
            Ok(holder) => Ok(Caller::Known {
                actor: holder.actor,
                roles: holder.roles,
            }),
            Err(refusal) if refusal.may_need_newer_keys() => Err(issuer),
            Err(_) => Ok(Caller::Refused),
        }
    }
}

/// Bearer token in these headers. `None` unless there is exactly one `Authorization` header, and its scheme
/// is `Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (scheme, token) = given.next()?.to_str().ok()?.split_once(' ')?;
    let only = given.next().is_none() && scheme.eq_ignore_ascii_case("bearer");
    Some(token.trim()).filter(|token| only && !token.is_empty())
}
