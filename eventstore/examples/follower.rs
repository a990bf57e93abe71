//! Follows a log and inserts the position of each event into the table `followed`.
//!
//! ```text
//! follower URL NAME OWNER
//! ```
//!
//! `NAME` is the name of the subscription. The rows and the checkpoint are written in one transaction, so the
//! process may be killed at any moment without losing or duplicating an event.
//!
//! `OWNER` identifies this process among all processes that run the same subscription. One process does the
//! work, and the others wait to take over. A process that restarts with the same `OWNER` continues
//! immediately. A process with another `OWNER` waits until the lease of the old owner has expired. The
//! process ends at Ctrl-C.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use eventstore::database::Script;
use eventstore::{
    Database, DatabaseOptions, EventLog, Handler, RecordedEvent, Session, Signal, Subscription, SystemClock,
    Transaction,
};
use tokio_util::sync::CancellationToken;

/// Polling interval. With a signal that reaches this process, one second would be enough.
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
        // All writes use the transaction that is passed in. The primary key rejects a position that is
        // inserted twice.
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
        // If no handler for Ctrl-C can be installed, the process runs until it is killed.
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    subscription.run(shutdown).await;
    Ok(())
}
