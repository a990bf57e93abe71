//! The caller of a request, and the callers that may use a route.

use super::{Role, Roles};
use crate::problem::RequestError;

/// Actor of a request without an identity. No access token may have this name.
pub(super) const ANONYMOUS: &str = "anonymous";

/// Sender of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Any caller, because access is open.
    Anybody,
    /// Unauthenticated caller without a token.
    Nobody,
    /// Unauthenticated caller with an unknown, invalid or expired token.
    Refused,
    /// Authenticated caller.
    Known {
        /// Name of the caller.
        actor: String,
        /// Roles of the caller.
        roles: Roles,
    },
}

impl Caller {
    /// Actor that is responsible for the request.
    #[must_use]
    pub fn actor(&self) -> &str {
        match self {
            Self::Anybody | Self::Nobody | Self::Refused => ANONYMOUS,
            Self::Known { actor, .. } => actor,
        }
    }

    /// Actor of an authenticated caller. `None` for other callers.
    #[must_use]
    pub fn known(&self) -> Option<&str> {
        match self {
            Self::Known { actor, .. } => Some(actor),
            Self::Anybody | Self::Nobody | Self::Refused => None,
        }
    }
}

/// Callers that may use a route.
#[derive(Debug, Clone, Copy)]
pub enum Allowed {
    /// All callers, with or without a token.
    Everybody,
    /// Callers with at least one of these roles.
    Only(&'static [Role]),
}

impl Allowed {
    /// Checks that `caller` may use the route.
    pub(crate) fn check(self, caller: Option<&Caller>) -> Result<(), RequestError> {
        match (self, caller) {
            (Self::Everybody, _) | (Self::Only(_), Some(Caller::Anybody)) => Ok(()),
            (Self::Only(wanted), Some(Caller::Known { roles, .. })) if roles.any_of(wanted) => Ok(()),
            (Self::Only(_), Some(Caller::Known { .. })) => Err(RequestError::Forbidden),
            (Self::Only(_), Some(Caller::Refused)) => Err(RequestError::InvalidToken),
            (Self::Only(_), Some(Caller::Nobody) | None) => Err(RequestError::Unauthorized),
        }
    }
}
