//! Patients under the ids that they had in the service from which they were imported.

use std::collections::HashMap;

use cqrs_es::Aggregate;
use domain::{ImportSource, ImportedFrom, OldId, Patient, PatientEvent};
use eventstore::EventLog;
use projector::reads::Found;
use serde::Serialize;
use uuid::Uuid;

use crate::problem::ApiError;
use crate::state::Api;

/// How requests name imported patients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LegacyIds {
    /// Whether the number that a patient had in the service `source` is accepted in paths and shown in
    /// responses.
    pub in_paths: bool,
    /// The service from which patients were imported, if a request does not name it.
    pub source: ImportSource,
}

/// Id of a patient in a response: a UUID, or the number that the request or the setting asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum ShownId {
    Uuid(Uuid),
    Number(u64),
}

impl From<Uuid> for ShownId {
    fn from(id: Uuid) -> Self {
        Self::Uuid(id)
    }
}

/// Returns an old id as a number. Returns `None` for a number with leading zeros, because old ids are
/// compared as text.
pub(crate) fn number(old_id: &str) -> Option<u64> {
    let number = old_id.parse::<u64>().ok()?;
    (number.to_string() == old_id).then_some(number)
}

/// Returns the id of the patient with an old id. It may be the id of no patient.
pub(crate) async fn resolve(api: &Api, source: &ImportSource, old_id: &OldId) -> Result<Uuid, ApiError> {
    let [id, in_clear] = api.commands.ids_of_import(source, old_id);
    if id != in_clear
        && api.reads.by_id(id).await? == Found::Nothing
        && api.reads.by_id(in_clear).await? != Found::Nothing
    {
        return Ok(in_clear);
    }
    Ok(id)
}

/// Returns the numbers that patients had in the service of the setting. Patients who were not imported from
/// there, and patients whose registration cannot be read, have no number.
pub(crate) async fn numbers(api: &Api, ids: &[Uuid]) -> Result<HashMap<Uuid, u64>, ApiError> {
    // Generated ids have version 7, and derived ids have other versions.
    let derived: Vec<String> = ids
        .iter()
        .filter(|id| id.get_version_num() != 7)
        .map(Uuid::to_string)
        .collect();
    let derived: Vec<&str> = derived.iter().map(String::as_str).collect();
    let events = async {
        let mut connection = api.log.database().reader().await?;
        EventLog::first_events_of(&mut connection, Patient::TYPE, &derived).await
    };
    let events = events.await.map_err(|error| {
        tracing::error!(%error, "the registrations of patients could not be read");
        ApiError::from(&error)
    })?;
    let source = api.options.legacy_ids.source.as_str();
    let mut numbers = HashMap::new();
    for event in &events {
        if let (
            Ok(Some(PatientEvent::PatientRegistered {
                imported_from:
                    Some(ImportedFrom {
                        source: from,
                        id: old_id,
                    }),
                ..
            })),
            Ok(id),
        ) = (
            event.content(PatientEvent::from_stored),
            Uuid::try_parse(&event.aggregate_id),
        ) && from == source
            && let Some(number) = number(&old_id)
        {
            numbers.insert(id, number);
        }
    }
    Ok(numbers)
}
