//! URL of the photo of a patient's document.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

use super::host;
use super::text::{self, ControlCharacter};

/// An absolute URL with a host, of at most 4,096 characters (Unicode scalar values), which suffices for the
/// presigned URLs of storage services.
///
/// The URL follows the URL standard (WHATWG), without its error correction. `https:example.com`,
/// `https:///example.com` and backslashes, which browsers correct, are rejected, because other programs find
/// a different host or no host in these URLs. The host is an IP address or a server name. White space, double
/// quotes and angle brackets are rejected because they end a URL in running text (RFC 3986 appendix C). A
/// user name or password is rejected because every reader of the patient could see it.
///
/// Surrounding white space and invisible characters are dropped. The rest is stored as written, without
/// changing case or normalization form, because a different spelling can identify a different document. The
/// URL is never fetched.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DocumentUrl(String);

/// Reason why a document URL was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentUrlError {
    /// The URL contains a control character.
    #[error(transparent)]
    ControlCharacter(#[from] ControlCharacter),
    /// The URL is empty or contains only invisible characters.
    #[error("must not be empty")]
    Empty,
    /// The URL has more than [`DocumentUrl::MAX_CHARS`] characters.
    #[error("must be at most {} characters long", DocumentUrl::MAX_CHARS)]
    TooLong,
    /// The URL does not start with one of these schemes and `://`.
    #[error("must start with {0}")]
    Scheme(UrlSchemes),
    /// The URL contains white space, a double quote, an angle bracket or a backslash.
    #[error("must not contain spaces, quotes, < > or \\; percent-encode them, such as %20 for a space")]
    UnexpectedCharacter,
    /// The URL contains a user name or password before the host.
    #[error("must not contain a user name or password")]
    Credentials,
    /// The URL has no host, or its host is not a valid server name.
    #[error("must have a host after the //, such as https://example.com/photo.jpg")]
    NoHost,
    /// The input is not a URL.
    #[error("must be a valid URL such as https://example.com/photo.jpg")]
    Malformed(#[source] url::ParseError),
}

impl DocumentUrl {
    /// Maximum number of characters (Unicode scalar values).
    pub const MAX_CHARS: usize = 4_096;

    /// Parses an `http` or `https` URL.
    ///
    /// # Errors
    ///
    /// [`DocumentUrlError`], one variant for each rule.
    pub fn parse(input: &str) -> Result<Self, DocumentUrlError> {
        Self::parse_with(input, &UrlSchemes::default())
    }

    /// Parses a URL with one of `schemes`.
    ///
    /// # Errors
    ///
    /// [`DocumentUrlError`], one variant for each rule.
    pub fn parse_with(input: &str, schemes: &UrlSchemes) -> Result<Self, DocumentUrlError> {
        let url = text::trimmed(input);
        text::check_controls(url)?;
        if url.is_empty() {
            return Err(DocumentUrlError::Empty);
        }
        if url.chars().nth(Self::MAX_CHARS).is_some() {
            return Err(DocumentUrlError::TooLong);
        }
        if url.contains(text::is_directional) {
            return Err(ControlCharacter.into());
        }
        let rest = schemes
            .after(url)
            .ok_or_else(|| DocumentUrlError::Scheme(schemes.clone()))?;
        if rest.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>' | '\\')) {
            return Err(DocumentUrlError::UnexpectedCharacter);
        }
        check_authority(rest.split(['/', '?', '#']).next().unwrap_or_default())?;
        let read = Url::parse(url).map_err(|error| match error {
            url::ParseError::EmptyHost => DocumentUrlError::NoHost,
            error => DocumentUrlError::Malformed(error),
        })?;
        match read.host() {
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => {}
            Some(Host::Domain(name)) if host::is_lenient(name) => {}
            Some(Host::Domain(_)) | None => return Err(DocumentUrlError::NoHost),
        }
        Ok(Self(url.to_owned()))
    }
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

/// Allowed schemes of document URLs, such as `http,https`, which is the default. Case is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlSchemes(Vec<String>);

/// Reason why a list of schemes was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlSchemesError {
    /// The list is empty.
    #[error("expected a comma-separated list of URL schemes, such as http,https")]
    Empty,
    /// An entry is not a valid scheme name (RFC 3986 §3.1).
    #[error("{0:?} is not a URL scheme such as https")]
    Malformed(String),
    /// URLs with this scheme do not refer to a document on a server. Some of them run a script in the browser
    /// of the person who opens them.
    #[error("{0} URLs do not refer to a document on a server")]
    Unsafe(String),
}

/// Schemes that do not refer to a document on a server. Their URLs contain a script or the data itself, or
/// refer to a place within one browser or machine.
const UNSAFE: [&str; 7] = [
    "javascript",
    "vbscript",
    "data",
    "blob",
    "about",
    "file",
    "filesystem",
];

impl UrlSchemes {
    /// Returns the rest of `url` after an allowed scheme and `://`.
    fn after<'u>(&self, url: &'u str) -> Option<&'u str> {
        let (scheme, rest) = url.split_once("://")?;
        let known = self.0.iter().any(|known| known.eq_ignore_ascii_case(scheme));
        known.then_some(rest)
    }
}

impl Default for UrlSchemes {
    fn default() -> Self {
        Self(vec!["http".to_owned(), "https".to_owned()])
    }
}

impl FromStr for UrlSchemes {
    type Err = UrlSchemesError;

    fn from_str(list: &str) -> Result<Self, UrlSchemesError> {
        let mut schemes = Vec::new();
        for scheme in list.split(',').map(|scheme| scheme.trim().to_ascii_lowercase()) {
            if scheme.is_empty() {
                continue;
            }
            let named = scheme.starts_with(|c: char| c.is_ascii_lowercase())
                && scheme
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
            if !named {
                return Err(UrlSchemesError::Malformed(scheme));
            }
            if UNSAFE.contains(&scheme.as_str()) {
                return Err(UrlSchemesError::Unsafe(scheme));
            }
            if !schemes.contains(&scheme) {
                schemes.push(scheme);
            }
        }
        if schemes.is_empty() {
            return Err(UrlSchemesError::Empty);
        }
        Ok(Self(schemes))
    }
}

/// Lists the schemes as in a sentence: `http:// or https://`.
impl fmt::Display for UrlSchemes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scheme) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(if index + 1 == self.0.len() { " or " } else { ", " })?;
            }
            write!(f, "{scheme}://")?;
        }
        Ok(())
    }
}
