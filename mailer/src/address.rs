//! Email addresses in the form that SMTP servers accept.

use domain::Email;
use lettre::Address;
use lettre::address::AddressError;
use url::Host;

/// Returns the address with an ASCII domain (RFC 5891), which every server accepts: `ana@clínica.example`
/// becomes `ana@xn--clnica-4va.example`. Only a non-ASCII local part still requires the server's `SMTPUTF8`
/// (RFC 6531).
pub(crate) fn deliverable(email: &str) -> Result<Address, AddressError> {
    let (local_part, domain) = email.rsplit_once('@').ok_or(AddressError::MissingParts)?;
    if domain.is_ascii() {
        return with_local_part(email, local_part, domain);
    }
    match Host::parse(domain) {
        Ok(Host::Domain(ascii)) => with_local_part(email, local_part, &ascii),
        Ok(Host::Ipv4(_) | Host::Ipv6(_)) | Err(_) => Err(AddressError::InvalidDomain),
    }
}

/// Creates lettre's address from its parts. lettre rejects most non-ASCII marks and symbols before the `@`,
/// although RFC 6531 allows them. An address with such characters is accepted if it follows the rules for a
/// patient's email address.
fn with_local_part(email: &str, local_part: &str, domain: &str) -> Result<Address, AddressError> {
    match Address::new(local_part, domain) {
        Err(AddressError::InvalidUser) if Email::parse(email).is_ok_and(|known| known.as_str() == email) => {
            Ok(Address::new_dangerous(local_part, domain))
        }
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use super::deliverable;

    #[test]
    fn a_non_ascii_domain_is_converted_to_ascii() {
        assert_eq!(
            deliverable("ana@clínica.example").unwrap().to_string(),
            "ana@xn--clnica-4va.example"
        );
    }

    #[test]
    fn an_ascii_address_and_any_local_part_are_unchanged() {
        for email in [
            "Ana.Ruiz+x@Example.com",
            "peña@example.com",
            "o'neill@example.com",
            "संपर्क@example.com",
            "ผู้ใช้@example.com",
            "★@example.com",
        ] {
            assert_eq!(deliverable(email).unwrap().to_string(), email);
        }
    }

    #[test]
    fn an_invalid_address_is_rejected() {
        for email in [
            "",
            "ana",
            "ana@",
            "@example.com",
            "a b@example.com",
            "a\r\nb@example.com",
        ] {
            assert!(deliverable(email).is_err(), "{email:?}");
        }
    }
}
