//! Sealing of personal data, so that it can be erased from an append-only log.
//!
//! Each aggregate has its own data key, and the personal members of its events are stored encrypted with that
//! key. The hash chain and the Merkle tree cover the stored form. When the data key is destroyed, the
//! personal data of the aggregate can no longer be read, in any copy of the log, and the chain, the roots and
//! all proofs remain valid.
//!
//! ```text
//! payload as stored   {"type":"OrderPlaced","sealed":{"v":1,"key":KEY ID,"nonce":NONCE,"ciphertext":CIPHERTEXT}}
//! data key            32 random bytes for each aggregate, stored encrypted ("wrapped") with a wrapping key
//! keyring             a file with the wrapping keys, which is not in the database
//! ```
//!
//! Encryption is XChaCha20-Poly1305 with random nonces of 24 bytes. The additional data binds a ciphertext to
//! its log, aggregate, sequence, event type and event version, and a wrapped key to its log, aggregate and
//! wrapping key. A ciphertext that was moved to another event, aggregate or log therefore does not open. The
//! plaintext is padded to a multiple of [`BLOCK`] bytes, so its length reveals little about the data.
//!
//! # Erasure
//!
//! [`KeyStore::erase`] removes the wrapped key and keeps a tombstone. What remains in backups of the table is
//! wrapped with a key of the keyring. When that wrapping key is replaced, the backups become unreadable too:
//!
//! 1. Add a wrapping key ([`Keyring::add`]), and wait until every process has loaded the keyring.
//! 2. Activate the new wrapping key ([`Keyring::activate`]), and wait until every process has loaded the
//!    keyring. A process with the older keyring still wraps new data keys with the old wrapping key.
//! 3. Retire the old wrapping key ([`KeyStore::retire`]), so that no new data key uses it, and wrap all data
//!    keys again ([`KeyStore::rewrap_some`], until [`Rewrapped::next`] is `None`).
//! 4. Check that [`KeyStore::usage`] no longer has the old wrapping key. Otherwise, repeat the third step.
//! 5. Remove the old wrapping key ([`Keyring::remove`]), and destroy all copies of the older keyring.
//!
//! # A separate database for the keys
//!
//! If the keys are in the database of the log, a new key is stored in the transaction of the first event. The
//! keys can also be in another database ([`KeyStore::elsewhere`], [`schema::migrate_keys`]), so that a backup
//! of the log's database has no keys, and restoring it brings no erased key back. A new key is then stored
//! before its events. The log's format records that the keys are in another database, and that database
//! records the id of the log, so a program that is connected to a wrong database stops immediately.
//!
//! [`schema::migrate_keys`]: crate::schema::migrate_keys
//!
//! An event whose key the table never held is an error ([`SealingError::KeyMissing`]) and does not count as
//! erased, because the program may be connected to another database.
//!
//! # Example
//!
//! ```
//! # use eventstore::{Append, AppendQueue, Clock, Database, DatabaseOptions, EventLog, LogFormat, NewEvent};
//! # use eventstore::{Position, Signal, SystemClock, schema};
//! # use eventstore::sealing::*;
//! # use serde_json::json;
//! /// Which members of which events are personal.
//! struct Personal;
//!
//! impl DeclarePersonalData for Personal {
//!     fn of(&self, event_type: &str) -> Option<PersonalData> {
//!         (event_type == "Lent").then_some(PersonalData {
//!             members: &["reader"], versions: &[("1.0", "2.0")],
//!         })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let url = format!("sqlite://{}", folder.path().join("log.db").display());
//! # let database = Database::connect(&url, DatabaseOptions::default()).await?;
//! // Make a keyring before the first event, and seal the log.
//! schema::migrate(&database, SystemClock::shared(), "me", &[]).await?;
//! let keyring = Keyring::generate(SystemClock::shared().now())?;
//! KeyringFile::new(folder.path().join("keyring.json")).create(&keyring)?;
//! let LogFormat::Sealed(log, _) = LogFormat::seal_if_empty(&database, &keyring, 1, None).await? else {
//!     panic!("the log has unencrypted events");
//! };
//! database.seal_with(Sealing::new(keyring, log, 1, Personal));
//!
//! // `EventRepository` does this for commands of cqrs-es.
//! let sealing = database.sealing().unwrap();
//! let event = NewEvent {
//!     aggregate_type: "loan".into(), aggregate_id: "l1".into(), sequence: 1,
//!     event_type: "Lent".into(), event_version: "1.0".into(),
//!     payload: json!({"type": "Lent", "book": "Emma", "reader": "Ana"}), metadata: json!({}),
//! };
//! let sealed = sealing.seal(&database, vec![event], true).await?;
//! let append = Append::new(sealed.events, Vec::new())?.sealed(sealing.keys(), sealed.new_key);
//! # let clock = SystemClock::shared();
//! let queue = AppendQueue::start(database.clone(), Signal::in_process(), clock, 10, 10);
//! queue.append(append).await?;
//!
//! let log = EventLog::new(database);
//! assert_eq!(log.feed(Position::BEGINNING, 1).await?[0].payload["reader"], "Ana");
//! let stored = &log.stored_feed(Position::BEGINNING, 1).await?[0];
//! assert_eq!(stored.payload["book"], "Emma");
//! assert_eq!(stored.payload.get("reader"), None);
//! # Ok(())
//! # }
//! ```
//!
//! # Overview
//!
//! - [`Keyring`] holds the wrapping keys and the secrets for hashes, and [`KeyringFile`] is its file.
//! - [`DataKey`] seals and opens single payloads, and [`KeyStore`] stores the data keys.
//! - [`Sealing`] does both for the events of a log. Given to
//!   [`Database::seal_with`](crate::Database::seal_with), it opens all events that are read.
//! - [`LogFormat`](crate::LogFormat) is the format of a log: sealed or unencrypted.

mod additional_data;
mod data_key;
mod envelope;
mod events;
pub(crate) mod key_store;
mod keyring;
mod keyring_file;
mod secret;

pub use data_key::{DataKey, DataKeyId, KeyOwner, WrappedKey};
pub use envelope::{BLOCK, EventContext, SealError, SealedPayload};
pub use events::{DeclarePersonalData, PersonalData, SealedEvents, Sealing, SealingError};
pub use key_store::{AddKeyError, CheckedKeys, KeyStore, MoveError, Rewrapped, StoredKey, Subject};
pub use keyring::{Keyring, KeyringError, WrappingKeyId, WrappingKeyInfo, WrappingKeyState};
pub use keyring_file::{KeyringFile, KeyringFileError};
pub use secret::{LogId, SecretKey};

#[cfg(test)]
mod tests;
