//! The C2SP formats of transparency logs.
//!
//! A log that publishes these formats can be checked with third-party tools, such as Go's `sumdb` packages.
//! The crate does no input or output, and reads no clock. Parsers accept only the canonical form of a value,
//! limit its size, and never panic.
//!
//! | module | contents | source |
//! |---|---|---|
//! | [`note`] | signed notes and keys | c2sp.org/signed-note |
//! | [`checkpoint`] | size and root of a log, signed | c2sp.org/tlog-checkpoint |
//! | [`cosignature`] | timestamped signatures of witnesses | c2sp.org/tlog-cosignature |
//! | [`tree`] | the Merkle tree, its proofs and their verification | RFC 6962, RFC 9162 |
//! | [`tile`] | the tree and the entries as static files | c2sp.org/tlog-tiles |
//! | [`witness`] | requests to witnesses, and the rules of a witness | c2sp.org/tlog-witness |
//! | [`policy`] | which signatures a verifier requires | |
//! | [`proof`] | proofs of inclusion for use without the log | c2sp.org/tlog-proof |
//!
//! # Example
//!
//! A log of 300 entries signs a checkpoint, a witness cosigns it, and a verifier checks the proof of an
//! entry:
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use transparency::Hash;
//! use transparency::checkpoint::{Checkpoint, SignedCheckpoint};
//! use transparency::cosignature::{self, CosigningKey};
//! use transparency::note::SigningKey;
//! use transparency::policy::Policy;
//! use transparency::proof::TlogProof;
//! use transparency::tile::{Level, Tile, encode_entries};
//! use transparency::tree::{Frontier, Plan};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The log grows. The frontier is all that the next checkpoint needs.
//! let entries: Vec<[u8; 32]> = (0..300_u32).map(|n| Hash::leaf(&n.to_be_bytes()).0).collect();
//! let mut frontier = Frontier::default();
//! frontier.extend(entries.iter().map(|entry| Hash::leaf(entry)));
//!
//! // The log publishes entry bundles, and the tiles that are computed from them.
//! let mut files = BTreeMap::new();
//! for (index, bundle) in (0..).zip(entries.chunks(256)) {
//!     let tile = Tile::at(Level::Entries, index, frontier.size()).ok_or("no such tile")?;
//!     files.insert(tile, encode_entries(bundle).ok_or("an entry is too long")?);
//! }
//! for tile in Tile::of_tree(frontier.size()) {
//!     let content = tile.build(&mut files)?;
//!     files.insert(tile, content);
//! }
//!
//! // The log signs its size and root, and the witness cosigns them.
//! let log = SigningKey::from_seed("log.example.org", &[1; 32])?;
//! let witness = CosigningKey::from(SigningKey::from_seed("witness.example.org", &[2; 32])?);
//! let head = Checkpoint::new("log.example.org", frontier.size(), frontier.root())?;
//! let mut checkpoint = SignedCheckpoint::sign(head.clone(), &log)?;
//! let cosignatures = [witness.sign(&head, 1_790_000_000)?];
//! cosignature::merge(&mut checkpoint, &cosignatures, [witness.verifier()])?;
//!
//! // The proof of an entry is made from tiles, and checked with nothing but the keys.
//! let path = Plan::inclusion(7, frontier.size()).ok_or("no such entry")?.hashes(&mut files)?;
//! let proof = TlogProof::new(7, path, checkpoint).to_string();
//! let keys = (vec![log.verifier().clone()], vec![witness.verifier().clone()]);
//! let policy = Policy::new("log.example.org", keys.0, keys.1, 1)?;
//! proof.parse::<TlogProof>()?.verify(&Hash::leaf(&entries[7]), &policy)?;
//! # Ok(())
//! # }
//! ```

pub mod checkpoint;
pub mod cosignature;
mod hash;
pub mod note;
pub mod policy;
pub mod proof;
mod text;
pub mod tile;
pub mod tree;
pub mod witness;

pub use hash::{Hash, HashError};

/// Maximum size of a log: 2⁶³ − 1 leaves, so that every size fits in the signed integers of Go and of
/// databases.
pub const MAX_SIZE: u64 = i64::MAX.unsigned_abs();
