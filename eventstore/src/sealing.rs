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
//! - [`Keyring`] holds the wrapping keys and the secrets, and [`KeyringFile`] is the file.
//! - [`DataKey`] seals and opens the events of an aggregate, and [`KeyStore`] stores the data keys.

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
pub use key_store::{KeyStore, RewrapError, StoredKey, Subject};
pub use keyring::{Keyring, KeyringError, WrappingKeyId, WrappingKeyInfo, WrappingKeyState};
pub use keyring_file::{KeyringFile, KeyringFileError};
pub use secret::{LogId, SecretKey};

#[cfg(test)]
mod tests;
