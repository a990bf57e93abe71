//! Appends events to a log. Any number of appender processes may run at the same time.
//!
//! ```text
//! appender URL PREFIX NUMBER CONCURRENCY
//! ```
//!
//! `CONCURRENCY` writers append `NUMBER` events in total. Each writer has its own aggregate (`PREFIX-0`,
//! `PREFIX-1`, …) and appends its events one after the other. The queue commits waiting appends together.

use std::error::Error;
use std::process::ExitCode;

use eventstore::{Append, AppendQueue, Appended, Database, DatabaseOptions, NewEvent, Signal, SystemClock};
use futures::future::try_join_all;
use serde_json::json;

/// Maximum number of waiting appends. Further appends fail immediately with `AppendError::Overloaded`.
const CAPACITY: usize = 4096;
/// Maximum number of appends that are committed together.
const LARGEST: usize = 256;

#[tokio::main]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, prefix, number, concurrency] = arguments.as_slice() else {
        eprintln!("usage: appender URL PREFIX NUMBER CONCURRENCY");
        return ExitCode::from(2);
    };
    match run(url, prefix, number, concurrency).await {
        Ok(last) => {
            println!("appended {number} events, the last one at position {}", last.last);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(url: &str, prefix: &str, number: &str, concurrency: &str) -> Result<Appended, Box<dyn Error>> {
    let (number, concurrency): (u64, u64) = (number.parse()?, concurrency.parse()?);
    // The process has a single queue. `Signal::in_process` wakes only the subscriptions in this process.
    // `Signal::redis` would also wake subscriptions in other processes, which otherwise notice the events at
    // their next poll.
    let database = Database::connect(url, DatabaseOptions::default()).await?;
    let queue = AppendQueue::start(
        database,
        Signal::in_process(),
        SystemClock::shared(),
        CAPACITY,
        LARGEST,
    );
    let writers = (0..concurrency).map(|writer| {
        let (queue, id) = (&queue, format!("{prefix}-{writer}"));
        let events = number / concurrency + u64::from(writer < number % concurrency);
        async move {
            let mut last = None;
            for sequence in 1..=events {
                // The append succeeds only if the aggregate has exactly `sequence - 1` events so far.
                // `append` returns when the event is durable.
                let append = Append::new(vec![counted(&id, sequence)], Vec::new())?;
                last = Some(queue.append(append).await?);
            }
            Ok::<_, Box<dyn Error>>(last)
        }
    });
    let appended = try_join_all(writers).await?;
    queue.shutdown().await;
    let last = appended
        .into_iter()
        .flatten()
        .max_by_key(|appended| appended.last);
    last.ok_or_else(|| "no events to append".into())
}

fn counted(id: &str, sequence: u64) -> NewEvent {
    NewEvent {
        aggregate_type: "counter".into(),
        aggregate_id: id.into(),
        sequence,
        event_type: "Counted".into(),
        event_version: "1.0".into(),
        payload: json!({"number": sequence}),
        metadata: json!({"actor": "appender"}),
    }
}
