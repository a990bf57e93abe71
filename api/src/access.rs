//! Who may do what: bearer tokens, and the roles that each route is for.
//!
//! A bearer token is one of our own ([`Tokens`]) or a JWT of an issuer ([`Issuer`]); both ways in may be open
//! at once. A route names the roles it is for where it is added (`routes/table.rs`), so that none can be
//! forgotten. Who sends a request is found out before, in `observe`, and becomes the actor in the metadata of
//! the events.

mod caller;
mod jwt;
mod role;
mod tokens;

use std::sync::{Arc, PoisonError, RwLock};

use axum::http::{HeaderMap, header};

pub use jwt::{
    Algorithms, AlgorithmsError, Issuer, IssuerOptions, IssuerOptionsError, Keys, KeysError, TokenType,
    TokenTypeError,
};
pub use role::{Role, Roles, UnknownRole};
pub use tokens::{Token, TokenError, Tokens};

pub(crate) use caller::{AUDITORS, Allowed, CLERKS, Caller, EVERYBODY, OPERATORS, READERS};

/// Who is let in. Cheap to clone; all clones change together.
#[derive(Debug, Clone)]
pub struct Access(Option<Arc<Doors>>);

/// The ways in.
#[derive(Debug)]
struct Doors {
    tokens: RwLock<Arc<Tokens>>,
    issuer: Option<Issuer>,
}

impl Access {
    /// Everybody may do everything.
    #[must_use]
    pub const fn open() -> Self {
        Self(None)
    }

    /// Whether everybody may do everything.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Who has one of these tokens may do what its role may.
    #[must_use]
    pub fn by(tokens: Tokens) -> Self {
        Self::by_either(tokens, None)
    }

    /// Who has one of these tokens, or a good one of the issuer, may do what its roles may.
    #[must_use]
    pub fn by_either(tokens: Tokens, issuer: Option<Issuer>) -> Self {
        Self(Some(Arc::new(Doors {
            tokens: RwLock::new(Arc::new(tokens)),
            issuer,
        })))
    }

    /// Takes these tokens from now on instead of those before. Nothing if access is open.
    pub fn replace(&self, tokens: Tokens) {
        if let Some(doors) = &self.0 {
            *doors.tokens.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tokens);
        }
    }

    /// The caller who sends a request with these headers, without waiting for an issuer. An unknown token
    /// gives a caller without an identity.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Caller {
        self.look(headers).unwrap_or(Caller::Refused)
    }

    /// As [`Access::caller`]; nothing if that depends on keys that would have to be asked for.
    pub(crate) fn caller_at_once(&self, headers: &HeaderMap) -> Option<Caller> {
        self.look(headers).ok()
    }

    /// As [`Access::caller`], but a token that the known keys do not fit is looked at again if newer keys can
    /// be had soon.
    pub(crate) async fn caller_with_newest_keys(&self, headers: &HeaderMap) -> Caller {
        match self.look(headers) {
            Ok(caller) => caller,
            Err(issuer) if issuer.newer_keys().await => self.caller(headers),
            Err(_) => Caller::Refused,
        }
    }

    /// Who it is; or the issuer, none of whose known keys fits.
    fn look(&self, headers: &HeaderMap) -> Result<Caller, &Issuer> {
        let Some(doors) = &self.0 else {
            return Ok(Caller::Anybody);
        };
        let Some(token) = bearer(headers) else {
            return Ok(Caller::Nobody);
        };
        let tokens = Arc::clone(&doors.tokens.read().unwrap_or_else(PoisonError::into_inner));
        if let Some((name, role)) = tokens.find(token) {
            return Ok(Caller::Known {
                actor: name.to_owned(),
                roles: role.into(),
            });
        }
        let Some(issuer) = doors.issuer.as_ref().filter(|_| jwt::looks_like_one(token)) else {
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

/// The bearer token in these headers, if they have just one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (scheme, token) = given.next()?.to_str().ok()?.split_once(' ')?;
    let only = given.next().is_none() && scheme.eq_ignore_ascii_case("bearer");
    Some(token.trim()).filter(|token| only && !token.is_empty())
}
