//! A connection to MySQL that is lost at a moment that a test chooses.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};

/// How the text of the last statement of a transaction ends.
const COMMIT: &[u8] = b"; COMMIT";

/// When a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// When the client says COMMIT: the server never hears it.
    BeforeCommit,
    /// When the server has answered a COMMIT: the client never hears that.
    AfterCommit,
}

/// Stands between a client and a server.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    to_cut: Arc<AtomicU32>,
}

impl Proxy {
    /// Listens for clients of the server at that host and port.
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

    /// Cuts the connections of the next commits.
    pub(crate) fn cut_the_next(&self, commits: u32) {
        self.to_cut.store(commits, Ordering::SeqCst);
    }

    /// How many of them have not come yet.
    pub(crate) fn left(&self) -> u32 {
        self.to_cut.load(Ordering::SeqCst)
    }
}

/// Passes on what both sides say, until one of them ends or it is cut.
async fn pass(client: TcpStream, server: TcpStream, cut: Cut, left: Arc<AtomicU32>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            some = read(&mut from_client, &mut asked) => {
                let Some(some) = some else { return };
                // One at a time: a client that says COMMIT says nothing else before the answer.
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

/// What comes next; nothing at the end.
async fn read<'b>(from: &mut OwnedReadHalf, into: &'b mut [u8]) -> Option<&'b [u8]> {
    let length = from.read(into).await.ok().filter(|&length| length > 0)?;
    Some(&into[..length])
}
