//! Parsing of SMTP URLs.

use std::net::IpAddr;

use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::{SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::{Host, Url, form_urlencoded};

use super::ehlo::EhloName;
use crate::error::{CertificateFault, FailedStep, SmtpFailure, SmtpStep};

/// Options for an SMTP server, in addition to its URL.
#[derive(Debug, Clone, Default)]
pub struct SmtpOptions {
    /// Certificates in PEM format: certificate authorities to trust in addition to the system's, or the
    /// server's own certificate.
    pub extra_authorities: Option<Vec<u8>>,
    /// Name for EHLO, unless the URL contains a name.
    pub ehlo: EhloName,
}

/// An invalid SMTP URL. No error contains the URL, because it may hold a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SmtpUrlError {
    /// The text is not a URL, or the URL has an unsupported scheme or no host.
    #[error(
        "expected smtps://user:password@host:465, smtp://user:password@host:587?tls=required, or smtp://host:25"
    )]
    Form,
    /// Invalid text after the host, usually because of an unencoded character in the password.
    #[error(
        "expected nothing after the host except a port, ?tls= with required, opportunistic or none, and &auth= with plain, \
         login or xoauth2; in the user and password, encode / ? # @ : and % as %2F %3F %23 %40 %3A and %25"
    )]
    Rest,
    /// A user without a password, or a password without a user.
    #[error("expected both a user and a password before the @, or neither")]
    Credentials,
    /// Mail would be sent unencrypted over a network.
    #[error("expected ?tls=required for a host other than loopback, or ?tls=none to send without encryption")]
    Plain,
    /// The extra certificate authorities are not valid certificates.
    #[error("the extra certificate authorities cannot be read: expected PEM certificates")]
    Authorities(#[source] lettre::transport::smtp::Error),
    /// The extra certificate authorities contain no certificate.
    #[error("the extra certificate authorities contain no certificate: expected -----BEGIN CERTIFICATE-----")]
    NoAuthority,
    /// TLS could not be set up.
    #[error("TLS cannot be set up for this host")]
    Tls(#[source] lettre::transport::smtp::Error),
}

/// When encryption begins.
#[derive(Clone)]
pub(super) enum Encryption {
    None,
    /// TLS begins before the greeting.
    Immediate(CertificateVerification),
    /// STARTTLS is required.
    StartTls(CertificateVerification),
    /// STARTTLS is used if the server offers it.
    StartTlsIfOffered(CertificateVerification),
}

/// How the server's certificate is verified.
#[derive(Clone)]
pub(super) struct CertificateVerification {
    /// Parameters that verify the certificate against certificate authorities.
    signed: TlsParameters,
    /// Parameters that verify only the certificate's host name and the handshake signature.
    unsigned: TlsParameters,
    /// The given certificates, in DER format.
    given: Vec<CertificateDer<'static>>,
}

impl CertificateVerification {
    fn new(host: &str, pem: Option<&[u8]>) -> Result<Self, SmtpUrlError> {
        let given = pem.map(certificates).transpose()?.unwrap_or_default();
        let mut signed = TlsParameters::builder(host.to_owned());
        if let Some(pem) = pem {
            signed =
                signed.add_root_certificate(Certificate::from_pem(pem).map_err(SmtpUrlError::Authorities)?);
        }
        let unsigned = TlsParameters::builder(host.to_owned())
            .certificate_store(CertificateStore::None)
            .dangerous_accept_invalid_certs(true);
        Ok(Self {
            signed: signed.build().map_err(SmtpUrlError::Tls)?,
            unsigned: unsigned.build().map_err(SmtpUrlError::Tls)?,
            given,
        })
    }

    /// Returns the parameters. With `pinned`, the caller must call [`CertificateVerification::check`] before
    /// sending any sensitive data.
    pub(super) fn parameters(&self, pinned: bool) -> TlsParameters {
        if pinned { &self.unsigned } else { &self.signed }.clone()
    }

    /// With `pinned`, checks that the server's certificate is one of the given certificates.
    pub(super) fn check(&self, connection: &AsyncSmtpConnection, pinned: bool) -> Result<(), FailedStep> {
        let is_given = || {
            let shown = connection.peer_certificate().ok();
            shown.is_some_and(|shown| self.given.iter().any(|given| given.as_ref() == shown))
        };
        if pinned && !is_given() {
            return Err((
                SmtpStep::Tls,
                SmtpFailure::Certificate(CertificateFault::Untrusted),
            ));
        }
        Ok(())
    }
}

/// An SMTP server and the options for connecting to it.
#[derive(Clone)]
pub(super) struct Server {
    /// Host name or IP address, IPv6 without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) encryption: Encryption,
    pub(super) credentials: Option<Credentials>,
    /// Authentication mechanisms in order of preference. The first that the server offers is used.
    pub(super) mechanisms: &'static [Mechanism],
    pub(super) hello: EhloName,
}

impl Server {
    pub(super) fn parse(url: &str, options: &SmtpOptions) -> Result<Self, SmtpUrlError> {
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
        let authorities = options.extra_authorities.as_deref();
        // The certificates are checked even if they are unused, so that an invalid file is always reported.
        authorities.map(certificates).transpose()?;
        let parameters = || CertificateVerification::new(&host, authorities);
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
            hello: hello(&url)?.unwrap_or_else(|| options.ehlo.clone()),
            host,
        })
    }

    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// Whether certificates were given that the server's certificate may match.
    pub(super) fn has_pins(&self) -> bool {
        match &self.encryption {
            Encryption::None => false,
            Encryption::Immediate(tls) | Encryption::StartTls(tls) | Encryption::StartTlsIfOffered(tls) => {
                !tls.given.is_empty()
            }
        }
    }

    /// Returns the steps of sending an email, in order.
    pub(super) fn steps(&self) -> Vec<SmtpStep> {
        let mut steps = vec![SmtpStep::Resolve, SmtpStep::Connect];
        steps.extend(match self.encryption {
            Encryption::None => &[SmtpStep::Hello][..],
            Encryption::Immediate(_) => &[SmtpStep::Tls, SmtpStep::Hello],
            Encryption::StartTls(_) | Encryption::StartTlsIfOffered(_) => &[SmtpStep::Hello, SmtpStep::Tls],
        });
        steps.extend(self.credentials.is_some().then_some(SmtpStep::Auth));
        steps.extend([SmtpStep::Mail, SmtpStep::Rcpt, SmtpStep::Data, SmtpStep::Message]);
        steps
    }

    /// Describes the server without secrets.
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

/// Parses the certificates in a PEM file, at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, SmtpUrlError> {
    if CertificateDer::pem_slice_iter(pem).next().is_none() {
        return Err(SmtpUrlError::NoAuthority);
    }
    // A certificate that cannot be decoded is reported when the authorities are read.
    Ok(CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .collect())
}

fn credentials(url: &Url) -> Result<Option<Credentials>, SmtpUrlError> {
    match (url.username(), url.password().unwrap_or_default()) {
        ("", "") => Ok(None),
        ("", _) | (_, "") => Err(SmtpUrlError::Credentials),
        (user, password) => Ok(Some(Credentials::new(decoded(user), decoded(password)))),
    }
}

/// Decodes percent-encoding. Form encoding is the same except for `+`, `&` and `=`.
fn decoded(part: &str) -> String {
    let form = part.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(form.as_bytes())
        .map(|(name, _)| name.into_owned())
        .collect()
}

/// Returns the EHLO name in the URL's path.
fn hello(url: &Url) -> Result<Option<EhloName>, SmtpUrlError> {
    let name = url.path().trim_matches('/');
    if url.fragment().is_some() {
        return Err(SmtpUrlError::Rest);
    }
    if name.is_empty() {
        return Ok(None);
    }
    name.parse().map(Some).map_err(|_| SmtpUrlError::Rest)
}

#[cfg(test)]
mod tests;
