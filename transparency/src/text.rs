//! Numbers and base64 as they appear in the lines of the formats.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::MAX_SIZE;

/// Parses a decimal number of at most 2⁶³ − 1 without sign and without leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    if !canonical || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|number| *number <= MAX_SIZE)
}

/// Encodes bytes in standard base64 with padding (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes standard base64. Each value has only one accepted text: padding is required, and the unused bits
/// of the last character must be zero.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}
