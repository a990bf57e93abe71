//! A proxy that cuts a connection to MySQL at a moment that the test chooses.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};

/// End of the text of the last statement of a transaction.
const COMMIT: &[u8] = b"; COMMIT";

/// The moment at which a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// When the client sends a COMMIT. The server does not receive it.
    BeforeCommit,
    /// When the server has answered a COMMIT. The client does not receive the answer.
    AfterCommit,
}

/// A proxy between clients and a server.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    to_cut: Arc<AtomicU32>,
}

impl Proxy {
    /// Starts a proxy for the server at the given host and port.
    pub(crate) async fn start(server: (String, u16), cut: Cut) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let to_cut = Arc::new(AtomicU32::new(0));
        let left = Arc::clone(&to_cut);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect((server.0.as_str(), server.1)).await.unwrap();
                tokio::spawn(pass(client, server, cut, Arc::clone(&left)));
            }
        });
        Self { port, to_cut }
    }

    /// Cuts the connections of the next `commits` commits.
    pub(crate) fn cut_the_next(&self, commits: u32) {
        self.to_cut.store(commits, Ordering::SeqCst);
    }

    /// Returns the number of cuts that are still to be made.
    pub(crate) fn left(&self) -> u32 {
        self.to_cut.load(Ordering::SeqCst)
    }
}

/// Forwards data in both directions until one side closes the connection or the proxy cuts it.
async fn pass(client: TcpStream, server: TcpStream, cut: Cut, left: Arc<AtomicU32>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            some = read(&mut from_client, &mut asked) => {
                let Some(some) = some else { return };
                // One read contains at most one COMMIT, because a client waits for the answer to a COMMIT
                // before it sends more.
                let cuts = some.ends_with(COMMIT)
                    && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
                if cuts && cut == Cut::BeforeCommit {
                    return;
                }
                if to_server.write_all(some).await.is_err() {
                    return;
                }
                if cuts {
                    read(&mut from_server, &mut answered).await;
                    return;
                }
            }
            some = read(&mut from_server, &mut answered) => {
                let Some(some) = some else { return };
                if to_client.write_all(some).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Returns the next data, or `None` at the end of the stream.
async fn read<'b>(from: &mut OwnedReadHalf, into: &'b mut [u8]) -> Option<&'b [u8]> {
    let length = from.read(into).await.ok().filter(|&length| length > 0)?;
    Some(&into[..length])
}
