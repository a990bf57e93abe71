//! Sealing of personal data, so that an append-only log can forget.
//!
//! Each aggregate has a data key of its own, and the personal members of its events are stored encrypted with
//! that key. The hash chain and the Merkle tree are over the stored form. When the data key is destroyed, the
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
//! plaintext is padded to a multiple of [`BLOCK`] bytes, so its length shows little of the data.
//!
//! # Erasure
//!
//! [`KeyStore::erase`] removes the wrapped key and keeps a tombstone. What remains in backups of the table is
//! wrapped with a key of the keyring. When that wrapping key is replaced, the backups become unreadable too:
//!
//! 1. Add a wrapping key ([`Keyring::add`]), and wait until every process has loaded the keyring.
//! 2. Activate the new wrapping key ([`Keyring::activate`]), and wait until every process has loaded the
//!    keyring. A process with the older keyring still wraps new data keys with the old wrapping key.
//! 3. Wrap all data keys again ([`KeyStore::rewrap_some`], until [`Rewrapped::next`] is `None`).
//! 4. Check that [`KeyStore::usage`] no longer has the old wrapping key. Otherwise, repeat the third step.
//! 5. Remove the old wrapping key ([`Keyring::remove`]), and destroy all copies of the older keyring.
//!
//! An event whose key the table never held is an error ([`SealingError::KeyMissing`]) and does not count as
//! erased, because the program may be connected to another database.
//!
//! # Example
//!
//! ```
//! # use std::sync::Arc;
//! # use eventstore::{Clock, Database, DatabaseOptions, NewEvent, SystemClock, schema};
//! # use eventstore::sealing::*;
//! # use serde_json::json;
//! /// Which members of which events are personal.
//! struct Personal;
//!
//! impl DeclarePersonalData for Personal {
//!     fn of(&self, event_type: &str) -> Option<PersonalData> {
//!         (event_type == "Lent").then_some(PersonalData {
//!             members: &["reader"], version: "1.0", sealed_version: "2.0",
//!         })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let url = format!("sqlite://{}", folder.path().join("log.db").display());
//! # let database = Database::connect(&url, DatabaseOptions::default()).await?;
//! // Add the table to the service's own steps, and make a keyring at the first start.
//! schema::migrate(&database, SystemClock::shared(), "me", &[schema_step(5)]).await?;
//! let keyring = Keyring::generate(SystemClock::shared().now())?;
//! KeyringFile::new(folder.path().join("keyring.json")).create(&keyring)?;
//!
//! // The id of the log must be kept, because sealed data opens only with it.
//! let store = KeyStore::new(database.clone(), LogId::random()?);
//! let sealing = Sealing::new(Arc::new(keyring), store.clone(), Arc::new(Personal));
//! let event = NewEvent {
//!     aggregate_type: "loan".into(), aggregate_id: "l1".into(), sequence: 1,
//!     event_type: "Lent".into(), event_version: "1.0".into(),
//!     payload: json!({"type": "Lent", "book": "Emma", "reader": "Ana"}), metadata: json!({}),
//! };
//! let mut session = database.writer().await?;
//! let sealed = sealing.seal(&mut session, vec![event], true).await?;
//! assert_eq!(sealed.events[0].payload["book"], "Emma");
//! assert_eq!(sealed.events[0].payload.get("reader"), None);
//! // Store the key before the event, so that no event is without its key. After an error, do not append the
//! // events. After `AddKeyError::OtherKey`, seal the original events again with `fresh = false`.
//! if let Some(key) = &sealed.new_key {
//!     let now = SystemClock::shared().now();
//!     store.add(&mut session, &store.owner("loan", "l1"), key, now).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Overview
//!
//! - [`Keyring`] holds the wrapping keys and the secrets for hashes, and [`KeyringFile`] is its file.
//! - [`DataKey`] seals and opens single payloads, and [`KeyStore`] stores the data keys.
//! - [`Sealing`] does both for the events of a log.

mod additional_data;
mod data_key;
mod envelope;
mod events;
mod key_store;
mod keyring;
mod keyring_file;
mod secret;

pub use data_key::{DataKey, DataKeyId, KeyOwner, WrappedKey};
pub use envelope::{BLOCK, EventContext, SealError, SealedPayload};
pub use events::{DeclarePersonalData, OpenedEvent, PersonalData, SealedEvents, Sealing, SealingError};
pub use key_store::{AddKeyError, KeyStore, Rewrapped, StoredKey, Subject, schema_step};
pub use keyring::{Keyring, KeyringError, WrappingKeyId, WrappingKeyInfo, WrappingKeyState};
pub use keyring_file::{KeyringFile, KeyringFileError};
pub use secret::{LogId, SecretKey};

#[cfg(test)]
mod tests;
