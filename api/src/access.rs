//! Who may do what: bearer tokens, and the roles that each route is for.
//!
//! A route names the roles it is for where it is added (`Allowed::may`), so that none can be forgotten. Who sends a
//! request is found out before, in `observe`; the token's name becomes the actor in the metadata of the events.

mod tokens;

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::MethodRouter;

pub use tokens::{Token, TokenError, Tokens};

use crate::Api;
use crate::problem::ApiError;

/// What somebody is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Registers, reads and deletes patients.
    Clerk,
    /// Reads patients, their histories and the log.
    Auditor,
    /// Looks after the service; sees no patient.
    Operator,
}

impl Role {
    /// The name, as settings have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clerk => "clerk",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the roles are clerk, auditor and operator")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        [Self::Clerk, Self::Auditor, Self::Operator]
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or(UnknownRole)
    }
}

/// Who is let in. Cheap to clone; all clones change together.
#[derive(Debug, Clone)]
pub struct Access(Option<Arc<RwLock<Arc<Tokens>>>>);

impl Access {
    /// Everybody may do everything.
    #[must_use]
    pub const fn open() -> Self {
        Self(None)
    }

    /// Who has one of these tokens may do what its role may.
    #[must_use]
    pub fn by(tokens: Tokens) -> Self {
        Self(Some(Arc::new(RwLock::new(Arc::new(tokens)))))
    }

    /// Takes these tokens from now on instead of those before. Nothing if access is open.
    pub fn replace(&self, tokens: Tokens) {
        if let Some(present) = &self.0 {
            *present.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tokens);
        }
    }

    /// Who sends a request with these headers. A token that is not known makes nobody of them, as none does.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Caller {
        let Some(tokens) = &self.0 else {
            return Caller::Anybody;
        };
        let tokens = Arc::clone(&tokens.read().unwrap_or_else(PoisonError::into_inner));
        match bearer(headers).and_then(|token| tokens.find(token)) {
            Some((name, role)) => Caller::Known(name.to_owned(), role),
            None => Caller::Nobody,
        }
    }
}

/// The bearer token in these headers, if they have just one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (scheme, token) = given.next()?.to_str().ok()?.split_once(' ')?;
    let only = given.next().is_none() && scheme.eq_ignore_ascii_case("bearer");
    only.then(|| token.trim())
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Access is open.
    Anybody,
    /// Nobody we know.
    Nobody,
    /// The holder of the token with that name.
    Known(String, Role),
}

impl Caller {
    /// The actor in the metadata of events.
    pub(crate) fn actor(&self) -> &str {
        match self {
            Self::Anybody | Self::Nobody => "anonymous",
            Self::Known(name, _) => name,
        }
    }
}

/// Whom a route is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Allowed {
    /// Everybody, with or without a token.
    Everybody,
    /// Those with one of the roles.
    Only(&'static [Role]),
}

pub(crate) const EVERYBODY: Allowed = Allowed::Everybody;
/// Those who register and delete.
pub(crate) const CLERKS: Allowed = Allowed::Only(&[Role::Clerk]);
/// Those who may see patients.
pub(crate) const READERS: Allowed = Allowed::Only(&[Role::Clerk, Role::Auditor]);
/// Those who look after the service.
pub(crate) const OPERATORS: Allowed = Allowed::Only(&[Role::Operator]);

/// Those who may see what was.
pub(crate) const AUDITORS: Allowed = Allowed::Only(&[Role::Auditor]);

impl Allowed {
    /// The routes, for these callers only.
    pub(crate) fn may(self, routes: MethodRouter<Api>) -> MethodRouter<Api> {
        routes.route_layer(from_fn_with_state(self, authorize))
    }

    /// Whether this caller is one of them.
    pub(crate) fn check(self, caller: Option<&Caller>) -> Result<(), ApiError> {
        match (self, caller) {
            (Self::Everybody, _) | (Self::Only(_), Some(Caller::Anybody)) => Ok(()),
            (Self::Only(roles), Some(Caller::Known(_, role))) if roles.contains(role) => Ok(()),
            (Self::Only(_), Some(Caller::Known(..))) => Err(ApiError::Forbidden),
            (Self::Only(_), Some(Caller::Nobody) | None) => Err(ApiError::Unauthorized),
        }
    }
}

async fn authorize(
    State(allowed): State<Allowed>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    allowed.check(request.extensions().get::<Caller>())?;
    Ok(next.run(request).await)
}
