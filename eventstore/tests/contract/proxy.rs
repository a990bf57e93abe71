//! A proxy that cuts a connection to MySQL at a moment that the test chooses.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};

/// End of the text of the last statement of a transaction.
const COMMIT: &[u8] = b";\nCOMMIT";

/// The statement with which the queue looks for a commit, and a statement of the same length that finds
/// nothing.
const LOOK: &[u8] = b"SELECT position, hash FROM events WHERE position IN (";
const HIDDEN_LOOK: &[u8] = b"SELECT position, hash FROM events WHERE       -1 IN (";

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
    faults: Arc<Faults>,
}

/// The faults that are still to be caused.
#[derive(Default)]
struct Faults {
    cuts: AtomicU32,
    hidden_looks: AtomicU32,
    refuses: AtomicBool,
}

/// Whether a fault is to be caused now.
fn is_next(faults: &AtomicU32) -> bool {
    faults
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
        .is_ok()
}

impl Proxy {
    /// Starts a proxy for the server at the given host and port.
    pub(crate) async fn start(server: (String, u16), cut: Cut) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let faults = Arc::<Faults>::default();
        let left = Arc::clone(&faults);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if left.refuses.load(Ordering::SeqCst) {
                    continue;
                }
                let server = TcpStream::connect((server.0.as_str(), server.1)).await.unwrap();
                tokio::spawn(pass(client, server, cut, Arc::clone(&left)));
            }
        });
        Self { port, faults }
    }

    /// Cuts the connections of the next `commits` commits.
    pub(crate) fn cut_the_next(&self, commits: u32) {
        self.faults.cuts.store(commits, Ordering::SeqCst);
    }

    /// Lets the next looks for a commit find nothing, as on a server of a cluster that lags.
    pub(crate) fn hide_the_next_looks(&self, looks: u32) {
        self.faults.hidden_looks.store(looks, Ordering::SeqCst);
    }

    /// Closes every new connection from the next cut on.
    pub(crate) fn refuse_after_the_cut(&self) {
        self.faults.cuts.store(1, Ordering::SeqCst);
        self.faults.refuses.store(true, Ordering::SeqCst);
    }

    /// Returns the number of cuts that are still to be made.
    pub(crate) fn left(&self) -> u32 {
        self.faults.cuts.load(Ordering::SeqCst)
    }
}

/// Forwards data in both directions until one side closes the connection or the proxy cuts it.
async fn pass(client: TcpStream, server: TcpStream, cut: Cut, faults: Arc<Faults>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            some = read(&mut from_client, &mut asked) => {
                let Some(some) = some else { return };
                // One read contains at most one COMMIT, because a client waits for the answer to a COMMIT
                // before it sends more.
                let cuts = some.ends_with(COMMIT) && is_next(&faults.cuts);
                if cuts && cut == Cut::BeforeCommit {
                    return;
                }
                let look = some.windows(LOOK.len()).position(|part| part == LOOK);
                if let Some(at) = look.filter(|_| is_next(&faults.hidden_looks)) {
                    some[at..at + LOOK.len()].copy_from_slice(HIDDEN_LOOK);
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
async fn read<'b>(from: &mut OwnedReadHalf, into: &'b mut [u8]) -> Option<&'b mut [u8]> {
    let length = from.read(into).await.ok().filter(|&length| length > 0)?;
    Some(&mut into[..length])
}
