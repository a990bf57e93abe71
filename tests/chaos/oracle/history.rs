//! The time range in which each position was written, as far as clients can know, and the history of each
//! patient.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use uuid::Uuid;

use crate::evidence::{Event, Evidence};
use crate::record::{Answer, Changes, Details, Observation, Request};

/// A patient according to the log.
#[derive(Debug, Clone)]
pub(super) struct Patient {
    pub(super) registered: u64,
    pub(super) registered_at: i64,
    /// The details after the registration and after each amendment. The sequence of a version is its index
    /// plus one.
    pub(super) versions: Vec<Version>,
    /// [`u64::MAX`] if the patient was never deleted.
    pub(super) deleted: u64,
    /// [`u64::MAX`] if the patient was never erased.
    pub(super) erased: u64,
    /// Whether the erasure deleted the patient, in the same append. The state between these two events was
    /// never visible.
    pub(super) was_deleted_by_erasure: bool,
}

/// The details of a patient from an event to the next event.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) position: u64,
    /// The position at which the version ended; [`u64::MAX`] if it never did.
    pub(super) end: u64,
    pub(super) sequence: u64,
    pub(super) details: Details,
}

impl Version {
    /// Whether the version was current at a position from `from` to `to`.
    pub(super) fn was_current(&self, (from, to): (u64, u64)) -> bool {
        self.position <= to && self.end > from
    }
}

impl Patient {
    /// Returns the version that the event at this position created.
    pub(super) fn version(&self, position: u64) -> Option<&Version> {
        self.versions.iter().find(|version| version.position == position)
    }

    /// Whether the patient was deleted and not erased at a position from `from` to `to`.
    pub(super) const fn was_only_deleted(&self, (from, to): (u64, u64)) -> bool {
        !self.was_deleted_by_erasure && self.deleted <= to && self.erased > from
    }

    /// Whether the patient was erased at a position up to `to`.
    pub(super) const fn was_erased(&self, (_, to): (u64, u64)) -> bool {
        self.erased <= to
    }

    /// Returns the version that the event at this position replaced.
    pub(super) fn version_before(&self, position: u64) -> Option<&Version> {
        self.versions
            .iter()
            .rev()
            .find(|version| version.position < position)
    }
}

/// Facts derived from the log and the times of the requests.
pub(super) struct History {
    pub(super) patients: BTreeMap<Uuid, Patient>,
    /// The event that each request wrote, by request id. For an erasure, the event `PatientErased`.
    pub(super) events: HashMap<String, Event>,
    /// The patients that had each email address (in lower case), with the versions that contained it.
    pub(super) holders: HashMap<String, Vec<(Uuid, Version)>>,
    /// The positions of the amendments with an `Idempotency-Key`, by patient and key.
    pub(super) keyed: HashMap<(Uuid, String), Vec<u64>>,
    pub(super) head: u64,
    /// Moments at which positions were known to exist, each with the highest known position.
    known: Vec<(Duration, u64)>,
    /// For each position, the latest time at which a client sent a request whose event has this position or
    /// an earlier position.
    asked: Vec<Duration>,
}

impl History {
    pub(super) fn of(evidence: &Evidence) -> Self {
        let asked: Asked<'_> = evidence
            .observations
            .iter()
            .map(|observation| (observation.request_id.as_str(), observation))
            .collect();
        let patients = patients(&evidence.log, &asked);
        let mut history = Self {
            holders: holders(&patients),
            patients,
            events: HashMap::new(),
            keyed: HashMap::new(),
            head: evidence.log.last().map_or(0, |last| last.position),
            known: Vec::new(),
            asked: Vec::new(),
        };
        let mut latest = Duration::ZERO;
        for event in &evidence.log {
            let request_id = event.request_id().unwrap_or_default();
            let request = asked.get(request_id.as_str());
            latest = latest.max(request.map_or(Duration::ZERO, |request| request.began));
            history.asked.push(latest);
            history.events.insert(request_id, event.clone());
        }
        history.keyed = keyed(evidence, &history.events);
        history.known = evidence
            .observations
            .iter()
            .filter_map(|observation| Some((observation.ended, history.shown_by(observation)?)))
            .collect();
        history.known.sort_unstable();
        let mut highest = 0;
        for (_, position) in &mut history.known {
            highest = highest.max(*position);
            *position = highest;
        }
        history
    }

    /// Returns the position that a response proves to exist.
    fn shown_by(&self, observation: &Observation) -> Option<u64> {
        let patient = observation.request.id().and_then(|id| self.patients.get(&id));
        if let Some(patient) = patient
            && observation.answer.is_problem("patient-erased")
            && patient.erased <= self.head
        {
            return Some(patient.erased);
        }
        if !matches!(observation.request, Request::Read { .. }) {
            return observation.position();
        }
        let patient = patient?;
        match &observation.answer {
            Answer::Patient { details } => {
                let mut versions = patient.versions.iter();
                Some(versions.find(|version| version.details == *details)?.position)
            }
            answer if answer.is_problem("patient-deleted") && patient.deleted <= self.head => {
                Some(patient.deleted)
            }
            _ => None,
        }
    }

    /// Returns the lowest and highest possible head between a request and its response.
    pub(super) fn window(&self, observation: &Observation) -> (u64, u64) {
        (self.at_least(observation.began), self.at_most(observation.ended))
    }

    /// Returns the lowest possible head at that time.
    pub(super) fn at_least(&self, time: Duration) -> u64 {
        let before = self.known.partition_point(|(ended, _)| *ended < time);
        before.checked_sub(1).map_or(0, |last| self.known[last].1)
    }

    /// Returns the highest possible head at that time.
    pub(super) fn at_most(&self, time: Duration) -> u64 {
        self.asked.partition_point(|asked| *asked <= time) as u64
    }
}

/// The observations by request id.
type Asked<'e> = HashMap<&'e str, &'e Observation>;

/// Returns the details of a registration. If its event does not open, which is right for an erased patient,
/// the details are those in the request.
fn registered(event: &Event, asked: &Asked<'_>) -> Option<Details> {
    if event.opened.is_some() || !event.is_registration() {
        return event.registers();
    }
    match &asked.get(event.request_id()?.as_str())?.request {
        Request::Register { details, .. } => Some(details.clone()),
        _ => None,
    }
}

/// Returns the changes of an amendment. If its event does not open, the changes are those in the request that
/// differ from the details before.
fn amended(event: &Event, before: &Details, asked: &Asked<'_>) -> Option<Changes> {
    if event.opened.is_some() || !event.is_amendment() {
        return event.amends();
    }
    match &asked.get(event.request_id()?.as_str())?.request {
        Request::Amend { changes, .. } => Some(changes.that_differ_from(before)),
        _ => None,
    }
}

fn patients(log: &[Event], asked: &Asked<'_>) -> BTreeMap<Uuid, Patient> {
    let mut patients: BTreeMap<Uuid, Patient> = BTreeMap::new();
    let before = std::iter::once(None).chain(log.iter().map(Some));
    for (event, before) in log.iter().zip(before) {
        let Some(id) = event.id() else { continue };
        let position = event.position;
        if let Some(details) = registered(event, asked) {
            let first = Version {
                position,
                end: u64::MAX,
                sequence: 1,
                details,
            };
            patients.entry(id).or_insert_with(|| Patient {
                registered: position,
                registered_at: event.recorded_at,
                versions: vec![first],
                deleted: u64::MAX,
                erased: u64::MAX,
                was_deleted_by_erasure: false,
            });
        } else if event.erases() {
            if let Some(patient) = patients.get_mut(&id).filter(|patient| patient.erased == u64::MAX) {
                patient.erased = position;
                patient.was_deleted_by_erasure =
                    before.is_some_and(|before| before.deletes() && before.is_in_one_append_with(event));
            }
        } else if let Some(patient) = patients.get_mut(&id)
            && patient.deleted == u64::MAX
            && let Some(last) = patient.versions.last_mut()
        {
            if let Some(changes) = amended(event, &last.details, asked) {
                last.end = position;
                let next = Version {
                    position,
                    end: u64::MAX,
                    sequence: last.sequence + 1,
                    details: changes.applied_to(&last.details),
                };
                patient.versions.push(next);
            } else if event.deletes() {
                last.end = position;
                patient.deleted = position;
            }
        }
    }
    patients
}

fn keyed(evidence: &Evidence, events: &HashMap<String, Event>) -> HashMap<(Uuid, String), Vec<u64>> {
    let mut keyed: HashMap<_, Vec<_>> = HashMap::new();
    for observation in &evidence.observations {
        if let Request::Amend {
            id, key: Some(key), ..
        } = &observation.request
            && let Some(event) = events.get(&observation.request_id)
        {
            keyed.entry((*id, key.clone())).or_default().push(event.position);
        }
    }
    keyed
}

fn holders(patients: &BTreeMap<Uuid, Patient>) -> HashMap<String, Vec<(Uuid, Version)>> {
    let mut holders: HashMap<_, Vec<_>> = HashMap::new();
    for (id, patient) in patients {
        for version in &patient.versions {
            let email = version.details.email.to_lowercase();
            holders.entry(email).or_default().push((*id, version.clone()));
        }
    }
    holders
}
