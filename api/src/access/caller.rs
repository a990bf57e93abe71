//! The caller of a request, and the callers that may use a route.

use super::{Role, Roles};
use crate::problem::ApiError;

/// Actor of a request without an identity. No access token may have this name.
pub(super) const ANONYMOUS: &str = "anonymous";

/// Sender of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
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
    /// Actor in the metadata of events and in the record of reads.
    pub(crate) fn actor(&self) -> &str {
        match self {
            Self::Anybody | Self::Nobody | Self::Refused => ANONYMOUS,
            Self::Known { actor, .. } => actor,
        }
    }

    /// Actor of an authenticated caller. `None` for other callers.
    pub(crate) fn known(&self) -> Option<&str> {
        match self {
            Self::Known { actor, .. } => Some(actor),
            Self::Anybody | Self::Nobody | Self::Refused => None,
        }
    }
}

/// Callers that may use a route.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Allowed {
    /// All callers, with or without a token.
    Everybody,
    /// Callers with at least one of these roles.
    Only(&'static [Role]),
}

pub(crate) const EVERYBODY: Allowed = Allowed::Everybody;
/// Callers that may register and delete patients.
pub(crate) const CLERKS: Allowed = Allowed::Only(&[Role::Clerk]);
/// Callers that may read patients.
pub(crate) const READERS: Allowed = Allowed::Only(&[Role::Clerk, Role::Auditor]);
/// Callers that may operate the service.
pub(crate) const OPERATORS: Allowed = Allowed::Only(&[Role::Operator]);
/// Callers that may read past states, events and the record of reads.
pub(crate) const AUDITORS: Allowed = Allowed::Only(&[Role::Auditor]);

impl Allowed {
    /// Checks that `caller` may use the route.
    pub(crate) fn check(self, caller: Option<&Caller>) -> Result<(), ApiError> {
        match (self, caller) {
            (Self::Everybody, _) | (Self::Only(_), Some(Caller::Anybody)) => Ok(()),
            (Self::Only(wanted), Some(Caller::Known { roles, .. })) if roles.any_of(wanted) => Ok(()),
            (Self::Only(_), Some(Caller::Known { .. })) => Err(ApiError::Forbidden),
            (Self::Only(_), Some(Caller::Refused)) => Err(ApiError::InvalidToken),
            (Self::Only(_), Some(Caller::Nobody) | None) => Err(ApiError::Unauthorized),
        }
    }
}
