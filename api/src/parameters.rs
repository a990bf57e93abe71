//! Query parameters whose values are positions or patient ids.

use eventstore::Position;
use uuid::Uuid;
use web::query::Query;

/// Returns a position of the log.
pub(crate) fn position(query: &mut Query, name: &str) -> Option<Position> {
    query.number(name).and_then(Position::new)
}

/// Returns the id of a patient.
pub(crate) fn patient_id(query: &mut Query, name: &str) -> Option<Uuid> {
    query.read(name, "must be the id of a patient", |value| {
        Uuid::try_parse(value).ok()
    })
}
