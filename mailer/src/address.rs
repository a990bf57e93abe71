//! Addresses as SMTP takes them.

use domain::Email;
use lettre::Address;
use lettre::address::AddressError;
use url::Host;

/// An address whose domain is ASCII: `ana@clínica.example` becomes `ana@xn--clnica-4va.example` (RFC 5891),
/// which every server takes. Only a local part beyond ASCII is left to need the server's `SMTPUTF8` (RFC
/// 6531).
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

/// lettre refuses most marks and symbols beyond ASCII before the `@`, which RFC 6531 allows: of such an
/// address the rules for a patient's email decide.
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
    fn a_domain_beyond_ascii_is_written_as_every_server_takes_it() {
        assert_eq!(
            deliverable("ana@clínica.example").unwrap().to_string(),
            "ana@xn--clnica-4va.example"
        );
    }

    #[test]
    fn an_ascii_address_and_any_local_part_stay_as_they_are() {
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
    fn what_is_no_address_is_refused() {
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
