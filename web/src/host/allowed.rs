//! The hosts that the service accepts.
//!
//! An open API is protected only by being unreachable from other machines. A page whose name resolves to a
//! loopback address (DNS rebinding) has the same origin as the API, so the browser would let the page send
//! any request and read any response. The `Host` header of these requests contains the name of the page's
//! host. An open API therefore accepts only loopback names, the host of its public URL and configured hosts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use axum::http::Request;

use super::{host_header, split};
use crate::problem::RequestError;

/// Maximum length of a host name, in bytes (RFC 1035, section 2.3.4).
const LONGEST: usize = 253;

/// Host that requests may be sent to, on any port: a name (`clinic.example.com`), all names below a domain
/// (`*.example.com`), an address, or `*` for every host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost(Pattern);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Every,
    Address(IpAddr),
    Name(String),
    /// Names below this domain. The domain includes the leading dot.
    Below(String),
}

/// Error for a text that is not a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a host without a scheme or port, such as clinic.example.com, *.example.com or 192.0.2.7, or * for every host"
)]
pub struct NoHost;

impl AllowedHost {
    /// Whether this matches every host.
    #[must_use]
    pub fn is_every(&self) -> bool {
        self.0 == Pattern::Every
    }

    fn matches(&self, host: Host<'_>) -> bool {
        match (&self.0, host) {
            (Pattern::Every, _) => true,
            (Pattern::Address(allowed), Host::Address(address)) => *allowed == address,
            (Pattern::Name(allowed), Host::Name(name)) => name.eq_ignore_ascii_case(allowed),
            (Pattern::Below(domain), Host::Name(name)) => is_below(name, domain),
            (Pattern::Address(_), Host::Name(_))
            | (Pattern::Name(_) | Pattern::Below(_), Host::Address(_)) => false,
        }
    }
}

impl From<IpAddr> for AllowedHost {
    fn from(address: IpAddr) -> Self {
        Self(Pattern::Address(address.to_canonical()))
    }
}

impl FromStr for AllowedHost {
    type Err = NoHost;

    fn from_str(text: &str) -> Result<Self, NoHost> {
        let text = text.trim();
        if text == "*" {
            return Ok(Self(Pattern::Every));
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse::<IpAddr>() {
            return Ok(address.into());
        }
        match text.strip_prefix('*') {
            Some(domain) => {
                let name = domain.strip_prefix('.').ok_or(NoHost)?;
                Ok(Self(Pattern::Below(format!(".{}", dns_name(name)?))))
            }
            None => dns_name(text).map(|name| Self(Pattern::Name(name))),
        }
    }
}

/// Parses a DNS name. Returns it in lower case, without a trailing dot.
fn dns_name(text: &str) -> Result<String, NoHost> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if name.len() <= LONGEST && name.split('.').all(is_label) {
        Ok(name.to_ascii_lowercase())
    } else {
        Err(NoHost)
    }
}

/// Host named by a request.
#[derive(Debug, Clone, Copy)]
enum Host<'r> {
    Address(IpAddr),
    /// Name without a trailing dot.
    Name(&'r str),
}

impl<'r> Host<'r> {
    /// Reads a host. An IPv6 address has brackets.
    fn read(host: &'r str) -> Self {
        let address = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().map(IpAddr::from),
            None => host.parse::<Ipv4Addr>().map(IpAddr::from),
        };
        address.map_or_else(
            |_| Self::Name(host.strip_suffix('.').unwrap_or(host)),
            |address| Self::Address(address.to_canonical()),
        )
    }

    /// Whether the host can only be this machine: a loopback address, or a name that RFC 6761, section 6.3
    /// reserves for loopback.
    fn is_loopback(self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback(),
            Self::Name(name) => name.eq_ignore_ascii_case("localhost") || is_below(name, ".localhost"),
        }
    }
}

/// Whether a name is below `domain`, which has a leading dot.
fn is_below(name: &str, domain: &str) -> bool {
    name.len()
        .checked_sub(domain.len())
        .is_some_and(|start| start > 0 && name.as_bytes()[start..].eq_ignore_ascii_case(domain.as_bytes()))
}

/// Hosts that the API accepts.
#[derive(Debug)]
pub(crate) enum Hosts {
    Every,
    /// Loopback names and addresses, and these hosts.
    Loopback(Vec<AllowedHost>),
}

impl Hosts {
    /// Returns the accepted hosts. The arguments are whether the API is open to everyone, the configured
    /// hosts, and the host of the public URL. The public host is also accepted, but does not by itself
    /// restrict the accepted hosts.
    pub(crate) fn new(open: bool, mut allowed: Vec<AllowedHost>, public: Option<&str>) -> Self {
        let unbounded = !open && allowed.is_empty();
        if unbounded || allowed.iter().any(AllowedHost::is_every) {
            return Self::Every;
        }
        allowed.extend(public.and_then(|host| host.parse::<AllowedHost>().ok()));
        Self::Loopback(allowed)
    }

    /// Rejects a request without a valid host, or for a host that is not accepted. If `anywhere` is true, any
    /// host is accepted, because container probes use the container's address.
    pub(crate) fn check<B>(&self, request: &Request<B>, anywhere: bool) -> Result<(), RequestError> {
        let header = host_header(request.version(), request.headers())?;
        let Self::Loopback(allowed) = self else {
            return Ok(());
        };
        // A proxy in front may evaluate either the header or the authority, so both hosts must be allowed.
        let authority = request.uri().authority().map(axum::http::uri::Authority::as_str);
        let mut named = [header, authority].into_iter().flatten();
        let accepted = |value: &str| {
            let host = split(value).map(|(host, _)| Host::read(host));
            host.is_some_and(|host| host.is_loopback() || allowed.iter().any(|allowed| allowed.matches(host)))
        };
        if anywhere || named.all(accepted) {
            Ok(())
        } else {
            Err(RequestError::HostNotAllowed)
        }
    }
}

#[cfg(test)]
mod tests;
