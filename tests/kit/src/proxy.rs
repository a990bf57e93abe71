//! A TCP proxy whose connections a test can break.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::port::free_port;

/// Maximum number of bytes forwarded at a time.
const CHUNK: usize = 1 << 16;
/// Maximum number of delayed chunks in each direction of a connection.
const IN_TRANSIT: usize = 256;

/// A proxy between clients and a server on 127.0.0.1, whose connections a test can break.
///
/// While the server is down, the proxy resets each new connection. Once the server is back, clients can
/// connect again.
pub struct Proxy {
    port: u16,
    /// Port of the server for new connections.
    server: Arc<AtomicU16>,
    faults: Arc<Faults>,
    /// Number of resets. Each connection ends when this number changes.
    resets: watch::Sender<u64>,
    listening: JoinHandle<()>,
}

#[derive(Default)]
struct Faults {
    /// Delay of each chunk, in microseconds.
    delay: AtomicU64,
    refuses: AtomicBool,
}

impl Proxy {
    /// Listens on a new port for clients of the server on `port`.
    ///
    /// # Panics
    /// If listening fails.
    pub async fn start(port: u16) -> Self {
        let own = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, own))
            .await
            .expect("the port is free");
        let faults = Arc::<Faults>::default();
        let (resets, seen) = watch::channel(0);
        let server = Arc::new(AtomicU16::new(port));
        let listening = tokio::spawn(listen(listener, Arc::clone(&server), Arc::clone(&faults), seen));
        Self {
            port: own,
            server,
            faults,
            resets,
            listening,
        }
    }

    /// Returns the port for clients.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Resets every connection (RST), so that data in transit is lost in both directions.
    pub fn reset(&self) {
        self.resets.send_modify(|count| *count += 1);
    }

    /// Delays all data in both directions, as a longer distance does: the delay does not limit the
    /// throughput. A delay takes up to a millisecond longer. [`Duration::ZERO`] ends the delay.
    pub fn delay(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.faults.delay.store(micros, Ordering::SeqCst);
    }

    /// Connects new clients to the server on `port`. Open connections stay open, as after a change of a DNS
    /// name.
    pub fn redirect(&self, port: u16) {
        self.server.store(port, Ordering::SeqCst);
    }

    /// With `true`, resets every connection, and each new connection immediately, until called with `false`.
    pub fn refuse(&self, refuses: bool) {
        self.faults.refuses.store(refuses, Ordering::SeqCst);
        if refuses {
            self.reset();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(
    listener: TcpListener,
    server: Arc<AtomicU16>,
    faults: Arc<Faults>,
    resets: watch::Receiver<u64>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let mut resets = resets.clone();
        resets.mark_unchanged();
        let faults = Arc::clone(&faults);
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, server.load(Ordering::SeqCst)));
        tokio::spawn(async move {
            let _ = client.set_zero_linger();
            if faults.refuses.load(Ordering::SeqCst) {
                return;
            }
            if let Ok(server) = TcpStream::connect(server).await {
                pass(client, server, &faults, resets).await;
            }
        });
    }
}

/// Forwards data until both sides have closed or a reset happens. If the streams are dropped with unread or
/// unsent data, the system resets them.
async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    faults: &Faults,
    mut resets: watch::Receiver<u64>,
) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let _ = server.set_zero_linger();
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let both = async {
        // After one side has closed, the other side may still send data.
        tokio::join!(
            one_way(from_client, to_server, faults),
            one_way(from_server, to_client, faults)
        );
    };
    tokio::select! {
        () = both => {}
        _ = resets.changed() => {}
    }
}

async fn one_way(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, faults: &Faults) {
    let (sender, mut delayed) = mpsc::channel(IN_TRANSIT);
    let read = async move {
        let mut chunk = vec![0; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut chunk).await {
            let delay = Duration::from_micros(faults.delay.load(Ordering::SeqCst));
            let due = (!delay.is_zero()).then(|| Instant::now() + delay);
            if sender.send((due, chunk[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let mut write = pin!(async move {
        while let Some((due, chunk)) = delayed.recv().await {
            if let Some(due) = due {
                tokio::time::sleep_until(due).await;
            }
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
    tokio::select! {
        () = read => write.await,
        () = &mut write => {}
    }
}
