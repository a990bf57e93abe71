//! Follows a log, and may be killed at any moment without losing or doubling an event.
//!
//! ```text
//! follower URL NAME OWNER
//! ```
//!
//! A subscription under `NAME`, which inserts the position of each event into the table `followed`. The rows
//! and the checkpoint are written in one transaction. `OWNER` names this process among those that run the
//! same subscription: one of them does the work, the others stand by. One that is started again under its old
//! name goes on at once; under another name it waits until the lease of the old one has run out. It ends at
//! Ctrl-C.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use eventstore::database::Script;
use eventstore::{
    Database, DatabaseOptions, EventLog, Handler, RecordedEvent, Session, Signal, Subscription, SystemClock,
    Transaction,
};
use tokio_util::sync::CancellationToken;

/// With a signal that reaches this process, once a second would do.
const POLL: Duration = Duration::from_millis(20);

const TABLE: &str = "CREATE TABLE IF NOT EXISTS followed (position BIGINT NOT NULL PRIMARY KEY)";

struct Followed;

impl Handler for Followed {
    type Error = eventstore::Error;

    async fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        events: &[RecordedEvent],
    ) -> Result<(), eventstore::Error> {
        // Everything is written through the transaction that is passed in. A plain INSERT: a position that
        // came twice would be refused.
        let mut script = Script::new(transaction.dialect());
        script
            .statement("INSERT INTO followed (position) VALUES ")
            .rows(events.iter().map(|event| [event.position.into()]));
        transaction.run(script).await?;
        Ok(())
    }
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "a command line tool")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, name, owner] = arguments.as_slice() else {
        eprintln!("usage: follower URL NAME OWNER");
        return ExitCode::from(2);
    };
    match run(url, name, owner).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(url: &str, name: &str, owner: &str) -> Result<(), Box<dyn Error>> {
    let database = Database::connect(url, DatabaseOptions::default()).await?;
    database.writer().await?.query(TABLE).execute().await?;
    let log = EventLog::new(database);
    let signal = Signal::in_process();
    let subscription =
        Subscription::new(name, owner, log, &signal, SystemClock::shared(), Followed).with_poll(POLL);
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        // Without a handler for Ctrl-C there is nothing to wait for; then it ends when it is killed.
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    subscription.run(shutdown).await;
    Ok(())
}
