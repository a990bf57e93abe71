//! Where the photo of a patient's document is.

use url::Url;

use super::text::{self, ControlCharacter};

/// An absolute `http` or `https` URL with a host, at most 2,048 characters (Unicode scalar values), kept as
/// written.
///
/// It parses under the URL standard (WHATWG), read strictly: `https:example.com`, `https:///example.com` and
/// backslashes, which browsers mend, are refused, because other programs see another host in them or none.
/// Spaces, quotes and angle brackets are refused because they end a URL in running text (RFC 3986 appendix
/// C). A user name or password is refused because it would be shown to whoever may read the patient. The URL
/// is never fetched.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DocumentUrl(String);

/// Why a document's URL was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DocumentUrlError {
    /// It has a control character.
    #[error(transparent)]
    ControlCharacter(#[from] ControlCharacter),
    /// It is empty, or spaces only.
    #[error("must not be empty")]
    Empty,
    /// It has more than [`DocumentUrl::MAX_CHARS`] characters.
    #[error("must be at most {} characters long", DocumentUrl::MAX_CHARS)]
    TooLong,
    /// It does not start with `http://` or `https://`.
    #[error("must start with http:// or https://")]
    NotHttp,
    /// It has a space, a quote, an angle bracket or a backslash.
    #[error("must not contain spaces, quotes, < > or \\; write them percent-encoded, as %20 for a space")]
    UnexpectedCharacter,
    /// It has a user name or password before the host.
    #[error("must not contain a user name or password")]
    Credentials,
    /// It has no host.
    #[error("must have a host after the //, such as https://example.com/photo.jpg")]
    NoHost,
    /// It is not a URL.
    #[error("must be a valid URL such as https://example.com/photo.jpg")]
    Malformed(#[source] url::ParseError),
}

impl DocumentUrl {
    /// The most characters (Unicode scalar values) in a URL.
    pub const MAX_CHARS: usize = 2_048;

    /// Parses a URL.
    ///
    /// # Errors
    ///
    /// [`DocumentUrlError`], one variant for each rule.
    pub fn parse(input: &str) -> Result<Self, DocumentUrlError> {
        let url = text::trimmed(input)?;
        if url.is_empty() {
            return Err(DocumentUrlError::Empty);
        }
        if url.chars().count() > Self::MAX_CHARS {
            return Err(DocumentUrlError::TooLong);
        }
        let rest = after_scheme(url).ok_or(DocumentUrlError::NotHttp)?;
        if rest.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>' | '\\')) {
            return Err(DocumentUrlError::UnexpectedCharacter);
        }
        check_authority(rest.split(['/', '?', '#']).next().unwrap_or_default())?;
        Url::parse(url).map_err(|error| match error {
            url::ParseError::EmptyHost => DocumentUrlError::NoHost,
            error => DocumentUrlError::Malformed(error),
        })?;
        Ok(Self(url.to_owned()))
    }
}

/// What follows `http://` or `https://`, in any case; `None` after anything else.
fn after_scheme(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")).then_some(rest)
}

fn check_authority(authority: &str) -> Result<(), DocumentUrlError> {
    if authority.is_empty() {
        return Err(DocumentUrlError::NoHost);
    }
    if authority.contains('@') {
        return Err(DocumentUrlError::Credentials);
    }
    Ok(())
}

value!(DocumentUrl);
