//! Where a request comes from: the peer of its connection, or what a trusted proxy says of it.

mod forwarded;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

use forwarded::Elements;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The most hops of a header that are looked at: more proxies than that stand before nobody.
const MOST_HOPS: usize = 32;

/// A network in CIDR notation, such as `10.0.0.0/8`; an address alone is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

/// The text is no network.
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

/// The header in which a proxy names whom it speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`: addresses with commas between.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The proxies whose word is taken for where a request comes from. By default there are none.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    networks: Vec<Network>,
    header: ProxyHeader,
}

impl Proxies {
    /// The proxies in `networks`, which say it in `header`. Another header is not looked at: a proxy that
    /// sets one may pass on the other as the client sent it.
    #[must_use]
    pub const fn new(networks: Vec<Network>, header: ProxyHeader) -> Self {
        Self { networks, header }
    }

    /// The address of the client. Each proxy adds the address that it was asked from at the right; so the
    /// client is the right-most address that is no trusted proxy. What is further left may have been made up
    /// by the client.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trust(client) {
            return client;
        }
        let name = match self.header {
            ProxyHeader::XForwardedFor => X_FORWARDED_FOR,
            ProxyHeader::Forwarded => header::FORWARDED,
        };
        // Several lines are one list, in their order (RFC 9110, section 5.3).
        let lines = headers.get_all(name).iter().rev().map(HeaderValue::as_bytes);
        let hops = lines.flat_map(|line| self.hops(line));
        for hop in hops.take(MOST_HOPS) {
            // What is no address (`unknown`, a name, what is malformed) hides what is left of it: the proxy
            // that said so is all there is.
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

    /// What a line says of each hop, from the right; nothing of a hop of which it says nothing, or nothing
    /// that can be read.
    fn hops<'h>(&self, line: &'h [u8]) -> impl Iterator<Item = Option<Cow<'h, [u8]>>> {
        let is_forwarded = self.header == ProxyHeader::Forwarded;
        let addresses = (!is_forwarded).then(|| line.rsplit(|byte| *byte == b','));
        let addresses = addresses.into_iter().flatten();
        let elements = is_forwarded.then(|| Elements::of(line));
        let elements = elements.into_iter().flatten().map(|hop| hop.ok().flatten());
        elements.chain(addresses.map(|hop| Some(hop.trim_ascii().into())))
    }
}

/// The address of a node (RFC 7239, section 6): of IPv6 in brackets or bare, with or without a port, which
/// may be hidden (`_p`).
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

/// Up to five digits, or a name that stands for a port.
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

/// The peer of the connection that a request came over; the listener says it.
pub(crate) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(address)| address.ip())
}

/// What counts as one client: of an IPv6 address its /64, which is what one subscriber has at least.
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
