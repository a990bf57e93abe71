//! The load: clerks who register, amend, delete, erase, read and list patients, and record what they see.

mod amending;
mod ending;
mod http;
mod values;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use uuid::Uuid;

use self::http::{answer, http_request};
use crate::record::{Answer, Details, Observation, Request};

/// Time for which a client waits for a response. A role may take longer, and still completes the request.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause between two requests of a client, in milliseconds.
const PAUSE: std::ops::Range<u64> = 10..70;
/// Maximum number of attempts at a write with an `Idempotency-Key`.
const TRIES: usize = 60;
/// State that the clients share.
#[derive(Clone)]
pub(crate) struct Office {
    /// The address of each API.
    pub(crate) apis: [String; 2],
    pub(crate) began: Instant,
    pub(crate) stop: Arc<AtomicBool>,
    /// Ids that any client has received.
    pub(crate) known: Arc<Mutex<Vec<Uuid>>>,
    /// The patient whose erasure was requested last. Other clients prefer this patient.
    pub(crate) contested: Arc<Mutex<Option<Uuid>>>,
}

/// One client of both APIs.
pub(crate) struct Clerk {
    office: Office,
    number: usize,
    rng: Rng,
    http: reqwest::Client,
    /// This clerk's patients that are not deleted as far as the clerk knows.
    own: Vec<Uuid>,
    /// The last sequences of patients that this clerk knows.
    sequences: HashMap<Uuid, u64>,
    /// The registrations with a key that this clerk has made.
    keyed: Vec<(Uuid, Details)>,
    /// Ids whose deletion or erasure this clerk has requested.
    ending: HashSet<Uuid>,
    /// The highest position in a response so far.
    seen: u64,
    requests: usize,
    observed: Vec<Observation>,
}

impl Clerk {
    pub(crate) fn new(office: Office, number: usize, seed: u64) -> Self {
        let http = testkit::http_client().timeout(RESPONSE_TIMEOUT).build().unwrap();
        Self {
            office,
            number,
            rng: Rng::with_seed(seed.wrapping_mul(1_000).wrapping_add(number as u64)),
            http,
            own: Vec::new(),
            sequences: HashMap::new(),
            keyed: Vec::new(),
            ending: HashSet::new(),
            seen: 0,
            requests: 0,
            observed: Vec::new(),
        }
    }

    /// Sends requests until stopped, and returns all observations.
    pub(crate) async fn work(mut self) -> Vec<Observation> {
        while !self.office.stop.load(Ordering::SeqCst) {
            match self.rng.u8(0..100) {
                0..20 => self.register().await,
                20..32 => self.register_with_a_key().await,
                32..40 => self.register_a_shared_email().await,
                40..48 => self.amend().await,
                48..53 => self.amend_with_a_key().await,
                53..57 => self.amend_to_a_shared_email().await,
                57..64 => self.delete().await,
                64..71 => self.erase().await,
                71..75 => self.repeat_a_registration().await,
                75..88 => self.read().await,
                _ => self.list().await,
            }
            tokio::time::sleep(Duration::from_millis(self.rng.u64(PAUSE))).await;
        }
        self.observed
    }

    /// Returns the observations so far.
    pub(crate) fn into_observations(self) -> Vec<Observation> {
        self.observed
    }

    async fn register(&mut self) {
        let details = self.details(None);
        let api = self.any_api();
        self.ask(api, Request::Register { details, key: None }).await;
    }

    /// Sends a registration with a key, and repeats it.
    async fn register_with_a_key(&mut self) {
        let details = self.details(None);
        let request = keyed(details.clone());
        if let Some(Answer::Registered { id, .. }) = self.ask_repeatedly(&request).await {
            self.keyed.push((id, details));
        }
    }

    /// Sends a request that can be repeated. While there is no response, the status is 503 or the first
    /// request is in progress, repeats it at a random API, until the clients are told to stop. Sometimes
    /// repeats it once more after it succeeded. Makes at most [`TRIES`] tries. Returns the first success.
    async fn ask_repeatedly(&mut self, request: &Request) -> Option<Answer> {
        let mut first = None;
        for _ in 0..TRIES {
            let api = self.any_api();
            let answer = self.ask(api, request.clone()).await;
            if answer.is_success() {
                let is_repeated = first.is_some();
                first.get_or_insert(answer);
                if is_repeated || self.rng.u8(0..4) > 0 {
                    break;
                }
            } else if answer.is_unavailable() || answer.is_problem("request-in-progress") {
                if self.office.stop.load(Ordering::SeqCst) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            } else {
                break;
            }
        }
        first
    }

    async fn register_a_shared_email(&mut self) {
        let email = self.shared_email();
        let details = self.details(Some(email));
        let api = self.any_api();
        let answer = self.ask(api, Request::Register { details, key: None }).await;
        // Other clients can use the email address soon.
        if let Answer::Registered { id, .. } = answer
            && self.rng.u8(0..4) > 0
        {
            self.delete_one(id).await;
        }
    }

    async fn read(&mut self) {
        let own = self.rng.bool();
        let known = if own {
            self.rng.choice(&self.own).copied()
        } else {
            self.known_patient()
        };
        let Some(id) = self.contested_patient().or(known) else {
            return;
        };
        let api = self.any_api();
        self.ask(api, Request::Read { id }).await;
    }

    async fn list(&mut self) {
        let min_position = (self.rng.u8(0..4) > 0).then_some(self.seen);
        let own = self.rng.bool();
        let own = if own {
            self.rng.choice(&self.own).copied()
        } else {
            None
        };
        let (after, limit) = match own {
            // The page contains only that patient.
            Some(id) => (Uuid::from_u128(id.as_u128().saturating_sub(1)), 1),
            None => (self.known_patient().unwrap_or_default(), 20),
        };
        let api = self.any_api();
        self.ask(
            api,
            Request::List {
                after,
                limit,
                min_position,
            },
        )
        .await;
    }

    /// Registers a patient, retrying until it succeeds, and reads the list at one API until the patient
    /// appears. Returns the position.
    pub(crate) async fn probe(&mut self, api: usize) -> Option<u64> {
        let details = self.details(None);
        let answer = self.ask(api, Request::Register { details, key: None }).await;
        let Answer::Registered { id, position, .. } = answer else {
            return None;
        };
        let after = Uuid::from_u128(id.as_u128().saturating_sub(1));
        let min_position = Some(position);
        let answer = self
            .ask(
                api,
                Request::List {
                    after,
                    limit: 1,
                    min_position,
                },
            )
            .await;
        matches!(answer, Answer::Page(_)).then_some(position)
    }

    fn known_patient(&mut self) -> Option<Uuid> {
        let known = self.office.known.lock().unwrap();
        // Half of the reads choose among the newest patients, because their events are still being processed.
        let latest = known.len().saturating_sub(40);
        let from = if self.rng.bool() { latest } else { 0 };
        self.rng.choice(&known[from..]).copied()
    }

    /// Sometimes returns the patient whose erasure was requested last.
    fn contested_patient(&mut self) -> Option<Uuid> {
        let contested = *self.office.contested.lock().unwrap();
        contested.filter(|_| self.rng.u8(0..6) == 0)
    }

    fn any_api(&mut self) -> usize {
        self.rng.usize(0..2)
    }

    /// Sends a request and records the outcome.
    async fn ask(&mut self, api: usize, request: Request) -> Answer {
        let request_id = Uuid::from_u64_pair(self.number as u64, self.requests as u64).to_string();
        self.requests += 1;
        let sent =
            http_request(&self.http, &self.office.apis[api], &request).header("x-request-id", &request_id);
        let began = self.office.began.elapsed();
        let answer = match sent.send().await {
            Ok(response) => answer(&request, response).await,
            Err(_) => Answer::Nothing,
        };
        let observation = Observation {
            request_id,
            client: self.number,
            began,
            ended: self.office.began.elapsed(),
            request,
            answer: answer.clone(),
        };
        if let Some(position) = observation.position() {
            self.seen = self.seen.max(position);
        }
        if let Answer::Registered { id, .. } = answer
            && !self.ending.contains(&id)
            && !self.own.contains(&id)
        {
            self.own.push(id);
            self.office.known.lock().unwrap().push(id);
        }
        if answer.is_problem("patient-erased")
            && let Some(id) = observation.request.id()
        {
            self.own.retain(|own| *own != id);
        }
        self.remember_sequence(&observation);
        self.observed.push(observation);
        answer
    }

    fn remember_sequence(&mut self, observation: &Observation) {
        match (&observation.request, &observation.answer) {
            (_, Answer::Registered { id, .. }) => {
                self.sequences.entry(*id).or_insert(1);
            }
            (Request::Amend { id, .. }, Answer::Amended { sequence, .. }) => {
                let known = self.sequences.entry(*id).or_default();
                *known = (*known).max(*sequence);
            }
            (Request::Amend { id, .. }, answer) if answer.is_problem("precondition-failed") => {
                self.sequences.remove(id);
            }
            _ => {}
        }
    }
}

/// Returns a registration with a key, which is the unique address of the document.
fn keyed(details: Details) -> Request {
    let key = Some(details.document_url.clone());
    Request::Register { details, key }
}
