//! The load: clients with one connection each. They send prepared bytes, and look only at the status and
//! length of each response, because they share the machine with the measured program.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stats::{Notes, Stats};

/// The bytes of a request.
pub(crate) type Ask = Vec<u8>;

struct Client {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Client {
    async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            answer: Vec::with_capacity(16 * 1024),
        })
    }

    /// Sends a request, reads the response, and returns its status.
    async fn send(&mut self, ask: &[u8]) -> anyhow::Result<u16> {
        self.stream.write_all(ask).await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                bail!("the connection was closed");
            }
            if let Some((status, length)) = head(&self.answer)? {
                while self.answer.len() < length {
                    if self.stream.read_buf(&mut self.answer).await? == 0 {
                        bail!("the connection was closed");
                    }
                }
                return Ok(status);
            }
        }
    }
}

/// Returns the status and the length of the whole response, once its headers are complete.
fn head(answer: &[u8]) -> anyhow::Result<Option<(u16, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(answer)? else {
        return Ok(None);
    };
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    // A response without a body may have no `Content-Length`.
    Ok(Some((
        response.code.context("a response without a status")?,
        head + length.unwrap_or(0),
    )))
}

/// Sends a request over a new connection and returns the status.
pub(crate) async fn once(address: SocketAddr, ask: Ask) -> anyhow::Result<u16> {
    Client::connect(address).await?.send(&ask).await
}

/// The time at which a client sends its next request.
#[derive(Clone, Copy)]
enum Pace {
    /// Immediately after the previous response.
    Closed,
    /// At fixed times. A client skips the times that pass while it waits for a response.
    Every(Duration),
}

/// Runs `clients` clients for `duration`. Each sends the next request returned by `ask` as soon as it has a
/// response.
pub(crate) async fn drive(
    address: SocketAddr,
    clients: usize,
    duration: Duration,
    ask: impl Fn() -> Ask + Clone + Send + 'static,
) -> anyhow::Result<Stats> {
    run(address, clients, Pace::Closed, duration, ask).await
}

/// Offers up to `rate` requests per second for `duration`, spread evenly over `clients` clients. A client
/// that still waits for a response at the time of its next request skips that request.
pub(crate) async fn offer(
    address: SocketAddr,
    clients: usize,
    rate: f64,
    duration: Duration,
    ask: impl Fn() -> Ask + Clone + Send + 'static,
) -> anyhow::Result<Stats> {
    let every = Duration::from_secs_f64(clients as f64 / rate);
    run(address, clients, Pace::Every(every), duration, ask).await
}

async fn run(
    address: SocketAddr,
    clients: usize,
    pace: Pace,
    duration: Duration,
    ask: impl Fn() -> Ask + Clone + Send + 'static,
) -> anyhow::Result<Stats> {
    let mut connected = Vec::with_capacity(clients);
    for _ in 0..clients {
        connected.push(
            Client::connect(address)
                .await
                .context("the server accepts no connection")?,
        );
    }
    let started = Instant::now();
    let running: Vec<_> = connected
        .into_iter()
        .enumerate()
        .map(|(number, client)| {
            let first = match pace {
                Pace::Closed => started,
                Pace::Every(every) => started + every.mul_f64(number as f64 / clients as f64),
            };
            tokio::spawn(requests(
                address,
                client,
                pace,
                first,
                started + duration,
                ask.clone(),
            ))
        })
        .collect();
    let mut notes = Vec::with_capacity(clients);
    for client in running {
        notes.push(client.await?);
    }
    Ok(Notes::sum(notes, started.elapsed()))
}

async fn requests(
    address: SocketAddr,
    mut client: Client,
    pace: Pace,
    first: Instant,
    until: Instant,
    ask: impl Fn() -> Ask,
) -> Notes {
    let mut notes = Notes::default();
    let mut next = first;
    loop {
        if let Pace::Every(every) = pace {
            while next < Instant::now() {
                next += every;
            }
            tokio::time::sleep_until(next.into()).await;
        }
        let began = Instant::now();
        if began >= until {
            return notes;
        }
        let answered = client.send(&ask()).await;
        let micros = began.elapsed().as_micros() as u32;
        match answered {
            Ok(200..=299) => notes.good.push(micros),
            Ok(400..=499 | 503) => notes.refused.push(micros),
            Ok(_) => notes.broken += 1,
            Err(_) => {
                notes.broken += 1;
                match Client::connect(address).await {
                    Ok(again) => client = again,
                    Err(_) => return notes,
                }
            }
        }
    }
}

/// Returns `GET path`.
pub(crate) fn get(path: &str) -> Ask {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

/// Returns `GET path` with `Min-Position`.
pub(crate) fn get_after(path: &str, position: u64) -> Ask {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nmin-position: {position}\r\n\r\n").into_bytes()
}

/// Returns `POST /register` of a new patient.
pub(crate) fn register() -> Ask {
    register_as(&format!("{:032x}@example.com", fastrand::u128(..)))
}

/// Returns `POST /register` of a patient with this email address.
pub(crate) fn register_as(email: &str) -> Ask {
    let body = format!(
        r#"{{"name":"Maria Example","email":"{email}","phone":"(555)123-4567x890","document_url":"https://example.com/photos/maria.jpg"}}"#
    );
    format!(
        "POST /register HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
