//! Issuer of JWTs, its keys, and a cache of verified tokens.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use eventstore::Clock;
use jsonwebtoken::{Algorithm, crypto};
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, watch};

use super::claims::Holder;
use super::json::Object;
use super::refused::{Refusal, RefusalLog};
use super::{IssuerOptions, Keys, LONGEST, TokenType, provider};

/// Maximum number of verified tokens in the cache.
const REMEMBERED: usize = 1024;
/// Minimum time between a fetch of the keys and the next fetch that is triggered by a token that no key
/// matches.
const PAUSE: Duration = Duration::from_secs(10);
/// Maximum time that a request waits for newer keys.
const PATIENCE: Duration = Duration::from_secs(2);

/// Issuer of JWTs. Cheap to clone; all clones share their state.
#[derive(Clone)]
pub struct Issuer {
    shared: Arc<Shared>,
}

struct Shared {
    options: IssuerOptions,
    clock: Arc<dyn Clock>,
    present: RwLock<Arc<Present>>,
    wish: Notify,
    /// Time of the last fetch of the keys, successful or not. `None` if the keys are never fetched on demand.
    tried: watch::Sender<Option<Duration>>,
    log: RefusalLog,
}

/// Keys, and the tokens verified with them. New keys start with an empty cache.
#[derive(Default)]
struct Present {
    keys: Keys,
    verified: Mutex<HashMap<[u8; 32], Holder>>,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

impl Issuer {
    /// Creates an issuer with these keys.
    #[must_use]
    pub fn new(options: IssuerOptions, keys: Keys, clock: Arc<dyn Clock>) -> Self {
        provider::install();
        let present = Present {
            keys,
            ..Present::default()
        };
        Self {
            shared: Arc::new(Shared {
                options,
                clock,
                present: RwLock::new(Arc::new(present)),
                wish: Notify::new(),
                tried: watch::Sender::new(None),
                log: RefusalLog::default(),
            }),
        }
    }

    /// Replaces the keys. Tokens verified with the old keys are verified again.
    pub fn replace(&self, keys: Keys) {
        let present = Present {
            keys,
            ..Present::default()
        };
        *self
            .shared
            .present
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(present);
    }

    /// Records that the keys were just fetched. If they changed, call [`Issuer::replace`] first. Wakes the
    /// requests that wait for newer keys. After the first call, a token that no key matches can trigger a
    /// fetch.
    pub fn tried(&self) {
        self.shared
            .tried
            .send_replace(Some(self.shared.clock.monotonic()));
    }

    /// Waits until a token arrives that no known key matches. Returns no sooner than 10 s after the last
    /// fetch, so forged tokens cannot cause more frequent fetches.
    pub async fn wish(&self) {
        loop {
            self.shared.wish.notified().await;
            // A fetch also serves the requests that arrived while it was running.
            if self.may_try() {
                return;
            }
        }
    }

    fn may_try(&self) -> bool {
        let tried = *self.shared.tried.borrow();
        tried.is_some_and(|tried| self.shared.clock.monotonic().saturating_sub(tried) >= PAUSE)
    }

    /// Requests a fetch of the keys and waits until it is done, for at most 2 s. Returns `false` immediately
    /// if the keys were fetched too recently, or are never fetched on demand.
    pub(in crate::access) async fn newer_keys(&self) -> bool {
        let mut tried = self.shared.tried.subscribe();
        if !self.may_try() {
            return false;
        }
        self.shared.wish.notify_one();
        // If the fetch takes longer, the client's next request finds the new keys.
        drop(tokio::time::timeout(PATIENCE, tried.changed()).await);
        true
    }

    /// Verifies a token and returns its holder. Logs a rejection.
    pub(in crate::access) fn verify(&self, token: &str) -> Result<Holder, Refusal> {
        let verified = self.verified(token);
        if let Err(refusal) = verified {
            self.shared.log.log(refusal, self.shared.clock.as_ref());
        }
        verified
    }

    fn verified(&self, token: &str) -> Result<Holder, Refusal> {
        if token.len() > LONGEST {
            return Err(Refusal::TooLong);
        }
        let now = self.shared.clock.now();
        let present = Arc::clone(&self.shared.present.read().unwrap_or_else(PoisonError::into_inner));
        let hash: [u8; 32] = Sha256::digest(token).into();
        let known = present.remembered().get(&hash).cloned();
        if let Some(holder) = known {
            holder.check(now)?;
            return Ok(holder);
        }
        let holder = self.read(token, &present.keys)?;
        holder.check(now)?;
        let mut remembered = present.remembered();
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_, holder| holder.check(now).is_ok());
        }
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(hash, holder.clone());
        Ok(holder)
    }

    /// Verifies the signature of a token and reads its claims, without checking the token's validity period.
    fn read(&self, token: &str, keys: &Keys) -> Result<Holder, Refusal> {
        let options = &self.shared.options;
        let (message, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (head, payload) = message.split_once('.').ok_or(Refusal::Malformed)?;
        let header = Header::read(&decoded(head)?, options.token_type)?;
        if !options.algorithms.contain(header.algorithm) {
            return Err(Refusal::Algorithm);
        }
        let mut keys = keys.fitting(header.key.as_deref(), header.algorithm).peekable();
        keys.peek().ok_or(Refusal::UnknownKey)?;
        let signed =
            |key| crypto::verify(signature, message.as_bytes(), key, header.algorithm).unwrap_or(false);
        if !keys.any(signed) {
            return Err(Refusal::Signature);
        }
        let claims = decoded(payload)?;
        Holder::read(&Object::parse(&claims).ok_or(Refusal::Malformed)?, options)
    }
}

impl Present {
    fn remembered(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Holder>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Header of a token. Parameters that locate a key, such as `jku`, are ignored.
struct Header {
    algorithm: Algorithm,
    /// Key id (`kid`), if the header has one.
    key: Option<String>,
}

impl Header {
    fn read(text: &str, wanted: TokenType) -> Result<Self, Refusal> {
        let members = Object::parse(text).ok_or(Refusal::Malformed)?;
        if members.has("crit") {
            return Err(Refusal::Critical);
        }
        // An unknown algorithm is not allowed.
        let algorithm = members.get::<&str>("alg").and_then(|name| name.parse().ok());
        let algorithm = algorithm.ok_or(Refusal::Algorithm)?;
        let text = |name| {
            if members.has(name) {
                members.get::<Option<String>>(name).ok_or(Refusal::Malformed)
            } else {
                Ok(None)
            }
        };
        if !wanted.allows(text("typ")?.as_deref()) {
            return Err(Refusal::Type);
        }
        Ok(Self {
            algorithm,
            key: text("kid")?,
        })
    }
}

/// Decodes a base64url part of a token to text.
fn decoded(part: &str) -> Result<String, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed)?;
    String::from_utf8(bytes).map_err(|_| Refusal::Malformed)
}
