//! Conversion of lettre's errors. It keeps only their codes and kinds, not their text, which may quote
//! addresses.

use std::error::Error as _;
use std::io;

use lettre::transport::smtp::Error;

use super::starttls_stream::UnexpectedData;
use crate::error::{CertificateFault, EnhancedCode, SmtpFailure};

/// Returns the failure that an error of lettre reports.
pub(super) fn smtp_failure(error: &Error) -> SmtpFailure {
    if let Some(code) = error.status() {
        let text = error.source().map(ToString::to_string).unwrap_or_default();
        let (code, enhanced) = (u16::from(code), EnhancedCode::leading(&text));
        if (400..500).contains(&code) && is_greylisted(&text) {
            return SmtpFailure::Greylisted { code, enhanced };
        }
        SmtpFailure::Reply { code, enhanced }
    } else if error.is_client() {
        // At this point, the only possible client error is a missing authentication mechanism.
        SmtpFailure::NoAuth
    } else if error.is_tls() {
        SmtpFailure::Tls
    } else if error.is_response() {
        SmtpFailure::Protocol
    } else if error.is_timeout() {
        SmtpFailure::Timeout
    } else {
        io_error(error).map_or(SmtpFailure::Connection, io_failure)
    }
}

/// Whether the reply's text mentions greylisting, for which there is no separate reply code.
fn is_greylisted(text: &str) -> bool {
    let letters: String = text.chars().filter(char::is_ascii_alphabetic).collect();
    let letters = letters.to_ascii_lowercase();
    letters.contains("greylist") || letters.contains("graylist")
}

fn io_failure(error: &io::Error) -> SmtpFailure {
    let inner = error.get_ref();
    if inner
        .and_then(|inner| inner.downcast_ref::<UnexpectedData>())
        .is_some()
    {
        return SmtpFailure::UnexpectedData;
    }
    match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(invalid)) => {
            SmtpFailure::Certificate(certificate_fault(invalid))
        }
        Some(_) => SmtpFailure::Tls,
        None => SmtpFailure::Io(error.kind()),
    }
}

const fn certificate_fault(error: &rustls::CertificateError) -> CertificateFault {
    use rustls::CertificateError as E;
    match error {
        E::UnknownIssuer => CertificateFault::Untrusted,
        E::Expired | E::ExpiredContext { .. } => CertificateFault::Expired,
        E::NotValidYet | E::NotValidYetContext { .. } => CertificateFault::NotYetValid,
        E::NotValidForName | E::NotValidForNameContext { .. } => CertificateFault::OtherName,
        E::Revoked => CertificateFault::Revoked,
        _ => CertificateFault::Invalid,
    }
}

fn io_error(error: &Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error);
        }
        source = error.source();
    }
    None
}
