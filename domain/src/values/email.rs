//! A patient's email address, and when two of them count as the same.

use email_address::{EmailAddress, Options};
use url::Host;

use super::text::{self, ControlCharacter};

/// An email address that a confirmation can be sent to, at most 254 bytes (RFC 5321 §4.5.3.1.3, less the
/// brackets).
///
/// The syntax is that of RFC 5322 and RFC 6531 (international addresses) as the `email_address` crate reads
/// it, less what no patient has and much of the world's mail refuses:
///
/// - no display name: `Ana <ana@example.com>` is a header, not an address;
/// - no quoted local part: `"ana"@example.com` and `ana@example.com` are one mailbox, and would be two
///   patients;
/// - a domain name with a dot, of letters, digits and hyphens, valid under IDNA: neither `ana@localhost` nor
///   `ana@[192.0.2.1]` nor `ana@192.0.2.1` can be reached from everywhere.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

/// Why an email address was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EmailError {
    /// It has a control character.
    #[error(transparent)]
    ControlCharacter(#[from] ControlCharacter),
    /// It is empty, or spaces only.
    #[error("must not be empty")]
    Empty,
    /// It has more than [`Email::MAX_BYTES`] bytes.
    #[error("must be at most {} bytes long", Email::MAX_BYTES)]
    TooLong,
    /// The part before the `@` has more than 64 bytes (RFC 5321 §4.5.3.1.1).
    #[error("must have at most 64 bytes before the @")]
    LocalPartTooLong,
    /// The part before the `@` is in quotes.
    #[error("must not have quotes before the @")]
    Quoted,
    /// The part after the `@` has no dot.
    #[error("must have a full domain after the @, such as example.com")]
    IncompleteDomain,
    /// The part after the `@` is an IP address, with or without brackets.
    #[error("must have a domain name after the @, not an IP address")]
    IpAddress,
    /// The part after the `@` cannot be a domain name.
    #[error("must have a valid domain name after the @, such as example.com")]
    InvalidDomain,
    /// It is not an email address.
    #[error("must be a plain email address such as name@example.com")]
    Malformed(#[source] email_address::Error),
}

impl From<email_address::Error> for EmailError {
    fn from(error: email_address::Error) -> Self {
        use email_address::Error;
        match error {
            Error::LocalPartTooLong => Self::LocalPartTooLong,
            Error::DomainTooFew => Self::IncompleteDomain,
            Error::UnsupportedDomainLiteral => Self::IpAddress,
            Error::DomainEmpty | Error::DomainTooLong | Error::SubDomainEmpty | Error::SubDomainTooLong => {
                Self::InvalidDomain
            }
            error => Self::Malformed(error),
        }
    }
}

const OPTIONS: Options = Options {
    minimum_sub_domains: 2,
    allow_domain_literal: false,
    allow_display_text: false,
};

impl Email {
    /// The most bytes (in UTF-8) in an email address.
    pub const MAX_BYTES: usize = 254;

    /// Parses an email address.
    ///
    /// # Errors
    ///
    /// [`EmailError`], one variant for each rule.
    pub fn parse(input: &str) -> Result<Self, EmailError> {
        let email = text::trimmed(input)?;
        if email.is_empty() {
            return Err(EmailError::Empty);
        }
        if email.len() > Self::MAX_BYTES {
            return Err(EmailError::TooLong);
        }
        if email.starts_with('"') {
            return Err(EmailError::Quoted);
        }
        let address = EmailAddress::parse_with_options(email, OPTIONS)?;
        check_domain(address.domain())?;
        Ok(Self(address.into()))
    }

    /// The key under which this address counts as the same as another: see [`email_claim_key`].
    #[must_use]
    pub fn claim_key(&self) -> String {
        email_claim_key(&self.0)
    }
}

/// The key under which two email addresses count as the same: what is before the `@` in Unicode lower case,
/// and the domain as mail is delivered to it, in ASCII (RFC 5891) and lower case. So `Ana@clínica.example` and
/// `ana@xn--clnica-4va.example` have one key.
///
/// For events, which carry the address as a plain string; one that is no address is its own key, in lower
/// case. RFC 5321 §2.4 lets a server tell `Ana@` from `ana@`; hardly any does, and people type both.
#[must_use]
pub fn email_claim_key(email: &str) -> String {
    match email.rsplit_once('@') {
        Some((local_part, domain)) if !domain.is_ascii() => match Host::parse(domain) {
            Ok(Host::Domain(ascii)) => format!("{}@{ascii}", lower_case(local_part)),
            Ok(Host::Ipv4(_) | Host::Ipv6(_)) | Err(_) => lower_case(email),
        },
        _ => lower_case(email),
    }
}

/// By the character: `str::to_lowercase` writes a capital sigma by its place in the word, so that an address
/// in capitals and the same one in small letters would have different keys.
fn lower_case(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Refuses what `email_address` lets through: it reads a domain as RFC 5322 atoms, so `a@exa$mple.com` is
/// fine there.
fn check_domain(domain: &str) -> Result<(), EmailError> {
    if !domain
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '-' | '.'))
    {
        return Err(EmailError::InvalidDomain);
    }
    match Host::parse(domain) {
        Ok(Host::Domain(ascii)) if is_host_name(&ascii) => Ok(()),
        Ok(Host::Ipv4(_) | Host::Ipv6(_)) => Err(EmailError::IpAddress),
        Ok(Host::Domain(_)) | Err(_) => Err(EmailError::InvalidDomain),
    }
}

/// Whether a name is one of RFC 1123, section 2.1. Of some characters that are letters or digits to Unicode, IDNA makes several
/// that are not, as `(4)` of U+2477, and does not count how many.
fn is_host_name(ascii: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    ascii.len() <= 253 && ascii.split('.').all(is_label)
}

value!(Email);
