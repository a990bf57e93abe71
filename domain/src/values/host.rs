//! Names of hosts, as IDNA makes them (`url::Host`), which lets pass what no name server takes.

/// Whether an ASCII name is one of RFC 1123 §2.1: labels of letters, digits and inner hyphens, 63 bytes each
/// and 253 in all. Of some characters that are letters to Unicode, IDNA makes several that are not, such as
/// `(4)` of U+2477.
pub(super) fn is_strict(ascii: &str) -> bool {
    is_lenient(ascii)
        && ascii.split('.').all(|label| {
            !label.contains('_') && !label.starts_with('-') && !label.ends_with('-') && !label.is_empty()
        })
}

/// Whether an ASCII name can be that of a server: as [`is_strict`], and besides with underscores and outer
/// hyphens, which storage services and local networks use, and with the dot of the root at its end.
pub(super) fn is_lenient(ascii: &str) -> bool {
    let name = ascii.strip_suffix('.').unwrap_or(ascii);
    name.len() <= 253
        && name.split('.').all(|label| {
            label.len() <= 63
                && label.bytes().any(|byte| byte.is_ascii_alphanumeric())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}
