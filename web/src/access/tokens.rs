//! Access tokens. The service stores only their hashes.

use std::collections::HashMap;
use std::fmt;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::Role;
use super::caller::ANONYMOUS;

/// Prefix of every token. It makes leaked tokens recognizable.
const PREFIX: &str = "pat_";
/// Maximum length of a token, in bytes.
const LONGEST: usize = 256;
/// Maximum number of tokens. The token of each request is compared with all of them.
const MOST: usize = 1000;
/// Maximum length of a name, in bytes.
const LONGEST_NAME: usize = 64;

/// New token with 256 random bits. It is shown once, to its holder.
pub struct Token(String);

impl Token {
    /// Generates a token from the operating system's random bits.
    ///
    /// # Errors
    ///
    /// If the operating system provides no random bits.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bits = [0; 32];
        getrandom::fill(&mut bits)?;
        Ok(Self(format!("{PREFIX}{}", hex(&bits))))
    }

    /// The token in plain text.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Line that grants access to the holder of this token: name, role and hash (see [`Tokens::parse`]).
    #[must_use]
    pub fn line(&self, name: &str, role: Role) -> String {
        format!("{name} {role} {}", hex(&hash(&self.0)))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[derive(Debug, Clone)]
struct Holder {
    name: String,
    role: Role,
    hash: [u8; 32],
}

/// Accepted access tokens.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Vec<Holder>);

/// Reason why a list of tokens is invalid. The reason does not repeat the line, because the line might
/// contain a token by mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The line is malformed.
    #[error(
        "line {0}: expected a name, a role (clerk, auditor, operator or privacy) and a hash of 64 hex digits"
    )]
    Line(usize),
    /// The name is reserved for callers without a token.
    #[error("line {0}: the name {ANONYMOUS} is reserved for callers without a token")]
    Anonymous(usize),
    /// Two entries have the same hash, so the owner of the token is ambiguous.
    #[error("line {line}: the hash is also on line {first}: expected a different token for each entry")]
    Twice {
        /// Line of the later entry.
        line: usize,
        /// Line of the earlier entry.
        first: usize,
    },
    /// The list has too many tokens.
    #[error("there are more than {MOST} tokens")]
    TooMany,
}

impl Tokens {
    /// Parses entries of the form `name role hash`, one per line or separated by commas. A `#` starts a
    /// comment. The hash is SHA-256 in hexadecimal digits. Names consist of 1 to 64 letters, digits and
    /// `-_.@`. Several tokens may have the same name, so a new token can replace an old token. No two tokens
    /// may have the same hash, and no token may have the name `anonymous`.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let mut holders = Vec::new();
        let mut lines = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let said = line.split_once('#').map_or(line, |(said, _)| said);
            for entry in said.split(',').filter(|entry| !entry.trim().is_empty()) {
                if holders.len() == MOST {
                    return Err(TokenError::TooMany);
                }
                let holder = holder(entry).ok_or(TokenError::Line(number))?;
                if holder.name.eq_ignore_ascii_case(ANONYMOUS) {
                    return Err(TokenError::Anonymous(number));
                }
                if let Some(first) = lines.insert(holder.hash, number) {
                    return Err(TokenError::Twice { line: number, first });
                }
                holders.push(holder);
            }
        }
        Ok(Self(holders))
    }

    /// Number of tokens.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Finds the holder of a token. The lookup takes the same time whether or not the token is known, and
    /// regardless of which entry matches it.
    pub(super) fn find(&self, token: &str) -> Option<(&str, Role)> {
        if token.len() > LONGEST {
            return None;
        }
        let given = hash(token);
        let (mut found, mut at) = (Choice::from(0), 0_u64);
        for (holder, number) in self.0.iter().zip(0_u64..) {
            let same = holder.hash.ct_eq(&given);
            at = u64::conditional_select(&at, &number, same);
            found |= same;
        }
        if !bool::from(found) {
            return None;
        }
        let holder = self.0.get(usize::try_from(at).ok()?)?;
        Some((&holder.name, holder.role))
    }
}

fn holder(line: &str) -> Option<Holder> {
    let mut parts = line.split_whitespace();
    let (name, role, digits) = (parts.next()?, parts.next()?, parts.next()?);
    let named = (1..=LONGEST_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte));
    if !named || parts.next().is_some() || digits.len() != 64 {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let mut value = 0;
        for digit in pair {
            value = value * 16 + char::from(*digit).to_digit(16)?;
        }
        *byte = u8::try_from(value).ok()?;
    }
    Some(Holder {
        name: name.to_owned(),
        role: role.parse().ok()?,
        hash,
    })
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::new(), |mut digits, byte| {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_hash_alone() {
        let (one, other) = (Token::generate().unwrap(), Token::generate().unwrap());
        let text = format!(
            "# the front desk, since May\n{}# by the door, left\n\n {} , {}\n",
            one.line("desk", Role::Clerk),
            other.line("audit@example.com", Role::Auditor),
            Token::generate().unwrap().line("desk", Role::Operator),
        );
        assert!(!text.contains(one.secret()));
        let tokens = Tokens::parse(&text).unwrap();
        assert_eq!(tokens.count(), 3);
        assert_eq!(tokens.find(one.secret()), Some(("desk", Role::Clerk)));
        assert_eq!(
            tokens.find(other.secret()),
            Some(("audit@example.com", Role::Auditor))
        );
        let known_hash = hex(&hash(one.secret()));
        let near = format!("{}x", one.secret());
        for wrong in ["", "pat_", "desk", &known_hash, &near, &"x".repeat(1000)] {
            assert_eq!(tokens.find(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_line_that_is_none_is_named_and_not_repeated() {
        let hash = "0".repeat(64);
        for line in [
            "desk clerk".to_owned(),
            format!("desk king {hash}"),
            format!("desk clerk {hash}0"),
            format!("desk clerk {}", "g".repeat(64)),
            format!("desk clerk {}", "é".repeat(32)),
            format!("desk clerk {}", "+1".repeat(32)),
            format!("desk clerk {hash} more"),
            format!("{} clerk {hash}", "n".repeat(65)),
            format!("de\u{7}sk clerk {hash}"),
        ] {
            let good = format!("desk clerk {}, desk clerk {}", "1".repeat(64), "2".repeat(64));
            let error = Tokens::parse(&format!("# first, of two\n{good}\n{line}")).unwrap_err();
            assert_eq!(error, TokenError::Line(3), "{line}");
        }
        assert_eq!(Tokens::parse(" \n# only\n,").unwrap().count(), 0);
        let many: Vec<String> = (0..1001)
            .map(|number| format!("desk clerk {number:064x}"))
            .collect();
        assert_eq!(Tokens::parse(&many.join("\n")).unwrap_err(), TokenError::TooMany);
    }

    #[test]
    fn no_two_lines_have_one_hash_and_no_token_is_anonymous() {
        let (one, other) = ("1".repeat(64), "A".repeat(64));
        let lines =
            |last: &str| Tokens::parse(&format!("a clerk {one}\n# \nb clerk {other}\n{last}")).map(|_| ());
        for last in [format!("a clerk {one}"), format!("c operator {one}")] {
            assert_eq!(
                lines(&last),
                Err(TokenError::Twice { line: 4, first: 1 }),
                "{last}"
            );
        }
        let same = format!("c clerk {}", "a".repeat(64));
        assert_eq!(
            lines(&same),
            Err(TokenError::Twice { line: 4, first: 3 }),
            "hashes are case-insensitive"
        );
        let one_line = format!("c clerk {0}, d clerk {0}", "2".repeat(64));
        assert_eq!(lines(&one_line), Err(TokenError::Twice { line: 4, first: 4 }));
        for name in ["anonymous", "Anonymous"] {
            let last = format!("{name} clerk {}", "2".repeat(64));
            assert_eq!(lines(&last), Err(TokenError::Anonymous(4)), "{name}");
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let token = Token::generate().unwrap();
        assert_eq!(format!("{token:?}"), "Token");
    }
}
