//! Filling a log without the API.

use eventstore::{Append, AppendQueue, Database, DatabaseOptions, Signal, SystemClock};
use futures::{StreamExt, stream};

/// Maximum number of concurrent appends; some contain a hundred large events.
const AT_ONCE: usize = 100;

/// Creates the schema of the database at `url` if it does not exist, and appends to its log in the given
/// order.
pub(crate) async fn fill(url: &str, appends: impl IntoIterator<Item = Append>) {
    let database = Database::connect(url, DatabaseOptions::default()).await.unwrap();
    migrations::migrate(&database, SystemClock::shared(), "test")
        .await
        .unwrap();
    let queue = AppendQueue::start(
        database.clone(),
        Signal::in_process(),
        SystemClock::shared(),
        AT_ONCE,
        AT_ONCE,
    );
    let mut appending = stream::iter(appends)
        .map(|append| queue.append(append))
        .buffered(AT_ONCE);
    while let Some(appended) = appending.next().await {
        appended.unwrap();
    }
    drop(appending);
    queue.shutdown().await;
    database.close().await;
}
