//! A TCP connection that goes wrong when a test says so.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::port::free_port;

/// The most bytes that are passed on at a time.
const CHUNK: usize = 1 << 16;

/// Stands between clients and a server on 127.0.0.1, and passes on what both say until it is told to break that.
///
/// The server need not be there: then clients are refused, as they would be without the proxy, and once it is back they get
/// through again.
pub struct Proxy {
    port: u16,
    faults: Arc<Faults>,
    /// Counts the resets: each connection ends when it changes.
    resets: watch::Sender<u64>,
    listening: JoinHandle<()>,
}

#[derive(Default)]
struct Faults {
    /// Milliseconds that each chunk waits.
    delay: AtomicU64,
    refuses: AtomicBool,
}

impl Proxy {
    /// Listens on a port of its own for clients of the server on `port`.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn start(port: u16) -> Self {
        let own = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, own))
            .await
            .expect("the port is free");
        let faults = Arc::<Faults>::default();
        let (resets, seen) = watch::channel(0);
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listening = tokio::spawn(listen(listener, server, Arc::clone(&faults), seen));
        Self {
            port: own,
            faults,
            resets,
            listening,
        }
    }

    /// Where clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends every connection with a reset (RST), so that what was under way is lost in both directions.
    pub fn reset(&self) {
        self.resets.send_modify(|count| *count += 1);
    }

    /// Lets everything that is said, in both directions, wait for so long; [`Duration::ZERO`] ends that.
    pub fn delay(&self, by: Duration) {
        let milliseconds = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.faults.delay.store(milliseconds, Ordering::SeqCst);
    }

    /// Ends every connection, and every new one at once, until it is told otherwise.
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
    server: SocketAddr,
    faults: Arc<Faults>,
    resets: watch::Receiver<u64>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let mut resets = resets.clone();
        resets.mark_unchanged();
        let faults = Arc::clone(&faults);
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

/// Passes on what both sides say until both have ended, or a reset. When the streams are dropped with something unread or
/// unsaid, the system resets them.
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
        // When one side has ended, the other may still have something to say.
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
    let mut chunk = vec![0; CHUNK];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        let delay = faults.delay.load(Ordering::SeqCst);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
