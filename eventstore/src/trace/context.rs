//! Position of a span in a trace, in the format of W3C Trace Context.

use std::fmt;
use std::str::FromStr;

/// Length of a `traceparent` in version 00.
const LENGTH: usize = 55;
/// The defined flags: sampled, and random (level 2).
const KNOWN_FLAGS: u8 = 0b11;
const SAMPLED: u8 = 0b01;

/// The `traceparent` header (W3C Trace Context, 3.2): the trace, the parent span, and whether the trace is
/// recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    flags: u8,
}

/// A malformed `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed traceparent")]
pub struct InvalidContext;

impl TraceContext {
    /// Creates a context, or returns `None` if an id is zero and therefore invalid.
    #[must_use]
    pub const fn new(trace: u128, span: u64, flags: u8) -> Option<Self> {
        if trace == 0 || span == 0 {
            return None;
        }
        Some(Self {
            trace,
            span,
            flags: flags & KNOWN_FLAGS,
        })
    }

    /// Trace id.
    #[must_use]
    pub const fn trace(&self) -> u128 {
        self.trace
    }

    /// Span id.
    #[must_use]
    pub const fn span(&self) -> u64 {
        self.span
    }

    /// The defined flags.
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// Whether the trace is recorded.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace, self.span, self.flags
        )
    }
}

impl FromStr for TraceContext {
    type Err = InvalidContext;

    /// Parses a `traceparent`. Of an unknown version, only the fields of version 00 are read, as the standard
    /// requires (3.2.4).
    fn from_str(text: &str) -> Result<Self, InvalidContext> {
        let bytes = text.as_bytes();
        if bytes.len() < LENGTH || [2, 35, 52].iter().any(|&dash| bytes[dash] != b'-') {
            return Err(InvalidContext);
        }
        let version = number(&bytes[..2])?;
        let more = &bytes[LENGTH..];
        let fits = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more[0] == b'-',
        };
        if !fits {
            return Err(InvalidContext);
        }
        let trace = number(&bytes[3..35])?;
        let span = u64::try_from(number(&bytes[36..52])?).map_err(|_| InvalidContext)?;
        let mut flags = u8::try_from(number(&bytes[53..LENGTH])?).map_err(|_| InvalidContext)?;
        if version != 0 {
            // The meaning of the other flags is unknown in later versions.
            flags &= SAMPLED;
        }
        Self::new(trace, span, flags).ok_or(InvalidContext)
    }
}

/// Parses at most 32 lowercase hexadecimal digits.
fn number(digits: &[u8]) -> Result<u128, InvalidContext> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return Err(InvalidContext),
        };
        Ok(value << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::{InvalidContext, TraceContext};

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_good_one_is_read_and_written_as_it_was() {
        for text in [GOOD, &GOOD.replace("-01", "-00"), &GOOD.replace("-01", "-03")] {
            let context: TraceContext = text.parse().unwrap();
            assert_eq!(context.to_string(), text);
            assert_eq!(context.is_sampled(), !text.ends_with("00"));
        }
        let context: TraceContext = GOOD.parse().unwrap();
        assert_eq!(context.trace(), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(context.span(), 0x00f0_67aa_0ba9_02b7);
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        let zeros = |part: &str| GOOD.replace(part, &"0".repeat(part.len()));
        for text in [
            String::new(),
            "00".to_owned(),
            GOOD[..54].to_owned(),
            GOOD.to_uppercase(),
            format!("{GOOD} "),
            format!("{GOOD}-00"),
            GOOD.replacen("00", "ff", 1),
            GOOD.replacen("00", "0x", 1),
            GOOD.replace('-', "_"),
            GOOD.replace("-01", "-0g"),
            GOOD.replace("4bf9", "4bé9"),
            zeros("4bf92f3577b34da6a3ce929d0e0e4736"),
            zeros("00f067aa0ba902b7"),
        ] {
            assert_eq!(text.parse::<TraceContext>(), Err(InvalidContext), "{text:?}");
        }
    }

    #[test]
    fn of_a_later_version_only_what_is_known_is_taken() {
        let later = GOOD.replacen("00", "01", 1).replace("-01", "-ff");
        for text in [later.clone(), format!("{later}-more")] {
            assert_eq!(text.parse::<TraceContext>().unwrap().to_string(), GOOD);
        }
        assert_eq!(
            format!("{later}more").parse::<TraceContext>(),
            Err(InvalidContext)
        );
    }
}
