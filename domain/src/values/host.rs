//! Checks of host names that IDNA (`url::Host`) has converted. IDNA also accepts names that no name server
//! accepts.

/// Whether an ASCII name is valid under RFC 1123 §2.1: labels of letters, digits and inner hyphens, with at
/// most 63 bytes each and 253 bytes in total. IDNA converts some Unicode letters to several characters that
/// are not letters, for example U+2477 to `(4)`.
pub(super) fn is_strict(ascii: &str) -> bool {
    is_lenient(ascii)
        && ascii.split('.').all(|label| {
            !label.contains('_') && !label.starts_with('-') && !label.ends_with('-') && !label.is_empty()
        })
}

/// Whether an ASCII name can be a server name. Unlike [`is_strict`], this function also allows underscores
/// and outer hyphens, which storage services and local networks use, and a trailing dot.
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
