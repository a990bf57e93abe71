//! Whether a read table can be trusted.
//!
//! A row does not include the events that the projection skips, and a generation that was never built has no
//! rows at all. Both cases are rare, so the result of a check is cached. It is refreshed only when a
//! statement shows that something has changed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use eventstore::projection::ActiveGeneration;
use eventstore::{Error, Position, Result, Session};
use uuid::Uuid;

/// Cached knowledge of the table of a projection, shared by all readers.
#[derive(Debug)]
pub(super) struct Trust {
    projection: &'static str,
    /// A generation that is known to have been built. Generations are numbered from 1.
    built: AtomicI64,
    skips: Mutex<Option<Skips>>,
}

/// Cached knowledge of the tables that a page is read from.
#[derive(Debug, Clone)]
pub(super) struct Trusts {
    pub(super) view: Arc<Trust>,
    pub(super) names: Arc<Trust>,
}

/// Checkpoint and generation that determine which events the rows include. When a projection passes a skipped
/// event, at least one of the two changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Built {
    pub(super) checkpoint: Position,
    pub(super) generation: i64,
}

/// The skipped events at one time.
#[derive(Debug)]
struct Skips {
    built: Built,
    /// The patients that these events concern.
    patients: Arc<HashSet<Uuid>>,
}

impl Trust {
    pub(super) fn of(projection: &'static str) -> Self {
        Self {
            projection,
            built: AtomicI64::default(),
            skips: Mutex::default(),
        }
    }

    pub(super) const fn projection(&self) -> &'static str {
        self.projection
    }

    /// Returns the last generation that was found to have been built; 0 at first.
    pub(super) fn known_generation(&self) -> i64 {
        self.built.load(Ordering::Relaxed)
    }

    /// Checks that the generation of a statement's rows was built, and returns it. If there are no rows,
    /// which may be because the generation does not exist, queries the database.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchGeneration`], and database errors.
    pub(super) async fn check_generation(
        &self,
        session: &mut impl Session,
        generation: Option<i64>,
    ) -> Result<i64> {
        if let Some(generation) = generation.filter(|generation| *generation == self.known_generation()) {
            return Ok(generation);
        }
        let active = ActiveGeneration::of(session, self.projection).await?;
        let active = active.ok_or_else(|| Error::NoSuchGeneration {
            projection: self.projection.to_owned(),
            generation: 0,
        })?;
        let built = active.check(self.projection)?;
        self.built.store(built, Ordering::Relaxed);
        Ok(built)
    }

    /// Returns the patients with at least one event that the projection skips, and that the rows of `built`
    /// therefore do not include.
    ///
    /// The skips are read after the rows. A skip that is added later does not concern rows with the same
    /// checkpoint and generation.
    ///
    /// # Errors
    ///
    /// Database errors.
    pub(super) async fn doubtful(
        &self,
        session: &mut impl Session,
        built: Built,
    ) -> Result<Arc<HashSet<Uuid>>> {
        if let Some(known) = self.known(built) {
            return Ok(known);
        }
        let rows = session
            .query(
                "SELECT e.aggregate_id FROM projection_skips s JOIN events e ON e.position = s.position \
                 WHERE s.projection = ?",
            )
            .bind(self.projection)
            .fetch_all()
            .await?;
        let mut patients = HashSet::with_capacity(rows.len());
        for row in &rows {
            // An event of another aggregate type has no row in the read table.
            patients.extend(Uuid::try_parse(row.get::<&str, _>(0)?.trim_end()));
        }
        let patients = Arc::new(patients);
        *self.skips.lock().unwrap_or_else(PoisonError::into_inner) = Some(Skips {
            built,
            patients: Arc::clone(&patients),
        });
        Ok(patients)
    }

    fn known(&self, built: Built) -> Option<Arc<HashSet<Uuid>>> {
        let skips = self.skips.lock().unwrap_or_else(PoisonError::into_inner);
        let known = skips.as_ref().filter(|skips| skips.built == built)?;
        Some(Arc::clone(&known.patients))
    }
}
