//! How far the read table can be trusted.
//!
//! A row says nothing of an event that the projection skips, and a generation that was never built holds
//! nothing at all. Both are rare, so what is known of them is kept, and asked for again only when a statement
//! shows that it has changed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use eventstore::rebuild::ActiveGeneration;
use eventstore::{Connection, Error, Result, Session};
use uuid::Uuid;

use super::PROJECTION;

/// What is known of the read table. Shared by all who read it.
#[derive(Debug, Default)]
pub(super) struct Trust {
    /// A generation that was built; generations count from 1.
    built: AtomicI64,
    skips: Mutex<Skips>,
}

#[derive(Debug, Default)]
struct Skips {
    /// How many there are.
    count: i64,
    /// The patients whom they are about.
    patients: Arc<HashSet<Uuid>>,
}

impl Trust {
    /// Checks that the generation of some rows was built. Without rows, which may be what a generation that
    /// does not exist looks like, the database is asked.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchGeneration`], and those of the database.
    pub(super) async fn check_generation(
        &self,
        connection: &mut Connection,
        generation: Option<i64>,
    ) -> Result<()> {
        if generation.is_some_and(|generation| generation == self.built.load(Ordering::Relaxed)) {
            return Ok(());
        }
        let active = ActiveGeneration::of(connection, PROJECTION).await?;
        let active = active.ok_or_else(|| Error::NoSuchGeneration {
            projection: PROJECTION.to_owned(),
            generation: 0,
        })?;
        let built = active.check(PROJECTION)?;
        self.built.store(built, Ordering::Relaxed);
        Ok(())
    }

    /// The patients with an event that the projection skips, as there are so many of these events.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub(super) async fn doubtful(
        &self,
        connection: &mut Connection,
        count: i64,
    ) -> Result<Arc<HashSet<Uuid>>> {
        if let Some(known) = self.known(count) {
            return Ok(known);
        }
        let rows = connection
            .query(
                "SELECT e.aggregate_id FROM projection_skips s JOIN events e ON e.position = s.position \
                 WHERE s.projection = ?",
            )
            .bind(PROJECTION)
            .fetch_all()
            .await?;
        let mut patients = HashSet::with_capacity(rows.len());
        for row in &rows {
            // An event of something else than a patient has no row to doubt.
            patients.extend(Uuid::try_parse(row.get::<&str, _>(0)?.trim_end()));
        }
        let patients = Arc::new(patients);
        *self.skips.lock().unwrap_or_else(PoisonError::into_inner) = Skips {
            count,
            patients: Arc::clone(&patients),
        };
        Ok(patients)
    }

    fn known(&self, count: i64) -> Option<Arc<HashSet<Uuid>>> {
        let skips = self.skips.lock().unwrap_or_else(PoisonError::into_inner);
        (skips.count == count).then(|| Arc::clone(&skips.patients))
    }
}
