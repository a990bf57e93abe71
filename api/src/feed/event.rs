//! Events as the feed and exports show them: as stored, and with the opened payload in a separate member.

use std::collections::BTreeSet;

use domain::{PERSONAL_FIELDS, is_personal};
use eventstore::{EventFilter, EventLog, Position, RecordedEvent, Result};
use serde::Serialize;
use serde_json::Value;

use crate::erasure;

/// An event as stored, so that its hash can be verified, and its payload with the personal data opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FeedEvent {
    /// The event, as stored.
    #[serde(flatten)]
    pub event: RecordedEvent,
    /// The payload with the personal data opened or, if the patient was erased, with the time of the erasure
    /// instead. `None` if the stored payload is not sealed, or was altered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened: Option<Value>,
}

/// A page of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FeedPage {
    /// The events, in order of position.
    pub(crate) events: Vec<FeedEvent>,
    /// Position after which the next page begins.
    pub(crate) reaches: Position,
}

impl FeedEvent {
    /// Opens stored events.
    ///
    /// # Errors
    ///
    /// Same as [`EventLog::open`].
    pub async fn of(log: &EventLog, stored: Vec<RecordedEvent>) -> Result<Vec<Self>> {
        if log.database().sealing().is_none() {
            let in_clear = |event| Self { event, opened: None };
            return Ok(stored.into_iter().map(in_clear).collect());
        }
        let mut opened = log.open(stored.clone()).await?;
        // The keys of patients that were erased a moment ago may still exist.
        let readable = |event: &RecordedEvent| event.erased_at.is_none() && is_personal(&event.event_type);
        let ids: BTreeSet<&str> = opened
            .iter()
            .filter(|event| readable(event))
            .map(|event| event.aggregate_id.as_str())
            .collect();
        let ids: Vec<&str> = ids.into_iter().collect();
        let erased = erasure::erased_among(log, &ids).await?;
        for event in opened.iter_mut().filter(|event| readable(event)) {
            if let Some(at) = erased.get(&event.aggregate_id) {
                event.erase_members(PERSONAL_FIELDS, *at);
            }
        }
        let beside = |(event, opened): (RecordedEvent, RecordedEvent)| Self {
            opened: (opened.payload != event.payload).then_some(opened.payload),
            event,
        };
        Ok(stored.into_iter().zip(opened).map(beside).collect())
    }
}

impl FeedPage {
    /// Reads a page like [`EventLog::page`], and opens its events.
    pub(crate) async fn read(
        log: &EventLog,
        filter: &EventFilter,
        after: Position,
        end: Position,
        limit: u32,
    ) -> Result<Self> {
        let page = log.page(filter, after, end, limit).await?;
        Ok(Self {
            events: FeedEvent::of(log, page.events).await?,
            reaches: page.reaches,
        })
    }
}
