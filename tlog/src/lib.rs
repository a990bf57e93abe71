//! The transparency log over the event log: what an outside verifier reads, in the formats of
//! [`transparency`].
//!
//! Entry `n` is the 32-byte `hash` of the event at position `n + 1`. The leaves of the tree are therefore the
//! leaves of [`eventstore::merkle`].
//!
//! # What is stored
//!
//! - Entries and the tiles of level 0 are computed from the table `events`: at most 256 hashes, which one
//!   range of the primary key contains.
//! - The table `log_tiles` has the tiles of the higher levels, one row for each tile. A row grows until its
//!   tile is full ([`Tiles::extend`]).
//! - The table `log_checkpoints` has every signed checkpoint ([`SignedCheckpoints`]).
//!
//! A root or a proof is computed from at most one tile of each level, and extending the tiles reads only new
//! events. The work therefore grows with the number of new events and the logarithm of the size of the log.
//!
//! Both tables are derived. After `DELETE FROM log_tiles`, the next extension computes all tiles again.
//!
//! The tables belong to the crate `migrations`. This crate does not interpret events.

mod checkpoints;
mod error;
mod extend;
mod published;
mod tiles;

pub use checkpoints::{SignedCheckpoints, StoredCheckpoint};
pub use error::TlogError;
pub use extend::PAGE;
pub use published::{NoProof, PublishedLog};
pub use tiles::Tiles;
