//! A patient's email address, and the rule that decides whether two addresses are equal.

use std::borrow::Cow;

use icu_casemap::CaseMapper;
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use url::Host;

use super::host;
use super::text::{self, ControlCharacter};

/// An email address that can receive a confirmation, of at most 254 bytes (RFC 5321 §4.5.3.1.3, without the
/// angle brackets). The limit applies to the address as written and as sent.
///
/// The syntax is RFC 5321 and RFC 6531 (international addresses), without forms that patients do not use and
/// many mail servers reject:
///
/// - No display name: `Ana <ana@example.com>` is a header value, not an address.
/// - No quoted local part: `"ana"@example.com` and `ana@example.com` are the same mailbox, but would be two
///   patients.
/// - No white space, and no invisible characters except those that are part of the spelling (joiners,
///   variation selectors).
/// - A domain name with a dot that IDNA (UTS #46) converts to a host name. `ana@localhost`, `ana@[192.0.2.1]`
///   and `ana@192.0.2.1` are rejected because they are not reachable from every mail server.
///
/// Surrounding white space and invisible characters are dropped. The address is stored in Normalization Form
/// C.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

/// Reason why an email address was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmailError {
    /// The address contains a control character.
    #[error(transparent)]
    ControlCharacter(#[from] ControlCharacter),
    /// The address is empty or contains only invisible characters.
    #[error("must not be empty")]
    Empty,
    /// The address has more than [`Email::MAX_BYTES`] bytes, with its domain as written or in ASCII.
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
    /// The input is not an email address.
    #[error("must be a plain email address such as name@example.com")]
    Malformed,
}

impl Email {
    /// Maximum number of bytes (in UTF-8).
    pub const MAX_BYTES: usize = 254;
    /// Maximum number of bytes (in UTF-8) before the `@` (RFC 5321 §4.5.3.1.1).
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

    /// Returns the key that is the same for equal addresses. See [`email_claim_key`].
    #[must_use]
    pub fn claim_key(&self) -> String {
        email_claim_key(&self.0)
    }
}

/// Returns the key that is the same for equal email addresses. It consists of the local part in Unicode lower
/// case and Normalization Form C, and of the domain in ASCII (RFC 5891) and lower case, as used for mail
/// delivery. For example, `Ana@clínica.example` and `ana@xn--clnica-4va.example` have the same key.
///
/// Accepts any string, because events contain addresses as plain strings. The key of an invalid address is
/// the address in lower case and Unicode Normalization Form C. RFC 5321 §2.4 allows servers to distinguish
/// `Ana@` from `ana@`, but hardly any server does, and people type both forms.
#[must_use]
pub fn email_claim_key(email: &str) -> String {
    let key = uncomposed_claim_key(email);
    match text::composed(&key) {
        Cow::Borrowed(_) => key,
        Cow::Owned(composed) => composed,
    }
}

/// Returns the key that is the same for addresses of one mailbox. Unlike [`email_claim_key`], it folds the
/// case of all scripts and removes compatibility variants of the local part: Unicode's full case folding and
/// Normalization Form KC. For example, `γιώργος@example.com` and `ΓΙΏΡΓΟΣ@example.com` have the same key.
///
/// Accepts any string, like [`email_claim_key`].
#[must_use]
pub fn mailbox_key(email: &str) -> String {
    if email.is_ascii() {
        return email.to_ascii_lowercase();
    }
    let key = email_claim_key(email);
    let (local_part, domain) = key
        .rsplit_once('@')
        .map_or((key.as_str(), None), |(local_part, domain)| {
            (local_part, Some(domain))
        });
    let (fold, nfkc) = (CaseMapper::new(), ComposingNormalizerBorrowed::new_nfkc());
    // Folding and normalization can each enable the other.
    let mut folded = nfkc.normalize(local_part).into_owned();
    for _ in 0..2 {
        folded = nfkc.normalize(&fold.fold_string(&folded)).into_owned();
    }
    domain.map_or_else(|| folded.clone(), |domain| format!("{folded}@{domain}"))
}

/// Returns the claim key of an older program that did not normalize addresses, for a patient registered with
/// this address in decomposed form (NFD). Returns `None` if that key equals the current key.
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

/// Returns the text in lower case, with each character converted separately. `str::to_lowercase` converts a
/// capital sigma according to its position in the word, so an address would have different keys in upper and
/// in lower case.
fn lower_case(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Checks a `Dot-string` of RFC 5321 §4.1.2, with the non-ASCII characters that RFC 6531 §3.3 allows.
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

/// Returns the domain as used for mail delivery.
fn mail_domain(domain: &str) -> Result<String, EmailError> {
    if domain.starts_with('[') && domain.ends_with(']') {
        return Err(EmailError::IpAddress);
    }
    // IDNA decides which non-ASCII characters are letters. IDNA would drop invisible characters and decode
    // percent-encoding, so invisible characters and percent signs are rejected first.
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
