//! An SMTP server whose replies are set by a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// The server's response to a command.
pub enum Answer {
    /// Sends this reply.
    Say(&'static str),
    /// Sends this reply when the semaphore has a permit, and consumes the permit.
    Later(Arc<Semaphore>, &'static str),
    /// Never replies.
    Stall,
    /// Closes the connection.
    Close,
}

/// A running server.
pub struct Scripted {
    pub url: String,
    connections: Arc<AtomicUsize>,
    mails: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Scripted {
    /// Starts a server. It calls `script` with each command line, with `.` at the end of a message, and with
    /// `hello` before the greeting. If `script` returns `None`, the server sends a positive reply.
    pub async fn start(script: impl Fn(&str) -> Option<Answer> + Send + Sync + 'static) -> Self {
        Self::allowing(usize::MAX, script).await
    }

    /// Like [`Scripted::start`], but rejects connections above the given number, as Postfix does.
    pub async fn allowing(
        connections_at_a_time: usize,
        script: impl Fn(&str) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let mails = Arc::new(AtomicUsize::new(0));
        let counts = (Arc::clone(&connections), Arc::clone(&mails));
        let script = Arc::new(script);
        let places = Arc::new(Semaphore::new(connections_at_a_time.min(Semaphore::MAX_PERMITS)));
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counts.0.fetch_add(1, Ordering::SeqCst);
                let (script, mails) = (Arc::clone(&script), Arc::clone(&counts.1));
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    drop(stream.write_all(b"421 4.7.0 too many connections\r\n").await);
                    continue;
                };
                tokio::spawn(async move {
                    serve(stream, &*script, &mails).await;
                    drop(place);
                });
            }
        });
        Self {
            url,
            connections,
            mails,
            task,
        }
    }

    /// Number of connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Number of messages received completely, whether accepted or not.
    pub fn mails(&self) -> usize {
        self.mails.load(Ordering::SeqCst)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    script: &(dyn Fn(&str) -> Option<Answer> + Send + Sync),
    mails: &AtomicUsize,
) {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    let mut asked = "hello".to_owned();
    loop {
        let usual = match asked.split_whitespace().next().unwrap_or_default() {
            "hello" => "220 scripted",
            "EHLO" => "250-scripted\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME",
            "DATA" => "354 go on",
            _ => "250 ok",
        };
        let say = match script(&asked).unwrap_or(Answer::Say(usual)) {
            Answer::Say(say) => say,
            Answer::Later(gate, say) => {
                gate.acquire().await.unwrap().forget();
                say
            }
            Answer::Stall => std::future::pending().await,
            Answer::Close => return,
        };
        let said = writer.write_all(format!("{say}\r\n").as_bytes()).await;
        if said.is_err() {
            return;
        }
        let Ok(Some(line)) = lines.next_line().await else {
            return;
        };
        asked = line;
        if say.starts_with("354") {
            while asked != "." {
                let Ok(Some(line)) = lines.next_line().await else {
                    return;
                };
                asked = line;
            }
            mails.fetch_add(1, Ordering::SeqCst);
        }
    }
}
