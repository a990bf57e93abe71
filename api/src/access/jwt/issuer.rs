//! The issuer whose tokens are good here, its keys, and the tokens that were verified with them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use eventstore::Clock;
use jsonwebtoken::{Header, crypto, decode_header};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, watch};

use super::claims::Holder;
use super::refused::{Refusal, RefusalLog};
use super::{Algorithms, Keys, LONGEST, provider};

/// Verified tokens that are remembered at a time.
const REMEMBERED: usize = 1024;
/// The least time between two tries to get keys because a token named one that is not known.
const PAUSE: Duration = Duration::from_secs(10);
/// How long a request waits for newer keys.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest name of an issuer, in bytes.
const LONGEST_ISSUER: usize = 200;

/// Which tokens are good.
#[derive(Debug, Clone)]
pub struct IssuerOptions {
    /// `iss`, to the letter: 1 to 200 visible ASCII characters without `#`, which ends it in the actor.
    pub issuer: String,
    /// What `aud` must be, or have in it.
    pub audience: String,
    /// What tokens may be signed with.
    pub algorithms: Algorithms,
    /// The claim that holds the roles; points lead into objects.
    pub roles_claim: String,
}

/// The text cannot be the name of an issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to {LONGEST_ISSUER} visible ASCII characters without #, as in the iss of its tokens")]
pub struct NotAnIssuer;

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
    /// When the keys were last asked for, whatever came of it; `None` if nobody ever asks again because of a wish.
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
    ///
    /// # Errors
    ///
    /// [`NotAnIssuer`].
    pub fn new(options: IssuerOptions, keys: Keys, clock: Arc<dyn Clock>) -> Result<Self, NotAnIssuer> {
        let name = options.issuer.as_bytes();
        let visible = name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#');
        if !visible || !(1..=LONGEST_ISSUER).contains(&name.len()) {
            return Err(NotAnIssuer);
        }
        provider::install();
        let present = Present {
            keys,
            ..Present::default()
        };
        Ok(Self {
            shared: Arc::new(Shared {
                options,
                clock,
                present: RwLock::new(Arc::new(present)),
                wish: Notify::new(),
                tried: watch::Sender::new(None),
                log: RefusalLog::default(),
            }),
        })
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

    /// Somebody has just asked for the keys, and [`Issuer::replace`]d them if they changed. Whoever waits for newer ones
    /// waits no longer. From then on tokens with a key that is not known may be a wish for newer keys.
    pub fn tried(&self) {
        self.shared
            .tried
            .send_replace(Some(self.shared.clock.monotonic()));
    }

    /// Waits until a token has named a key that is not known, no sooner than 10 s after keys were last asked for: those who
    /// make up names of keys cause no more than that.
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

    /// Waits until the keys have been asked for because of this wish, 2 s at most; not at all if they were just now.
    pub(in crate::access) async fn newer_keys(&self) {
        let mut tried = self.shared.tried.subscribe();
        if self.may_try() {
            self.shared.wish.notify_one();
            // If it takes longer, the next request of the same client finds the new keys.
            drop(tokio::time::timeout(PATIENCE, tried.changed()).await);
        }
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
        let claims = self.claims(token, &present.keys)?;
        let holder = Holder::read(&claims, &self.shared.options)?;
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

    /// The claims of a token whose signature is good.
    fn claims(&self, token: &str, keys: &Keys) -> Result<Value, Refusal> {
        let (message, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (head, payload) = message.split_once('.').ok_or(Refusal::Malformed)?;
        let header = header(token, head)?;
        if !self.shared.options.algorithms.contain(header.alg) {
            return Err(Refusal::Algorithm);
        }
        let key = keys
            .find(header.kid.as_deref(), header.alg)
            .ok_or(Refusal::UnknownKey)?;
        match crypto::verify(signature, message.as_bytes(), key, header.alg) {
            Ok(true) => {}
            Ok(false) | Err(_) => return Err(Refusal::Signature),
        }
        object(payload)
    }
}

impl Present {
    fn remembered(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Holder>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The header, if a token with it may be good. Where it says that a key is to be found is never looked at.
fn header(token: &str, head: &str) -> Result<Header, Refusal> {
    let members = object(head)?;
    if members.get("crit").is_some() {
        return Err(Refusal::Critical);
    }
    // An algorithm that is not known is one that is not allowed.
    let header = decode_header(token).map_err(|_| Refusal::Algorithm)?;
    let known = |typ: &str| {
        ["JWT", "at+jwt", "application/at+jwt"]
            .iter()
            .any(|known| typ.eq_ignore_ascii_case(known))
    };
    if header.typ.as_deref().is_some_and(|typ| !known(typ)) {
        return Err(Refusal::Type);
    }
    Ok(header)
}

/// The JSON object in a part of a token, in which no member is there twice.
fn object(part: &str) -> Result<Value, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Refusal::Malformed)?;
    let value = eventstore::strict_json(text).map_err(|_| Refusal::Malformed)?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(Refusal::Malformed)
    }
}
