//! The read models: everything that names a read table, for writing and for reading.
//!
//! | projection | table | purpose |
//! |---|---|---|
//! | [`PatientView`] | `patient_view` | one row per active patient: reads by id and lists |
//! | [`PatientNames`] | `patient_names` | one row per search word of an active patient's name: searches by name |
//!
//! The tables contain only data from the log, so they can be deleted and rebuilt from the events at any time.
//! The engine in [`eventstore::projection`] follows the log, rebuilds and verifies them.
//!
//! [`eraser`] destroys the data keys of erased patients.
//!
//! # Adding a projection
//!
//! 1. Add its table in a migration.
//! 2. Implement [`eventstore::Projection`], as in `patient_view.rs`. Make the rows from
//!    [`record::PatientRecord`], which knows every event.
//! 3. Add it to [`PROJECTIONS`].

pub mod eraser;
mod patient_names;
mod patient_view;
pub mod reads;
pub mod record;

use eventstore::Registered;

pub use patient_names::{NameRow, PATIENT_NAMES, PatientNames};
pub use patient_view::{PATIENT_VIEW, PatientRow, PatientView};

/// All projections.
pub const PROJECTIONS: [&dyn Registered; 2] = [&PatientView, &PatientNames];
