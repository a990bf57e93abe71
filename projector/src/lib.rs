//! The read table.
//!
//! This crate projects the log into `patient_view`, with one row for each active patient. The table contains
//! only data from the log, so it can be deleted and rebuilt from the events at any time.
//!
//! # Guarantees
//!
//! - Rows and the checkpoint that includes their events are committed together
//!   ([`eventstore::subscription`]).
//! - Rows are written while their generation is locked in `projections`, so a switch of generations never
//!   separates an event from its row.
//! - A patient event that cannot be applied stops the projection. The event is skipped only if an operator
//!   requests it ([`eventstore::skip`]).
//! - Readers do not notice a rebuild ([`rebuild`]). The table can be compared with the log at any time
//!   ([`mod@verify`]).
//!
//! # Adding a projection
//!
//! 1. Add its table in a migration.
//! 2. Fold the events of a batch into changes, at most one per row, as in `changes.rs`.
//! 3. Implement [`eventstore::Handler`], and write each kind of change in as few statements as possible.
//! 4. Run the projection as a separate subscription under its own name.

mod changes;
pub mod rebuild;
mod rows;
pub mod verify;
mod view;

pub use rebuild::{Rebuilder, run_requested};
pub use verify::verify;
pub use view::{PatientView, ProjectionError};

/// Name of the projection, its subscription, its checkpoint and its table.
pub const PATIENT_VIEW: &str = "patient_view";
