//! The load: clients that each send one request after the other over a connection of their own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::stats::{Notes, Stats};

type Sender = SendRequest<Full<Bytes>>;

/// What a client asks next.
pub(crate) type Ask = Request<Full<Bytes>>;

async fn connect(address: SocketAddr) -> anyhow::Result<Sender> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// One request; its status and its body.
pub(crate) async fn once(address: SocketAddr, ask: Ask) -> anyhow::Result<(StatusCode, Bytes)> {
    send(&mut connect(address).await?, ask).await
}

async fn send(sender: &mut Sender, ask: Ask) -> anyhow::Result<(StatusCode, Bytes)> {
    sender.ready().await?;
    let response = sender.send_request(ask).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

/// Runs `clients` clients for `duration`, each asking what `ask` says as soon as it has its answer.
pub(crate) async fn drive(
    address: SocketAddr,
    clients: usize,
    duration: Duration,
    ask: impl Fn() -> Ask + Clone + Send + 'static,
) -> anyhow::Result<Stats> {
    let mut senders = Vec::with_capacity(clients);
    for _ in 0..clients {
        senders.push(connect(address).await.context("the server takes no connection")?);
    }
    let started = Instant::now();
    let running: Vec<_> = senders
        .into_iter()
        .map(|sender| tokio::spawn(client(address, sender, started + duration, ask.clone())))
        .collect();
    let mut notes = Vec::with_capacity(clients);
    for client in running {
        notes.push(client.await?);
    }
    Ok(Notes::sum(notes, started.elapsed()))
}

async fn client(address: SocketAddr, mut sender: Sender, until: Instant, ask: impl Fn() -> Ask) -> Notes {
    let mut notes = Notes::default();
    loop {
        let began = Instant::now();
        if began >= until {
            return notes;
        }
        let answered = send(&mut sender, ask()).await;
        let micros = began.elapsed().as_micros() as u32;
        match answered {
            Ok((status, _)) if status.is_success() => notes.good.push(micros),
            Ok((status, _)) if status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE => {
                notes.refused.push(micros);
            }
            Ok(_) => notes.broken += 1,
            Err(_) => {
                notes.broken += 1;
                match connect(address).await {
                    Ok(again) => sender = again,
                    Err(_) => return notes,
                }
            }
        }
    }
}

/// `GET path`.
pub(crate) fn get(path: &str) -> Ask {
    request("GET", path, Bytes::new())
}

/// `POST /register` of a patient nobody else is.
pub(crate) fn register() -> Ask {
    register_as(&format!("{:032x}@example.com", fastrand::u128(..)))
}

/// `POST /register` of a patient with that email.
pub(crate) fn register_as(email: &str) -> Ask {
    let body = format!(
        r#"{{"name":"Maria Example","email":"{email}","phone":"(555)123-4567x890","document_url":"https://example.com/photos/maria.jpg"}}"#
    );
    request("POST", "/register", body.into())
}

fn request(method: &str, path: &str, body: Bytes) -> Ask {
    let mut request = Request::new(Full::new(body));
    if let (Ok(method), Ok(uri)) = (method.parse(), path.parse()) {
        *request.method_mut() = method;
        *request.uri_mut() = uri;
    }
    let headers = request.headers_mut();
    headers.insert("host", hyper::header::HeaderValue::from_static("localhost"));
    headers.insert(
        "content-type",
        hyper::header::HeaderValue::from_static("application/json"),
    );
    request
}
