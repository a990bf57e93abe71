//! Roles, which determine what a caller may do.

use std::fmt;
use std::str::FromStr;

/// Role of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sends commands, and reads current data.
    Clerk,
    /// Reads all data, including past data.
    Auditor,
    /// Operates the service, without access to its data.
    Operator,
    /// Erases data.
    Privacy,
}

impl Role {
    const ALL: [Self; 4] = [Self::Clerk, Self::Auditor, Self::Operator, Self::Privacy];

    /// Name of the role, as used in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clerk => "clerk",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::Privacy => "privacy",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Error for a text that is not the name of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the roles are clerk, auditor, operator and privacy")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or(UnknownRole)
    }
}

/// Set of roles of one caller. May be empty.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles(u8);

impl Roles {
    /// Whether the set contains at least one of `roles`.
    #[must_use]
    pub fn any_of(self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.0 & role.bit() != 0)
    }
}

impl From<Role> for Roles {
    fn from(role: Role) -> Self {
        Self(role.bit())
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |bits, role| bits | role.bit()))
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = Role::ALL.into_iter().filter(|role| self.any_of(&[*role]));
        f.debug_set().entries(held).finish()
    }
}
