//! The client's name in EHLO (RFC 5321 §4.1.1.1).

use std::net::IpAddr;
use std::str::FromStr;

use lettre::transport::smtp::extension::ClientId;

/// Name for EHLO. Strict servers reject a name without a dot, such as a container's id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum EhloName {
    /// A configured domain name or address literal.
    Of(ClientId),
    /// Literal of the connection's local address, such as `[192.0.2.1]`.
    #[default]
    Address,
}

/// An invalid EHLO name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a host name such as `mail.example.com`, or an address such as `[192.0.2.1]`")]
pub struct EhloNameError;

impl EhloName {
    /// Returns the default name: the machine's name or, if that is not a host name with a dot, the sender's
    /// domain. Names below `.localdomain` are not used. If neither name can be used, the default is the local
    /// address of the connection.
    #[must_use]
    pub fn of_machine(host: Option<&str>, sender_domain: &str) -> Self {
        host.into_iter()
            .chain([sender_domain])
            .find(|name| name.contains('.') && !name.ends_with(".localdomain") && is_host_name(name))
            .map_or(Self::Address, |name| Self::Of(ClientId::Domain(name.to_owned())))
    }

    /// Converts the name for lettre, for a connection from the given local address.
    pub(super) fn client_id(&self, local: Option<IpAddr>) -> ClientId {
        match (self, local) {
            (Self::Of(name), _) => name.clone(),
            (Self::Address, Some(IpAddr::V6(address))) => match address.to_ipv4_mapped() {
                Some(address) => ClientId::Ipv4(address),
                None => ClientId::Ipv6(address),
            },
            (Self::Address, Some(IpAddr::V4(address))) => ClientId::Ipv4(address),
            (Self::Address, None) => ClientId::Ipv4(std::net::Ipv4Addr::LOCALHOST),
        }
    }
}

impl FromStr for EhloName {
    type Err = EhloNameError;

    fn from_str(name: &str) -> Result<Self, EhloNameError> {
        let name = name.trim();
        let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let id = match literal {
            Some(address) => {
                let address = address.strip_prefix("IPv6:").unwrap_or(address);
                match address.parse().map_err(|_| EhloNameError)? {
                    IpAddr::V4(address) => ClientId::Ipv4(address),
                    IpAddr::V6(address) => ClientId::Ipv6(address),
                }
            }
            None if is_host_name(name) => ClientId::Domain(name.to_owned()),
            None => return Err(EhloNameError),
        };
        Ok(Self::Of(id))
    }
}

/// Whether the name consists of labels of letters, digits and inner hyphens (RFC 5321 §4.1.2).
pub(super) fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &EhloName, local: &str) -> String {
        name.client_id(local.parse().ok()).to_string()
    }

    #[test]
    fn the_default_name_is_the_machine_with_a_dot_or_the_senders_domain_or_the_address() {
        for (host, domain, local, expected) in [
            (
                Some("mail.clinic.example"),
                "miapp.com",
                "192.0.2.1",
                "mail.clinic.example",
            ),
            (Some("1f0c9d3a5b77"), "miapp.com", "192.0.2.1", "miapp.com"),
            (
                Some("localhost.localdomain"),
                "miapp.com",
                "192.0.2.1",
                "miapp.com",
            ),
            (Some("my_host.example"), "miapp.com", "192.0.2.1", "miapp.com"),
            (Some("clínica.example"), "miapp.com", "192.0.2.1", "miapp.com"),
            (None, "miapp.com", "192.0.2.1", "miapp.com"),
            (Some("clinic"), "localhost", "192.0.2.1", "[192.0.2.1]"),
            (None, "localhost", "2001:db8::1", "[IPv6:2001:db8::1]"),
            (None, "localhost", "::ffff:192.0.2.1", "[192.0.2.1]"),
            (None, "[192.0.2.9]", "192.0.2.1", "[192.0.2.1]"),
            (None, "localhost", "", "[127.0.0.1]"),
        ] {
            assert_eq!(
                shown(&EhloName::of_machine(host, domain), local),
                expected,
                "{host:?} {domain}"
            );
        }
    }

    #[test]
    fn a_valid_name_is_unchanged_and_an_invalid_name_is_rejected() {
        for name in ["mail.example.com", "clinic", "[192.0.2.1]", "[IPv6:2001:db8::1]"] {
            assert_eq!(shown(&name.parse().unwrap(), "127.0.0.1"), name);
        }
        for wrong in [
            "",
            "a b",
            "-a.example",
            "a..b",
            "[x]",
            "[192.0.2.1",
            "a\r\nMAIL",
            "clínica.example",
        ] {
            assert!(wrong.parse::<EhloName>().is_err(), "{wrong:?}");
        }
    }
}
