//! A burst of emails that wait while the mail server is unavailable, and are sent when it recovers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use sqlx::{Connection, MySqlConnection};
use testkit::{MysqlServer, free_port};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::fill;
use crate::report::{Goal, Line, Report};
use crate::server::Server;

const BURST: u64 = 10_000;
const PATIENCE: Duration = Duration::from_mins(3);

pub(super) async fn run(server: &MysqlServer, report: &mut Report) -> anyhow::Result<()> {
    let database = server.create_database().await;
    let url = database.url.clone();
    fill::patients(&url, 1, BURST).await?;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let smtp = format!("smtp://{address}");
    let ours = Server::over(url.clone(), Some(database), &[("SMTP_URL", &smtp)]).await?;
    let mut connection = MySqlConnection::connect(&url).await?;
    let began = Instant::now();
    loop {
        let (waiting,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM mail_deliveries")
            .fetch_one(&mut connection)
            .await?;
        if waiting.unsigned_abs() == BURST {
            break;
        }
        anyhow::ensure!(began.elapsed() < PATIENCE, "{waiting} mails wait, not {BURST}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (_, waiting) = ours.memory();
    let sink = Sink::listen(address).await?;
    let rate = sink.drained().await?;
    let (peak, _) = ours.memory();
    report.add(Line {
        what: format!("{BURST} emails sent after the mail server returns"),
        ours: rate,
        unit: "/s",
        yardstick: None,
        goal: Some(Goal::AtLeast(500.0)),
        stats: None,
        notes: format!("{waiting:.0} MiB while the emails wait, {peak:.0} MiB at most"),
    });
    Ok(())
}

/// A mail server that accepts and discards every email.
struct Sink {
    taken: Arc<AtomicU64>,
}

impl Sink {
    async fn listen(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let taken = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&taken);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counter = Arc::clone(&counter);
                tokio::spawn(async move { talk(stream, &counter).await });
            }
        });
        Ok(Self { taken })
    }

    /// Returns the number of emails per second, from the first email to the last.
    async fn drained(&self) -> anyhow::Result<f64> {
        let (waiting, mut first) = (Instant::now(), None);
        loop {
            let taken = self.taken.load(Ordering::SeqCst);
            if taken > 0 {
                first.get_or_insert_with(Instant::now);
            }
            if taken >= BURST {
                let took = first.context("no mail arrived")?.elapsed();
                return Ok(BURST as f64 / took.as_secs_f64());
            }
            anyhow::ensure!(waiting.elapsed() < PATIENCE, "{taken} mails arrived, not {BURST}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn talk(stream: TcpStream, taken: &AtomicU64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 sink\r\n").await?;
    let (mut line, mut in_message) = (Vec::new(), false);
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let answer: &[u8] = match (in_message, line.as_slice()) {
            (true, b".\r\n") => {
                in_message = false;
                taken.fetch_add(1, Ordering::SeqCst);
                b"250 taken\r\n"
            }
            (true, _) => continue,
            (false, line) if line.starts_with(b"DATA") => {
                in_message = true;
                b"354 go on\r\n"
            }
            (false, line) if line.starts_with(b"QUIT") => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            (false, _) => b"250 ok\r\n",
        };
        stream.write_all(answer).await?;
    }
}
