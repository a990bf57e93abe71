//! The issuer whose tokens are good here, its keys, and the tokens that were verified with them.

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

/// Verified tokens that are remembered at a time.
const REMEMBERED: usize = 1024;
/// The least time between two tries to get keys because those that are known do not fit a token.
const PAUSE: Duration = Duration::from_secs(10);
/// How long a request waits for newer keys.
const PATIENCE: Duration = Duration::from_secs(2);

/// An issuer of JWTs. Cheap to clone; all clones change together.
#[derive(Clone)]
pub struct Issuer {
    shared: Arc<Shared>,
}

struct Shared {
    options: IssuerOptions,
    clock: Arc<dyn Clock>,
    present: RwLock<Arc<Present>>,
    wish: Notify,
    /// When the keys were last asked for, whatever came of it; `None` if nobody ever asks again because of a
    /// wish.
    tried: watch::Sender<Option<Duration>>,
    log: RefusalLog,
}

/// Keys, and what was verified with them: other keys begin with nothing verified.
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
    /// An issuer with these keys.
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

    /// Takes these keys from now on instead of those before. What was verified with those is verified anew.
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

    /// Somebody has just asked for the keys, and [`Issuer::replace`]d them if they changed. Whoever waits for
    /// newer ones waits no longer. From then on tokens that the keys do not fit may be a wish for newer keys.
    pub fn tried(&self) {
        self.shared
            .tried
            .send_replace(Some(self.shared.clock.monotonic()));
    }

    /// Waits until there was a token that the keys do not fit, no sooner than 10 s after keys were last asked
    /// for: those who make up tokens cause no more than that.
    pub async fn wish(&self) {
        loop {
            self.shared.wish.notified().await;
            // One that came while the keys were being asked for is fulfilled.
            if self.may_try() {
                return;
            }
        }
    }

    fn may_try(&self) -> bool {
        let tried = *self.shared.tried.borrow();
        tried.is_some_and(|tried| self.shared.clock.monotonic().saturating_sub(tried) >= PAUSE)
    }

    /// Waits until the keys have been asked for because of this wish, 2 s at most. `false`, at once, if they
    /// were just now.
    pub(in crate::access) async fn newer_keys(&self) -> bool {
        let mut tried = self.shared.tried.subscribe();
        if !self.may_try() {
            return false;
        }
        self.shared.wish.notify_one();
        // If it takes longer, the next request of the same client finds the new keys.
        drop(tokio::time::timeout(PATIENCE, tried.changed()).await);
        true
    }

    /// Who holds a token.
    pub(in crate::access) fn verify(&self, token: &str) -> Result<Holder, Refusal> {
        let verified = self.verified(token);
        if let Err(refusal) = verified {
            self.shared.log.tell(refusal, self.shared.clock.as_ref());
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

    /// Who holds a token whose signature is good.
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

/// The header of a token that may be good. Where it says that a key is to be found is never looked at.
struct Header {
    algorithm: Algorithm,
    /// The name of the key, if it says one.
    key: Option<String>,
}

impl Header {
    fn read(text: &str, wanted: TokenType) -> Result<Self, Refusal> {
        let members = Object::parse(text).ok_or(Refusal::Malformed)?;
        if members.has("crit") {
            return Err(Refusal::Critical);
        }
        // An algorithm that is not known is one that is not allowed.
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

/// The text in a part of a token.
fn decoded(part: &str) -> Result<String, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed)?;
    String::from_utf8(bytes).map_err(|_| Refusal::Malformed)
}
