//! TCP connections to a mail server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::error::{FailedStep, SmtpFailure, SmtpStep};

/// Timeout for connecting to one of the server's addresses, before the next one is used.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the local address of a connection to the first of `addresses`. Sends nothing.
pub(super) async fn local_address(addresses: &[SocketAddr]) -> Option<IpAddr> {
    let to = addresses.first()?;
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.ok()?;
    socket.connect(to).await.ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Connects to the first of `addresses` that accepts the connection.
pub(super) async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, FailedStep> {
    let mut failure = SmtpFailure::Unresolved;
    for address in addresses {
        failure = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => SmtpFailure::Io(error.kind()),
            Err(_) => SmtpFailure::Timeout,
        };
    }
    Err((SmtpStep::Connect, failure))
}
