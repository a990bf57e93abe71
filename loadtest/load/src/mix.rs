//! The kinds of requests, and the share of each.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// `POST /register`.
    Register,
    /// `GET /patients/{id}`.
    Read,
    /// `GET /patients`.
    List,
    /// `PATCH /patients/{id}` with `If-Match`.
    Amend,
    /// `DELETE /patients/{id}`.
    Delete,
}

impl Operation {
    /// All operations, in the order of their indexes.
    pub(crate) const ALL: [Self; 5] = [Self::Register, Self::Read, Self::List, Self::Amend, Self::Delete];

    /// Returns the name, as in `--mix`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Read => "read",
            Self::List => "list",
            Self::Amend => "amend",
            Self::Delete => "delete",
        }
    }

    /// Returns the index in [`Operation::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// Reason why a mix is invalid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidMix {
    /// A part without `=`, or with a share that is not a number from 0 to 1000.
    #[error("'{0}' must have the form register=5, with a share from 0 to 1000")]
    Share(String),
    /// An unknown operation.
    #[error("'{0}' must be register, read, list, amend or delete")]
    Name(String),
    /// An operation that is named twice.
    #[error("'{0}' is repeated")]
    Repeated(String),
    /// A mix whose shares are all 0.
    #[error("at least one share must be above 0")]
    Empty,
    /// A mix that deletes at least as many patients as it registers.
    #[error("the share of delete must be below the share of register")]
    Shrinking,
}

/// The share of each operation, in the order of [`Operation::ALL`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mix([u32; 5]);

impl Mix {
    /// Draws an operation.
    pub(crate) fn draw(&self, random: &mut fastrand::Rng) -> Operation {
        let mut drawn = random.u32(0..self.0.iter().sum());
        for operation in Operation::ALL {
            let share = self.0[operation.index()];
            if drawn < share {
                return operation;
            }
            drawn -= share;
        }
        Operation::Register
    }
}

impl FromStr for Mix {
    type Err = InvalidMix;

    fn from_str(text: &str) -> Result<Self, InvalidMix> {
        let mut shares = [None; 5];
        for part in text.split(',') {
            let (name, share) = part
                .split_once('=')
                .ok_or_else(|| InvalidMix::Share(part.to_owned()))?;
            let operation = Operation::ALL
                .into_iter()
                .find(|operation| operation.name() == name)
                .ok_or_else(|| InvalidMix::Name(name.to_owned()))?;
            let share: u32 = share
                .parse()
                .ok()
                .filter(|share| *share <= 1000)
                .ok_or_else(|| InvalidMix::Share(part.to_owned()))?;
            if shares[operation.index()].replace(share).is_some() {
                return Err(InvalidMix::Repeated(name.to_owned()));
            }
        }
        let shares = shares.map(Option::unwrap_or_default);
        if shares.iter().sum::<u32>() == 0 {
            return Err(InvalidMix::Empty);
        }
        let [register, _, _, _, delete] = shares;
        if delete > 0 && delete >= register {
            return Err(InvalidMix::Shrinking);
        }
        Ok(Self(shares))
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for operation in Operation::ALL {
            write!(
                formatter,
                "{separator}{}={}",
                operation.name(),
                self.0[operation.index()]
            )?;
            separator = ",";
        }
        Ok(())
    }
}
