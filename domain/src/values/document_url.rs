//! Where the photo of a patient's document is.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

use super::host;
use super::text::{self, ControlCharacter};

/// An absolute URL with a host, at most 4,096 characters (Unicode scalar values), as long as the presigned
/// URLs of storage services.
///
/// It parses under the URL standard (WHATWG), read strictly: `https:example.com`, `https:///example.com` and
/// backslashes, which browsers mend, are refused, because other programs see another host in them or none.
/// Its host is an IP address or the name of a server. Spaces, quotes and angle brackets are refused because
/// they end a URL in running text (RFC 3986 appendix C). A user name or password is refused because it would
/// be shown to whoever may read the patient.
///
/// White space and invisible characters around it are dropped; otherwise it is kept as written, its scheme in
/// any case and its characters in any normalization form, since another spelling can be another document. It
/// is never fetched.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DocumentUrl(String);

/// Why a document's URL was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentUrlError {
    /// It has a control character.
    #[error(transparent)]
    ControlCharacter(#[from] ControlCharacter),
    /// It is empty, or has only characters that show nothing.
    #[error("must not be empty")]
    Empty,
    /// It has more than [`DocumentUrl::MAX_CHARS`] characters.
    #[error("must be at most {} characters long", DocumentUrl::MAX_CHARS)]
    TooLong,
    /// It does not start with one of these schemes and `://`.
    #[error("must start with {0}")]
    Scheme(UrlSchemes),
    /// It has a space, a quote, an angle bracket or a backslash.
    #[error("must not contain spaces, quotes, < > or \\; write them percent-encoded, as %20 for a space")]
    UnexpectedCharacter,
    /// It has a user name or password before the host.
    #[error("must not contain a user name or password")]
    Credentials,
    /// It has no host, or one that cannot be the name of a server.
    #[error("must have a host after the //, such as https://example.com/photo.jpg")]
    NoHost,
    /// It is not a URL.
    #[error("must be a valid URL such as https://example.com/photo.jpg")]
    Malformed(#[source] url::ParseError),
}

impl DocumentUrl {
    /// The maximum number of characters (Unicode scalar values).
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

/// The schemes that the URL of a document may have, such as `http,https`, which is the default. Written and
/// compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlSchemes(Vec<String>);

/// Why a list of schemes was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlSchemesError {
    /// It has no scheme.
    #[error("expected schemes of URLs with commas between, such as http,https")]
    Empty,
    /// This is not the name of a scheme (RFC 3986 §3.1).
    #[error("{0:?} is not a scheme of URLs, such as https")]
    Malformed(String),
    /// URLs of this scheme name no document on a server, and some run a program in the browser of whoever
    /// opens them.
    #[error("{0} URLs name no document on a server")]
    Unsafe(String),
}

/// What names no document on a server: these hold a script, the data itself, or a place within one browser or
/// machine.
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
    /// What follows one of the schemes and `://`.
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

/// As a sentence names them: `http:// or https://`.
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
