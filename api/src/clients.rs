//! Where a request comes from: the peer of its connection, or what a trusted proxy says of it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, HeaderName, header};
use ipnet::IpNet;

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
    /// The proxies in `networks`, which say it in `header`. Another header is not looked at: a proxy that sets one may pass on
    /// the other as the client sent it.
    #[must_use]
    pub const fn new(networks: Vec<Network>, header: ProxyHeader) -> Self {
        Self { networks, header }
    }

    /// The address of the client. Each proxy adds the address that it was asked from at the right; so the client is the right-most
    /// address that is no trusted proxy. What is further left may have been made up by the client.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trust(client) {
            return client;
        }
        let name = match self.header {
            ProxyHeader::XForwardedFor => X_FORWARDED_FOR,
            ProxyHeader::Forwarded => header::FORWARDED,
        };
        let lines: Vec<_> = headers.get_all(name).iter().collect();
        let hops = lines
            .iter()
            .rev()
            .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for hop in hops.take(MOST_HOPS) {
            // What is no address (`unknown`, a name) hides what is left of it: the proxy that said so is all there is.
            let Some(address) = str::from_utf8(hop).ok().and_then(|hop| self.address(hop)) else {
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

    fn address(&self, hop: &str) -> Option<IpAddr> {
        match self.header {
            ProxyHeader::XForwardedFor => node(hop),
            ProxyHeader::Forwarded => hop.split(';').find_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                name.trim().eq_ignore_ascii_case("for").then(|| node(value))?
            }),
        }
    }
}

/// An address, with or without a port, brackets and quotes.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    bare.unwrap_or(text)
        .parse()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
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
