//! The transparency log over the event log: the data that verifiers outside the service read, in the formats
//! of [`transparency`].
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
//! The tiles are derived from the events: after `DELETE FROM log_tiles`, the next extension computes all
//! tiles again.
//!
//! # Signing
//!
//! [`Signer`] signs a checkpoint when the log has grown. It must never sign two roots of one size:
//!
//! - A lease makes one process the signer, and a lock ensures that only one process of a machine uses the
//!   state file.
//! - The state file beside the key has the last checkpoint that may have been signed. It is durable before
//!   the checkpoint is signed. Restoring the database does not restore an older state.
//! - Before a checkpoint is signed, the roots at the size of the state and at the size of the newest stored
//!   checkpoint are computed again. If one differs, or if the log is shorter, nothing is signed until an
//!   operator has solved the problem.
//!
//! # Witnesses
//!
//! After it has stored a checkpoint, the process that signs asks the [`Witnesses`] to cosign it. Each witness
//! has a separate task, so a slow witness delays neither the signer nor another witness. A checkpoint has its
//! quorum when enough witnesses have cosigned it, and proofs refer to the newest checkpoint with its quorum.
//! [`WitnessFolder`] is the durable record of a witness for another log.
//!
//! # Outside
//!
//! [`Monitor`] and [`Mirror`] read a log from a [`LogSource`] and trust only keys. The log can be on a server
//! that somebody else operates.
//!
//! The tables belong to the crate `migrations`. This crate does not interpret events.

mod checkpoints;
mod error;
mod extend;
mod http;
mod key_file;
pub mod metrics;
mod mirror;
mod monitor;
mod proved_event;
mod published;
mod signer;
mod source;
mod state;
mod tiles;
mod witness_folder;
mod witnesses;

pub use checkpoints::{CosignError, SignedCheckpoints, StoredCheckpoint};
pub use error::TlogError;
pub use extend::PAGE;
pub use http::{HttpError, client};
pub use key_file::{KeyFile, KeyFileError};
pub use metrics::MeteredLog;
pub use mirror::{Mirror, MirrorError, Mirrored};
pub use monitor::{Alarm, MAX_AHEAD, Monitor, MonitorError, Seen};
pub use proved_event::{ProvedEvent, ProvedEventError, stated_hash};
pub use published::{NoProof, PublishedLog};
pub use signer::{AdoptError, Outcome, SignError, SignedLog, Signer, adopt};
pub use source::{LogSource, RemoteLog, SourceError};
pub use state::{LockedState, StateError, StateFile, lock_file};
pub use tiles::{LogTables, Tiles};
pub use witness_folder::{Conflict, WitnessFolder, witness_key_file};
pub use witnesses::{AddressError, Probe, ProbeError, SendError, WitnessAddress, Witnesses};
