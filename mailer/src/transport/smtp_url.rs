//! What an SMTP URL says.

use std::net::IpAddr;

use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS, Mechanism};
use lettre::transport::smtp::client::{Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::{Host, Url, form_urlencoded};

use crate::error::Step;

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
        "expected nothing after the host but a port, ?tls= required, opportunistic or none, and &auth= plain, login or \
         xoauth2; in a user name or password write / ? # @ : and % as %2F %3F %23 %40 %3A and %25"
    )]
    Rest,
    /// There is a user without a password, or a password without a user.
    #[error("expected both a user and a password before the @, or neither")]
    Credentials,
    /// Mail would go over a network for all to read.
    #[error(
        "expected ?tls=required after the host, since it is not this machine; or ?tls=none to send without encryption"
    )]
    Plain,
    /// The extra authorities are no certificates.
    #[error("the extra authorities cannot be read: expected certificates in PEM")]
    Authorities(#[source] lettre::transport::smtp::Error),
    /// There is no certificate among the extra authorities.
    #[error("the extra authorities have no certificate: expected -----BEGIN CERTIFICATE-----")]
    NoAuthority,
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
    /// The ways to authenticate, the first that the server offers.
    pub(super) mechanisms: &'static [Mechanism],
    pub(super) hello: ClientId,
}

impl Server {
    pub(super) fn parse(url: &str, extra_authorities: Option<&[u8]>) -> Result<Self, SmtpUrlError> {
        let url = Url::parse(url.trim()).map_err(|_| SmtpUrlError::Form)?;
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(Host::Domain(_)) | None => return Err(SmtpUrlError::Form),
        };
        let (mut tls, mut mechanisms) = (None, None);
        for (name, value) in url.query_pairs() {
            match (name.as_ref(), value.as_ref()) {
                ("tls", value) if tls.is_none() => tls = Some(value.to_owned()),
                ("auth", "plain") if mechanisms.is_none() => mechanisms = Some(&[Mechanism::Plain][..]),
                ("auth", "login") if mechanisms.is_none() => mechanisms = Some(&[Mechanism::Login][..]),
                ("auth", "xoauth2") if mechanisms.is_none() => mechanisms = Some(&[Mechanism::Xoauth2][..]),
                _ => return Err(SmtpUrlError::Rest),
            }
        }
        let credentials = credentials(&url)?;
        // Also where they are not used: whoever gives them means to.
        let authorities = extra_authorities.map(authorities).transpose()?;
        let parameters = || tls_parameters(&host, authorities.as_ref());
        let (encryption, port) = match (url.scheme(), tls.as_deref()) {
            ("smtps", None) => (Encryption::Immediate(parameters()?), SUBMISSIONS_PORT),
            ("smtp", Some("required")) => (Encryption::StartTls(parameters()?), SUBMISSION_PORT),
            ("smtp", Some("opportunistic")) => {
                (Encryption::StartTlsIfOffered(parameters()?), SUBMISSION_PORT)
            }
            ("smtp", None) if !is_loopback(&host) => return Err(SmtpUrlError::Plain),
            ("smtp", None | Some("none")) => (Encryption::None, SMTP_PORT),
            ("smtp" | "smtps", Some(_)) => return Err(SmtpUrlError::Rest),
            _ => return Err(SmtpUrlError::Form),
        };
        Ok(Self {
            port: url.port().unwrap_or(port),
            encryption,
            credentials,
            mechanisms: mechanisms.unwrap_or(DEFAULT_MECHANISMS),
            hello: hello(&url)?,
            host,
        })
    }

    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// The steps to it, in the order in which they are taken.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::Resolve, Step::Connect];
        steps.extend(match self.encryption {
            Encryption::None => &[Step::Hello][..],
            Encryption::Immediate(_) => &[Step::Tls, Step::Hello],
            Encryption::StartTls(_) | Encryption::StartTlsIfOffered(_) => &[Step::Hello, Step::Tls],
        });
        steps.extend(self.credentials.is_some().then_some(Step::Auth));
        steps.extend([Step::Mail, Step::Rcpt, Step::Data, Step::Message]);
        steps
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

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The certificates in a PEM file, at least one.
fn authorities(pem: &[u8]) -> Result<Certificate, SmtpUrlError> {
    if CertificateDer::pem_slice_iter(pem).next().is_none() {
        return Err(SmtpUrlError::NoAuthority);
    }
    Certificate::from_pem(pem).map_err(SmtpUrlError::Authorities)
}

fn tls_parameters(host: &str, authorities: Option<&Certificate>) -> Result<TlsParameters, SmtpUrlError> {
    let mut parameters = TlsParameters::builder(host.to_owned());
    if let Some(authorities) = authorities {
        parameters = parameters.add_root_certificate(authorities.clone());
    }
    parameters.build().map_err(SmtpUrlError::Tls)
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
