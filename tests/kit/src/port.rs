//! Loopback ports for servers.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::Mutex;

/// Below the ports that systems give to outgoing connections (Linux: from 32768), so that none of those can take the
/// port of a server while it is being restarted.
const PORTS: Range<u16> = 10_000..30_000;

/// Reservations, held until this process ends.
static RESERVED: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// A free TCP port on 127.0.0.1, given to nobody else while this process lives.
///
/// Test processes that run at the same time agree on it without a file: whoever takes a TCP port here first binds the
/// UDP port of the same number.
pub fn free_port() -> u16 {
    for _ in 0..1000 {
        let port = fastrand::u16(PORTS);
        let Ok(reservation) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) else {
            continue;
        };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            RESERVED.lock().unwrap().push(reservation);
            return port;
        }
    }
    panic!("no free port among {PORTS:?} on 127.0.0.1");
}
