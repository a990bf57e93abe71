//! An ordered, append-only event log on MySQL, MariaDB or SQLite.
//!
//! The crate provides appends in one global order, a feed to read the log, and checkpoints and subscriptions
//! to follow it. It also provides a signal that wakes subscriptions, leases for exclusive roles, and claims
//! for unique values. The crate brings its own tables ([`schema`]) and does not interpret events.
//!
//! # Guarantees
//!
//! - Positions are gapless and in commit order, with any number of processes appending: every append locks
//!   the single row of `log_head` until its commit ([`append`]).
//! - Events are chained by SHA-256, so any change to an event is detectable ([`chain`],
//!   [`verify`](verify())). With a Merkle tree over the links, a single event can be proved without the log
//!   ([`merkle`]).
//! - Personal data can be encrypted with a key for each aggregate, so it can be erased although events never
//!   change ([`sealing`]).
//! - A subscription's checkpoint advances in the same transaction as the subscription's effects, by
//!   compare-and-set ([`subscription`]).
//! - The signal is a hint. A subscription that misses every signal is at most one poll interval late
//!   ([`signal`]).
//!
//! `README.md` has a complete example of a service.
//!
//! # Features
//!
//! All features are off by default.
//!
//! | feature | what it adds |
//! |---|---|
//! | `redis` | `Signal::redis`, which wakes subscriptions in other processes |
//! | `metrics` | [`metrics`]: Prometheus metrics of appends and subscriptions |
//! | `cqrs` | `EventRepository`, with which cqrs-es reads and appends events |
//!
//! # Following the log
//!
//! 1. Implement [`Handler`]: apply events through the [`Transaction`] that is passed in.
//! 2. Pass the handler to [`Subscription::new`] with a unique name. The checkpoint is stored under that name.
//! 3. Run [`Subscription::run`] in a task, in any number of processes. Only one process does the work at a
//!    time.

/// The example of the README, which the documentation tests compile and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub mod append;
pub mod chain;
pub mod checkpoint;
pub mod claim;
pub mod clock;
pub mod coalesce;
pub mod database;
pub mod error;
pub mod event;
pub mod format;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod json;
pub mod lease;
pub mod log;
pub mod merkle;
#[cfg_attr(not(feature = "metrics"), path = "metrics/disabled.rs")]
pub mod metrics;
pub mod overview;
pub mod private;
pub mod projection;
pub mod proof;
#[cfg(feature = "cqrs")]
pub mod repository;
mod scan;
pub mod schema;
pub mod sealing;
pub mod signal;
pub mod subscription;
pub mod trace;
pub mod verify;

pub use append::{Append, AppendError, AppendOptions, AppendQueue, Appended};
pub use claim::{Claim, ClaimChange, ClaimRules, ClaimRulesError, HeldClaim};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use coalesce::{BatchWorker, Coalescer, Rejected};
pub use database::{Connection, Database, DatabaseOptions, Dialect, Row, ServerFacts, Session, Transaction};
pub use error::{DatabaseError, Error, Result};
pub use event::{Hash, NewEvent, Position, PositionError, RecordedEvent};
pub use format::{KeysPlace, LogFormat};
pub use json::strict_json;
pub use lease::Lease;
pub use log::{EventFilter, EventLog, EventPage, Head};
pub use overview::{Followed, ProjectionStatus, overview};
pub use projection::{
    AggregateState, Projection, ProjectionError, Rebuild, RebuildState, Registered, Runner, Skip, SkipError,
};
pub use proof::{Proof, prove};
#[cfg(feature = "cqrs")]
pub use repository::{EventRepository, Receipt};
pub use sealing::Sealing;
#[cfg(feature = "redis")]
pub use signal::{AcknowledgedHead, HeadKey, RedisServers};
pub use signal::{Signal, Wake};
pub use subscription::{Handler, Subscription, SubscriptionFailure, SubscriptionStatus};
pub use trace::TraceContext;
pub use verify::{Mismatch, Trusted, Verified, verify};
