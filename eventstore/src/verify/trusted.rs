//! A head that somebody has kept.

use std::str::FromStr;

use crate::event::{Hash, Position};

/// What an auditor has kept of an earlier head: its position with its hash, or with the root of the Merkle
/// tree up to there. Either fixes every event up to that position; which of the two it is need not be said,
/// since no log has the one where another has the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trusted {
    /// The position.
    pub position: Position,
    /// The link there, or the root up to there.
    pub hash: Hash,
}

/// Why a text is not a trusted head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected POSITION:HASH, such as 17: and 64 hexadecimal digits")]
pub struct TrustedError;

impl FromStr for Trusted {
    type Err = TrustedError;

    fn from_str(text: &str) -> Result<Self, TrustedError> {
        let (position, hash) = text.trim().split_once(':').ok_or(TrustedError)?;
        Ok(Self {
            position: position.parse().map_err(|_| TrustedError)?,
            hash: hash.parse().map_err(|_| TrustedError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_and_a_hash_are_read_and_nothing_else_is() {
        let hash = "0f".repeat(32);
        let trusted: Trusted = format!("17:{hash}").parse().unwrap();
        assert_eq!(trusted.position.get(), 17);
        assert_eq!(trusted.hash, Hash([15; 32]));
        for wrong in [
            String::new(),
            hash.clone(),
            format!("-1:{hash}"),
            format!("+1:{hash}"),
            format!("9223372036854775808:{hash}"),
            format!("17:{}", &hash[1..]),
            format!("17:{hash}0"),
            format!("17:+{}", &hash[1..]),
            format!("17:é{}", &hash[2..]),
        ] {
            assert_eq!(wrong.parse::<Trusted>(), Err(TrustedError), "{wrong}");
        }
    }
}
