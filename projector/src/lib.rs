//! The read table.
//!
//! A projection of the log into `patient_view`: one row for each active patient. It can be thrown away and
//! made anew from the events at any time; nothing is in it that the log does not say.
//!
//! # Guarantees
//!
//! - A row and the checkpoint that covers it are committed together ([`eventstore::subscription`]).
//! - Rows of a generation are written while that generation is locked in `projections`, so a switch of
//!   generations never falls between an event and its row.
//! - An event of a patient that cannot be applied stops the projection there; it is passed over only if an
//!   operator says so ([`eventstore::skip`]).
//! - A rebuild is seen by readers as nothing at all ([`rebuild`]); whether the table is what the log says can
//!   be found out at any time ([`mod@verify`]).
//!
//! # Adding a projection
//!
//! 1. Add its table in a migration.
//! 2. Fold the events of one batch into changes, one for each row: see `changes.rs`.
//! 3. Implement [`eventstore::Handler`], and write the changes in as few statements as there are kinds of
//!    them.
//! 4. Run it as a subscription of its own, under its own name, beside this one.

mod changes;
pub mod rebuild;
mod rows;
pub mod verify;
mod view;

pub use rebuild::{Rebuilder, run_requested};
pub use verify::verify;
pub use view::{PatientView, ProjectionError};

/// The name of the projection: of its subscription, its checkpoint and its table.
pub const PATIENT_VIEW: &str = "patient_view";
