//! Who sends a request, and whom a route is for.

use super::{Role, Roles};
use crate::problem::ApiError;

/// The actor of a request without an identity. No access token may have this name.
pub(super) const ANONYMOUS: &str = "anonymous";

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Access is open.
    Anybody,
    /// Nobody: no token was sent.
    Nobody,
    /// Nobody we know: a token was sent, and is not good, or no longer.
    Refused,
    /// Somebody we know.
    Known {
        /// Who.
        actor: String,
        /// What they are there for.
        roles: Roles,
    },
}

impl Caller {
    /// The actor in the metadata of events, and in the record of reads.
    pub(crate) fn actor(&self) -> &str {
        match self {
            Self::Anybody | Self::Nobody | Self::Refused => ANONYMOUS,
            Self::Known { actor, .. } => actor,
        }
    }

    /// The actor, if it is somebody we know.
    pub(crate) fn known(&self) -> Option<&str> {
        match self {
            Self::Known { actor, .. } => Some(actor),
            Self::Anybody | Self::Nobody | Self::Refused => None,
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
    /// Whether this caller is one of them.
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
