//! The time range in which each position was written, as far as clients can know, and the history of each
//! patient.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use uuid::Uuid;

use crate::evidence::{Event, Evidence};
use crate::record::{Answer, Details, Observation, Request};

/// A patient according to the log.
#[derive(Debug, Clone)]
pub(super) struct Patient {
    pub(super) details: Details,
    pub(super) registered: u64,
    pub(super) registered_at: i64,
    /// [`u64::MAX`] if the patient was never deleted.
    pub(super) deleted: u64,
}

/// Facts derived from the log and the times of the requests.
pub(super) struct History {
    pub(super) patients: BTreeMap<Uuid, Patient>,
    /// The event that each request wrote, by request id.
    pub(super) events: HashMap<String, Event>,
    pub(super) head: u64,
    /// Moments at which positions were known to exist, each with the highest known position.
    known: Vec<(Duration, u64)>,
    /// For each position, the time by which it and all earlier positions had been requested.
    asked: Vec<Duration>,
}

impl History {
    pub(super) fn of(evidence: &Evidence) -> Self {
        let mut history = Self {
            patients: patients(&evidence.log),
            events: HashMap::new(),
            head: evidence.log.last().map_or(0, |last| last.position),
            known: Vec::new(),
            asked: Vec::new(),
        };
        let began: HashMap<_, _> = evidence
            .observations
            .iter()
            .map(|observation| (observation.request_id.as_str(), observation.began))
            .collect();
        let mut latest = Duration::ZERO;
        for event in &evidence.log {
            let request_id = event.request_id().unwrap_or_default();
            latest = latest.max(began.get(request_id.as_str()).copied().unwrap_or_default());
            history.asked.push(latest);
            history.events.insert(request_id, event.clone());
        }
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
        let Request::Read { id } = observation.request else {
            return observation.position();
        };
        let patient = self.patients.get(&id)?;
        match &observation.answer {
            Answer::Patient { .. } => Some(patient.registered),
            answer if answer.is_problem("patient-deleted") && patient.deleted <= self.head => {
                Some(patient.deleted)
            }
            _ => None,
        }
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

fn patients(log: &[Event]) -> BTreeMap<Uuid, Patient> {
    let mut patients = BTreeMap::new();
    for event in log {
        let Some(id) = event.id() else { continue };
        if let Some(details) = event.registers() {
            patients.entry(id).or_insert(Patient {
                details,
                registered: event.position,
                registered_at: event.recorded_at,
                deleted: u64::MAX,
            });
        } else if event.deletes()
            && let Some(patient) = patients.get_mut(&id)
        {
            patient.deleted = patient.deleted.min(event.position);
        }
    }
    patients
}
