//! Loopback ports for servers.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::Mutex;

/// Range below the ephemeral ports (from 32768 on Linux), so that no outgoing connection takes a server's
/// port during a restart.
const PORTS: Range<u16> = 10_000..30_000;

/// Reservations, which last until this process exits.
static RESERVED: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// Returns a free TCP port on 127.0.0.1 that no other caller receives while this process lives.
///
/// Concurrent test processes coordinate without a file: before a process takes a TCP port, it binds the UDP
/// port of the same number.
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
