//! The ordered event log.
//!
//! An append-only log of events on MySQL, MariaDB or SQLite, with everything a service needs around it:
//! appends that keep one global order, a feed to read it, checkpoints and subscriptions to follow it, a
//! signal to wake them, leases for exclusive roles, and claims for values that must be unique. It knows
//! nothing of what the events mean.
//!
//! # Guarantees
//!
//! - Positions are gapless and in commit order, with any number of processes appending: every append locks
//!   the one row of `log_head` until its commit ([`append`]).
//! - Events are chained by SHA-256, so that a change to any of them is found ([`chain`],
//!   [`verify`](verify())); a Merkle tree over the links proves single events without the log ([`merkle`]).
//! - A subscription's checkpoint moves in the transaction of its effects, by compare-and-set
//!   ([`subscription`]).
//! - The signal is a hint. Whoever misses every one of them is at most one poll interval late ([`signal`]).
//!
//! # Following the log
//!
//! 1. Implement [`Handler`]: write what the events mean through the [`Transaction`] that is passed in.
//! 2. Give it to [`Subscription::new`] under a name of its own; the checkpoint is kept under that name.
//! 3. Run [`Subscription::run`] in a task. Run it in as many processes as wanted: one owns the work at a
//!    time.

pub mod append;
pub mod chain;
pub mod checkpoint;
pub mod claim;
pub mod clock;
pub mod coalesce;
pub mod database;
pub mod error;
pub mod event;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod json;
pub mod lease;
pub mod log;
pub mod merkle;
pub mod metrics;
pub mod overview;
pub mod private;
pub mod proof;
pub mod rebuild;
pub mod repository;
mod scan;
pub mod signal;
pub mod skip;
pub mod subscription;
pub mod trace;
pub mod verify;

pub use append::{Append, AppendError, AppendQueue, Appended};
pub use claim::{Claim, ClaimChange, ClaimRules};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use coalesce::{Batch, Coalescer, Rejected};
pub use database::{Connection, Database, DatabaseOptions, Dialect, Row, Session, Transaction};
pub use error::{Error, Result};
pub use event::{Hash, NewEvent, Position, PositionError, RecordedEvent};
pub use json::strict_json;
pub use lease::Lease;
pub use log::{EventFilter, EventLog, EventPage, Head};
pub use overview::{Followed, overview};
pub use proof::{Proof, prove};
pub use rebuild::{Rebuild, RebuildState, Runner};
pub use repository::{EventRepository, Receipt};
pub use signal::{Signal, Wake};
pub use skip::{Skip, SkipError};
pub use subscription::{Failure, Handler, Subscription, SubscriptionStatus};
pub use trace::TraceContext;
pub use verify::{Misfit, Trusted, Verified, verify};
