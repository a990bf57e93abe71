//! The heads of the chains of the record.

use std::str::FromStr;

use eventstore::{Hash, Result, Session, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use super::writer::hash;

/// Number of chains in a page.
const PAGE: i64 = 500;

/// The last link of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReadHead {
    /// Id of the chain.
    pub chain: String,
    /// Number of the link.
    pub number: i64,
    /// Hash of the link. It covers all earlier links of the chain and their entries.
    pub hash: Hash,
    /// Time at which the link was written.
    pub recorded_at: Timestamp,
}

/// Returns the next heads after a chain, ordered by chain; an empty list after the last chain. The first page
/// is after the empty text.
///
/// # Errors
///
/// [`eventstore::Error::Database`], [`eventstore::Error::Timeout`].
pub async fn page(session: &mut impl Session, after: &str) -> Result<Vec<ReadHead>> {
    let rows = session
        .query(
            "SELECT l.chain, l.number, l.hash, l.recorded_at FROM (SELECT chain, MAX(number) AS number \
             FROM audit_read_links WHERE chain > ? GROUP BY chain ORDER BY chain LIMIT ?) h \
             JOIN audit_read_links l ON l.chain = h.chain AND l.number = h.number ORDER BY l.chain",
        )
        .bind(after)
        .bind(PAGE)
        .fetch_all()
        .await?;
    rows.iter()
        .map(|row| {
            Ok(ReadHead {
                chain: row.get(0)?,
                number: row.get(1)?,
                hash: hash(row, 2)?,
                recorded_at: row.get(3)?,
            })
        })
        .collect()
}

/// A link that an auditor kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedRead {
    /// Id of the chain.
    pub chain: Uuid,
    /// Number of the link.
    pub number: i64,
    /// Hash of the link.
    pub hash: Hash,
}

/// A malformed trusted link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected CHAIN:NUMBER:HASH, where HASH is 64 hexadecimal digits")]
pub struct TrustedReadError;

impl FromStr for TrustedRead {
    type Err = TrustedReadError;

    fn from_str(text: &str) -> Result<Self, TrustedReadError> {
        let mut parts = text.trim().split(':');
        let mut part = || parts.next().ok_or(TrustedReadError);
        let (chain, number, hash) = (part()?, part()?, part()?);
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|number| digits && *number >= 1);
        let trusted = Self {
            chain: Uuid::try_parse(chain).map_err(|_| TrustedReadError)?,
            number: number.ok_or(TrustedReadError)?,
            hash: hash.parse().map_err(|_| TrustedReadError)?,
        };
        parts.next().is_none().then_some(trusted).ok_or(TrustedReadError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_a_number_and_a_hash_are_read_and_nothing_else_is() {
        let (chain, hash) = ("01a20cb5-3049-75e2-a5d3-40cf90fe63b4", "0f".repeat(32));
        let trusted: TrustedRead = format!("{chain}:17:{hash}").parse().unwrap();
        assert_eq!(
            (trusted.chain.to_string().as_str(), trusted.number, trusted.hash),
            (chain, 17, Hash([15; 32]))
        );
        for wrong in [
            String::new(),
            format!("17:{hash}"),
            format!("{chain}:{hash}"),
            format!("{chain}:0:{hash}"),
            format!("{chain}:-1:{hash}"),
            format!("{chain}:+1:{hash}"),
            format!("{chain}:9223372036854775808:{hash}"),
            format!("{chain}:17:{}", &hash[1..]),
            format!("{chain}:17:{hash}:"),
            format!("x{chain}:17:{hash}"),
        ] {
            assert_eq!(wrong.parse::<TrustedRead>(), Err(TrustedReadError), "{wrong}");
        }
    }
}
