//! Reads the patients of due deliveries from the log.

use std::collections::{HashMap, HashSet};

use cqrs_es::Aggregate;
use domain::Patient;
use eventstore::{EventLog, Position, RecordedEvent, Result, Session};

use crate::error::Failure;
use crate::history::{History, Recipient};
use crate::ledger::Delivery;
use crate::template::AddressedAs;

/// Maximum number of events in memory while the histories are read. Further events are read page by page.
const EVENTS: u64 = 1000;

/// The patients of some deliveries, and the events that caused the deliveries.
#[derive(Debug, Default)]
pub(super) struct Histories {
    /// State of each patient after the patient's last event.
    newest: HashMap<String, History>,
    /// Each event that caused a delivery, and the state of its patient before the event.
    events: HashMap<Position, (RecordedEvent, History)>,
}

impl Histories {
    /// Reads the histories of the patients of `deliveries`.
    pub(super) async fn read(session: &mut impl Session, deliveries: &[Delivery]) -> Result<Self> {
        let ids: HashSet<_> = deliveries
            .iter()
            .map(|delivery| delivery.aggregate_id.as_str())
            .collect();
        let ids: Vec<_> = ids.into_iter().collect();
        let causes: HashSet<_> = deliveries.iter().map(|delivery| delivery.position).collect();
        let mut histories = Self::default();
        let mut after = Position::BEGINNING;
        loop {
            let page =
                EventLog::events_between(session, Patient::TYPE, &ids, after, Position::LAST, EVENTS).await?;
            let is_last = (page.len() as u64) < EVENTS;
            for event in page {
                after = event.position;
                histories.apply(event, &causes);
            }
            if is_last {
                return Ok(histories);
            }
        }
    }

    fn apply(&mut self, event: RecordedEvent, causes: &HashSet<Position>) {
        let history = self.newest.entry(event.aggregate_id.clone()).or_default();
        let before = causes.contains(&event.position).then(|| history.clone());
        history.apply(&event);
        if let Some(before) = before {
            self.events.insert(event.position, (event, before));
        }
    }

    /// Returns the event that caused the delivery, or `None` if the log has no event at that position, which
    /// means that the log is damaged.
    pub(super) fn event(&self, delivery: &Delivery) -> Option<&RecordedEvent> {
        self.events.get(&delivery.position).map(|(event, _)| event)
    }

    /// Whether the patient of the delivery was deleted.
    pub(super) fn is_over(&self, delivery: &Delivery) -> bool {
        self.newest
            .get(&delivery.aggregate_id)
            .is_some_and(History::is_over)
    }

    /// Returns the recipient of the delivery.
    pub(super) fn recipient(&self, delivery: &Delivery) -> Result<Recipient, Failure> {
        let history = match delivery.template.addressed_as() {
            AddressedAs::Newest => self.newest.get(&delivery.aggregate_id),
            AddressedAs::BeforeTheEvent => self.events.get(&delivery.position).map(|(_, before)| before),
        };
        history.ok_or(Failure::EventMissing)?.recipient()
    }
}
