//! The client's address: the peer of the connection, or the address that a trusted proxy reports.

mod forwarded;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

use forwarded::Elements;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Maximum number of hops evaluated in a header. No deployment has more proxies than this.
const MOST_HOPS: usize = 32;

/// Network in CIDR notation, such as `10.0.0.0/8`. An address without a prefix length is a network of one
/// address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

/// Error for a text that is not a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a network, such as 10.0.0.0/8 or fd00::/8, or an address")]
pub struct NoNetwork;

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let text = text.trim();
        text.parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map(Self)
            .map_err(|_| NoNetwork)
    }
}

/// Header in which a proxy reports the address of its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`: comma-separated addresses.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Proxies that are trusted to report the client's address. By default, no proxy is trusted.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    networks: Vec<Network>,
    header: ProxyHeader,
}

impl Proxies {
    /// Trusts the proxies in `networks` to report addresses in `header`. The other header is ignored, because
    /// a proxy that sets only one of the two headers may forward the client's value of the other header
    /// unchanged.
    #[must_use]
    pub const fn new(networks: Vec<Network>, header: ProxyHeader) -> Self {
        Self { networks, header }
    }

    /// Returns the address of the client. Each proxy appends the address of its peer on the right. The client
    /// is therefore the rightmost address that is not a trusted proxy. The client may have forged everything
    /// further left.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trust(client) {
            return client;
        }
        let name = match self.header {
            ProxyHeader::XForwardedFor => X_FORWARDED_FOR,
            ProxyHeader::Forwarded => header::FORWARDED,
        };
        // Several header lines form a single list, in the order of the lines (RFC 9110, section 5.3).
        let lines = headers.get_all(name).iter().rev().map(HeaderValue::as_bytes);
        let hops = lines.flat_map(|line| self.hops(line));
        for hop in hops.take(MOST_HOPS) {
            // An entry that is not an address (`unknown`, a name, or malformed text) hides everything to its
            // left. The client is then the proxy that added this entry.
            let Some(address) = hop.and_then(|hop| node(str::from_utf8(&hop).ok()?)) else {
                break;
            };
            client = address.to_canonical();
            if !self.trust(client) {
                break;
            }
        }
        client
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|Network(net)| net.contains(&address))
    }

    /// Yields the address text of each hop in a line, from the right. `None` for a hop without an address, or
    /// for a malformed hop.
    fn hops<'h>(&self, line: &'h [u8]) -> impl Iterator<Item = Option<Cow<'h, [u8]>>> {
        let is_forwarded = self.header == ProxyHeader::Forwarded;
        let addresses = (!is_forwarded).then(|| line.rsplit(|byte| *byte == b','));
        let addresses = addresses.into_iter().flatten();
        let elements = is_forwarded.then(|| Elements::of(line));
        let elements = elements.into_iter().flatten().map(|hop| hop.ok().flatten());
        elements.chain(addresses.map(|hop| Some(hop.trim_ascii().into())))
    }
}

/// Parses a node (RFC 7239, section 6) and returns its address. An IPv6 address may have brackets. The port
/// is optional and may be obfuscated (`_p`).
fn node(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let known = port.is_empty() || port.strip_prefix(':').is_some_and(is_node_port);
        return address
            .parse::<Ipv6Addr>()
            .ok()
            .filter(|_| known)
            .map(IpAddr::from);
    }
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (address, port) = text.split_once(':')?;
    address
        .parse::<Ipv4Addr>()
        .ok()
        .filter(|_| is_node_port(port))
        .map(IpAddr::from)
}

/// Whether this is a port of up to five digits, or an obfuscated port.
fn is_node_port(port: &str) -> bool {
    let is_hidden = |name: &str| {
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !name.is_empty() && name.bytes().all(named)
    };
    match port.strip_prefix('_') {
        Some(name) => is_hidden(name),
        None => (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// Peer address of the connection that the request arrived on, as set by the listener.
pub(crate) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(address)| address.ip())
}

/// Address that identifies a client. For IPv6 this is the /64 network, because a subscriber has at least one
/// /64.
pub(crate) fn subscriber(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests;
