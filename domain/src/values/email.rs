//! A patient's email address, and when two of them count as the same.

use std::borrow::Cow;

use icu_normalizer::DecomposingNormalizerBorrowed;
use url::Host;

use super::host;
use super::text::{self, ControlCharacter};

/// An email address that a confirmation can be sent to, at most 254 bytes (RFC 5321 §4.5.3.1.3, less the
/// brackets), as it is written and as it is sent.
///
/// The syntax is that of RFC 5321 and RFC 6531 (international addresses), less what no patient has and much
/// of the world's mail refuses:
///
/// - no display name: `Ana <ana@example.com>` is a header, not an address;
/// - no quoted local part: `"ana"@example.com` and `ana@example.com` are one mailbox, and would be two
///   patients;
/// - no white space, and of the invisible characters only those that are spelling (joiners, variation
///   selectors);
/// - a domain name with a dot that IDNA (UTS #46) turns into a host name: neither `ana@localhost` nor
///   `ana@[192.0.2.1]` nor `ana@192.0.2.1` can be reached from everywhere.
///
/// White space and invisible characters around it are dropped; it is kept in Normalization Form C.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

/// Why an email address was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmailError {
    /// It has a control character.
    #[error(transparent)]
    ControlCharacter(#[from] ControlCharacter),
    /// It is empty, or has only characters that show nothing.
    #[error("must not be empty")]
    Empty,
    /// It has more than [`Email::MAX_BYTES`] bytes, with its domain as written or in ASCII.
    #[error("must be at most {} bytes long", Email::MAX_BYTES)]
    TooLong,
    /// The part before the `@` has more than [`Email::MAX_LOCAL_PART_BYTES`] bytes.
    #[error("must have at most {} bytes before the @", Email::MAX_LOCAL_PART_BYTES)]
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
    Malformed,
}

impl Email {
    /// The maximum number of bytes (in UTF-8).
    pub const MAX_BYTES: usize = 254;
    /// The maximum number of bytes (in UTF-8) before the `@` (RFC 5321 §4.5.3.1.1).
    pub const MAX_LOCAL_PART_BYTES: usize = 64;

    /// Parses an email address.
    ///
    /// # Errors
    ///
    /// [`EmailError`], one variant for each rule.
    pub fn parse(input: &str) -> Result<Self, EmailError> {
        let input = text::composed(input);
        let email = text::trimmed(&input);
        text::check_controls(email)?;
        if email.is_empty() {
            return Err(EmailError::Empty);
        }
        if email.contains(text::is_directional) {
            return Err(ControlCharacter.into());
        }
        if email.len() > Self::MAX_BYTES {
            return Err(EmailError::TooLong);
        }
        let (local_part, domain) = email.rsplit_once('@').ok_or(EmailError::Malformed)?;
        check_local_part(local_part)?;
        if local_part.len() + 1 + mail_domain(domain)?.len() > Self::MAX_BYTES {
            return Err(EmailError::TooLong);
        }
        Ok(Self(email.to_owned()))
    }

    /// The key under which this address counts as the same as another: see [`email_claim_key`].
    #[must_use]
    pub fn claim_key(&self) -> String {
        email_claim_key(&self.0)
    }
}

/// The key under which two email addresses count as the same: what is before the `@` in Unicode lower case
/// and Normalization Form C, and the domain as mail is delivered to it, in ASCII (RFC 5891) and lower case.
/// So `Ana@clínica.example` and `ana@xn--clnica-4va.example` have one key.
///
/// For events, which carry the address as a plain string; one that is no address is its own key, in lower
/// case. RFC 5321 §2.4 lets a server tell `Ana@` from `ana@`; hardly any does, and people type both.
#[must_use]
pub fn email_claim_key(email: &str) -> String {
    let key = uncomposed_claim_key(email);
    match text::composed(&key) {
        Cow::Borrowed(_) => key,
        Cow::Owned(composed) => composed,
    }
}

/// The key under which a program that did not normalize addresses has the claim of a patient who was
/// registered with this address in decomposed form (NFD); `None` if it is the key of today.
///
/// Of that claim, the log has the address as it was sent, so that its release needs no key.
#[must_use]
pub fn older_email_claim_key(email: &str) -> Option<String> {
    if email.is_ascii() {
        return None;
    }
    let older = uncomposed_claim_key(&DecomposingNormalizerBorrowed::new_nfd().normalize(email));
    (older != email_claim_key(email)).then_some(older)
}

fn uncomposed_claim_key(email: &str) -> String {
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

/// `Dot-string` of RFC 5321 §4.1.2, whose atoms RFC 6531 §3.3 extends by every character beyond ASCII.
fn check_local_part(local_part: &str) -> Result<(), EmailError> {
    if local_part.len() > 1 && local_part.starts_with('"') && local_part.ends_with('"') {
        return Err(EmailError::Quoted);
    }
    if !local_part
        .split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atom_character))
    {
        return Err(EmailError::Malformed);
    }
    if local_part.len() > Email::MAX_LOCAL_PART_BYTES {
        return Err(EmailError::LocalPartTooLong);
    }
    Ok(())
}

fn is_atom_character(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
    } else {
        !c.is_whitespace() && !text::is_invisible(c)
    }
}

/// The domain as mail is delivered to it.
fn mail_domain(domain: &str) -> Result<String, EmailError> {
    if domain.starts_with('[') && domain.ends_with(']') {
        return Err(EmailError::IpAddress);
    }
    // Beyond ASCII, IDNA decides what is a letter; it drops what is invisible, and undoes percent-encoding.
    if domain.contains(|c: char| match c {
        '-' | '.' => false,
        c if c.is_ascii() => !c.is_ascii_alphanumeric(),
        c => c.is_whitespace() || text::is_invisible(c),
    }) {
        return Err(EmailError::InvalidDomain);
    }
    match Host::parse(domain) {
        Ok(Host::Domain(ascii)) if !host::is_strict(&ascii) => Err(EmailError::InvalidDomain),
        Ok(Host::Domain(ascii)) if !ascii.contains('.') => Err(EmailError::IncompleteDomain),
        Ok(Host::Domain(ascii)) => Ok(ascii),
        Ok(Host::Ipv4(_) | Host::Ipv6(_)) => Err(EmailError::IpAddress),
        Err(_) => Err(EmailError::InvalidDomain),
    }
}

value!(Email);
