//! The heads of the log that other processes have acknowledged.
//!
//! After each batch of appends, a process publishes the position and the hash of the last event. A process
//! that has heard of a head appends nothing to a log that lacks this event. Messages carry an HMAC, so only a
//! process with the keyring of the log can publish a head, and a forged message cannot stop appends.

use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::event::{Hash, Position};

/// Maximum length of a message in bytes.
const LONGEST: usize = 512;

/// Key of the messages about heads. It is derived from the keyring and the id of the log
/// ([`Sealing::head_key`](crate::sealing::Sealing::head_key)).
pub struct HeadKey(Zeroizing<[u8; 32]>);

impl HeadKey {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    fn mac(&self, head: &AcknowledgedHead) -> Hmac<Sha256> {
        // A key that is shorter than a block of SHA-256 is padded with zeros (RFC 2104).
        let mut key = Zeroizing::new([0; 64]);
        key[..32].copy_from_slice(&*self.0);
        let mut mac = Hmac::<Sha256>::new(key[..].into());
        mac.update(&head.position.get().to_be_bytes());
        mac.update(&head.hash.0);
        mac
    }
}

impl fmt::Debug for HeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeadKey(…)")
    }
}

/// Position and hash of the last event of an acknowledged append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcknowledgedHead {
    /// Position of the event.
    pub position: Position,
    /// Hash of the event.
    pub hash: Hash,
}

#[derive(Serialize, Deserialize)]
struct Message {
    head: AcknowledgedHead,
    mac: Hash,
}

/// The last head of which this process has heard.
#[derive(Debug, Default)]
pub(super) struct SharedHeads {
    key: OnceLock<HeadKey>,
    heard: Mutex<Option<AcknowledgedHead>>,
}

impl SharedHeads {
    /// Sets the key. Before, heads are neither published nor heard.
    pub(super) fn share(&self, key: HeadKey) {
        // The key of a log does not change.
        let _ = self.key.set(key);
    }

    /// Returns the message about a head.
    pub(super) fn message(&self, head: AcknowledgedHead) -> Option<String> {
        let mac = self.key.get()?.mac(&head).finalize().into_bytes().into();
        serde_json::to_string(&Message { head, mac: Hash(mac) }).ok()
    }

    /// Reads a message from the channel. Returns whether it is about a head.
    pub(super) fn hear(&self, message: &[u8]) -> bool {
        let Some(key) = self.key.get().filter(|_| message.len() <= LONGEST) else {
            return false;
        };
        let Ok(Message { head, mac }) = serde_json::from_slice(message) else {
            return false;
        };
        if key.mac(&head).verify_slice(&mac.0).is_ok() {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            if heard.is_none_or(|last| last.position < head.position) {
                *heard = Some(head);
            }
        } else {
            tracing::debug!("ignored a message about the head of the log that has a wrong HMAC");
        }
        true
    }

    pub(super) fn heard(&self) -> Option<AcknowledgedHead> {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(position: u64, hash: u8) -> AcknowledgedHead {
        AcknowledgedHead {
            position: Position::new(position).unwrap(),
            hash: Hash([hash; 32]),
        }
    }

    fn heads(key: u8) -> SharedHeads {
        let heads = SharedHeads::default();
        heads.share(HeadKey::new([key; 32]));
        heads
    }

    #[test]
    fn the_highest_head_that_a_process_of_the_log_published_is_heard() {
        let (here, elsewhere) = (heads(1), heads(1));
        for (position, highest) in [(5, 5), (4, 5), (6, 6)] {
            here.hear(elsewhere.message(head(position, 7)).unwrap().as_bytes());
            assert_eq!(here.heard(), Some(head(highest, 7)));
        }
    }

    #[test]
    fn other_messages_are_not_heard() {
        let (here, of_another_log) = (heads(1), heads(2));
        assert_eq!(
            SharedHeads::default().message(head(5, 7)),
            None,
            "there is no key"
        );
        let sound = heads(1).message(head(5, 7)).unwrap();
        let of_another_log = of_another_log.message(head(5, 7)).unwrap();
        for message in [
            of_another_log,
            sound.replace('5', "6"),
            sound.replace("0707", "0708"),
            sound.replace('{', "{ ") + &" ".repeat(LONGEST),
            r#"{"position":5,"event_type":"A","aggregate_id":"a","sequence":1}"#.to_owned(),
            String::new(),
        ] {
            here.hear(message.as_bytes());
            assert_eq!(here.heard(), None, "{message}");
        }
        here.hear(sound.as_bytes());
        assert_eq!(here.heard(), Some(head(5, 7)));
    }
}
