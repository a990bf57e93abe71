//! A subscription handler that records the events that it receives.

use std::sync::{Arc, Mutex};

use eventstore::database::Script;
use eventstore::{
    EventLog, Handler, Position, RecordedEvent, Signal, Subscription, SystemClock, Transaction,
};

use crate::backend::Backend;

/// Inserts the position of each event into the table `followed`, and keeps the committed positions in memory.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    applied: Vec<Position>,
    committed: Committed,
}

/// The positions that a [`Follower`] has committed, in the order of the commits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Committed(Arc<Mutex<Vec<Position>>>);

impl Committed {
    pub(crate) fn get(&self) -> Vec<Position> {
        self.0.lock().unwrap().clone()
    }

    /// Whether every position from 1 to `last` was committed exactly once and in order.
    pub(crate) fn is_all_up_to(&self, last: Position) -> bool {
        let all = (1..=last.get()).map(|number| Position::new(number).unwrap());
        self.0.lock().unwrap().iter().copied().eq(all)
    }
}

impl Follower {
    /// Returns the list to which the committed positions are added.
    pub(crate) fn seen(&self) -> Committed {
        self.committed.clone()
    }

    /// Creates a subscription with this handler on the test's own database.
    pub(crate) fn subscribe(
        self,
        backend: &Backend,
        name: &str,
        owner: &str,
        signal: &Signal,
    ) -> Subscription<Self> {
        let log = EventLog::new(backend.database.clone());
        Subscription::new(name, owner, log, signal, SystemClock::shared(), self)
    }
}

impl Backend {
    /// Creates the table that a [`Follower`] writes to. The primary key rejects duplicate positions.
    pub(crate) async fn create_followed(&self) {
        self.execute("CREATE TABLE followed (position BIGINT NOT NULL PRIMARY KEY)")
            .await;
    }

    /// Returns the positions in the table `followed`, in order.
    pub(crate) async fn followed(&self) -> Vec<i64> {
        self.numbers("SELECT position FROM followed ORDER BY position")
            .await
    }
}

impl Handler for Follower {
    type Error = eventstore::Error;

    async fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        events: &[RecordedEvent],
    ) -> Result<(), eventstore::Error> {
        let mut script = Script::new(transaction.dialect());
        script
            .statement("INSERT INTO followed (position) VALUES ")
            .rows(events.iter().map(|event| [event.position.into()]));
        transaction.run(script).await?;
        self.applied = events.iter().map(|event| event.position).collect();
        Ok(())
    }

    fn committed(&mut self) {
        self.committed.0.lock().unwrap().append(&mut self.applied);
    }
}
