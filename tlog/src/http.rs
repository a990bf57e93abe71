//! Requests to other servers: bounded bodies, and URLs without secrets.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response, Url};

/// Timeout of a request, with its response.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Reason why a request has no usable response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The server cannot be reached, or the response is incomplete.
    #[error("{}", causes(.0))]
    Request(#[source] reqwest::Error),
    /// The response is longer than allowed.
    #[error("the response exceeds {0} bytes")]
    TooLong(usize),
    /// The server returned an error.
    #[error("the response has the status {0}")]
    Status(u16),
}

/// The message of an error without its URL, and the messages of its causes.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        Self::Request(error.without_url())
    }
}

/// Sets the timeout and the redirects of a client for witnesses and logs.
///
/// # Errors
///
/// If TLS cannot be initialized.
pub fn client(builder: ClientBuilder) -> reqwest::Result<Client> {
    builder
        .timeout(TIMEOUT)
        .redirect(Policy::none())
        .user_agent(concat!("patients/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Parses a URL below which a server answers. Returns `None` unless it is an `http` or `https` URL without
/// credentials, query and fragment.
pub(crate) fn base_url(text: &str) -> Option<Url> {
    let url: Url = text.parse().ok()?;
    let plain = url.username().is_empty() && url.password().is_none();
    let bare = url.query().is_none() && url.fragment().is_none();
    (matches!(url.scheme(), "http" | "https") && plain && bare).then_some(url)
}

/// Returns the URL of a path below a base.
pub(crate) fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    let prefix = base.path().trim_end_matches('/');
    url.set_path(&format!("{prefix}/{path}"));
    url
}

/// Reads the body of a response, of at most `limit` bytes.
pub(crate) async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(HttpError::TooLong(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
