//! What an SMTP URL says.

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::TlsParameters;
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT};
use url::{Host, Url, form_urlencoded};

/// An SMTP URL that cannot be used. None of these repeats it, since it holds a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SmtpUrlError {
    /// It is no URL, or of another kind, or without a host.
    #[error(
        "expected smtps://user:password@host:465, smtp://user:password@host:587?tls=required, or smtp://host:25"
    )]
    Form,
    /// It goes on after the host with what no SMTP URL has; most often because of a character in the password.
    #[error(
        "expected nothing after the host but a port and ?tls=required or ?tls=opportunistic; \
         in a user name or password write / ? # @ : and % as %2F %3F %23 %40 %3A and %25"
    )]
    Rest,
    /// There is a user without a password, or a password without a user.
    #[error("expected both a user and a password before the @, or neither")]
    Credentials,
    /// TLS could not be set up.
    #[error("TLS cannot be set up for this host")]
    Tls(#[source] lettre::transport::smtp::Error),
}

/// When encryption begins.
#[derive(Clone)]
pub(super) enum Encryption {
    None,
    /// Before anything is said.
    Immediate(TlsParameters),
    /// By STARTTLS, or nothing is sent.
    StartTls(TlsParameters),
    /// By STARTTLS if it is offered.
    StartTlsIfOffered(TlsParameters),
}

/// An SMTP server, and how to greet it.
#[derive(Clone)]
pub(super) struct Server {
    /// A name or an IP address, IPv6 without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) encryption: Encryption,
    pub(super) credentials: Option<Credentials>,
    pub(super) hello: ClientId,
}

impl Server {
    pub(super) fn parse(url: &str) -> Result<Self, SmtpUrlError> {
        let url = Url::parse(url.trim()).map_err(|_| SmtpUrlError::Form)?;
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(Host::Domain(_)) | None => return Err(SmtpUrlError::Form),
        };
        let queries: Vec<_> = url.query_pairs().collect();
        let tls = match queries.as_slice() {
            [] => None,
            [(name, value)] if name == "tls" => Some(value.as_ref()),
            _ => return Err(SmtpUrlError::Rest),
        };
        let parameters = || TlsParameters::new(host.clone()).map_err(SmtpUrlError::Tls);
        let (encryption, port) = match (url.scheme(), tls) {
            ("smtps", None) => (Encryption::Immediate(parameters()?), SUBMISSIONS_PORT),
            ("smtp", Some("required")) => (Encryption::StartTls(parameters()?), SUBMISSION_PORT),
            ("smtp", Some("opportunistic")) => {
                (Encryption::StartTlsIfOffered(parameters()?), SUBMISSION_PORT)
            }
            ("smtp", None) => (Encryption::None, SMTP_PORT),
            ("smtp" | "smtps", Some(_)) => return Err(SmtpUrlError::Rest),
            _ => return Err(SmtpUrlError::Form),
        };
        Ok(Self {
            port: url.port().unwrap_or(port),
            encryption,
            credentials: credentials(&url)?,
            hello: hello(&url)?,
            host,
        })
    }

    /// Without secrets.
    pub(super) fn describe(&self) -> String {
        let how = match self.encryption {
            Encryption::None => "without encryption",
            Encryption::Immediate(_) => "over TLS",
            Encryption::StartTls(_) => "over STARTTLS",
            Encryption::StartTlsIfOffered(_) => "over STARTTLS if offered",
        };
        if self.host.contains(':') {
            format!("[{}]:{} {how}", self.host, self.port)
        } else {
            format!("{}:{} {how}", self.host, self.port)
        }
    }
}

fn credentials(url: &Url) -> Result<Option<Credentials>, SmtpUrlError> {
    match (url.username(), url.password().unwrap_or_default()) {
        ("", "") => Ok(None),
        ("", _) | (_, "") => Err(SmtpUrlError::Credentials),
        (user, password) => Ok(Some(Credentials::new(decoded(user), decoded(password)))),
    }
}

/// Percent-decoded. A form's encoding is the same, but for what `+`, `&` and `=` mean in it.
fn decoded(part: &str) -> String {
    let form = part.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(form.as_bytes())
        .map(|(name, _)| name.into_owned())
        .collect()
}

fn hello(url: &Url) -> Result<ClientId, SmtpUrlError> {
    let name = url.path().trim_matches('/');
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    if !is_name || url.fragment().is_some() {
        return Err(SmtpUrlError::Rest);
    }
    Ok(if name.is_empty() {
        ClientId::default()
    } else {
        ClientId::Domain(name.to_owned())
    })
}

#[cfg(test)]
mod tests;
