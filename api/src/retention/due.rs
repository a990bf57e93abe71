//! The erasures that are due.

use chrono::NaiveDate;
use eventstore::{EventLog, Position, Timestamp};
use projector::reads::ReadError;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{DeletedPatient, RetentionPeriod, deleted_patients};
use crate::hold::{PAGE, PAGES, current_holds};

/// A deleted patient whose retention period has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ErasureDue {
    /// Id of the patient.
    #[schema(example = "01a20c52-84f4-752b-9b94-14a23061549a")]
    id: Uuid,
    /// Position of the deletion in the log.
    #[schema(value_type = i64, minimum = 1, example = 16)]
    position: Position,
    /// When the patient was deleted.
    #[schema(value_type = String, format = DateTime, example = "2021-11-24T08:38:47.323577Z")]
    deleted_at: Timestamp,
    /// When the retention period ended. Without a retention period, this is the time of the deletion.
    #[schema(value_type = String, format = DateTime, example = "2026-11-24T08:38:47.323577Z")]
    due_at: Timestamp,
    /// Last day of the hold that protects the patient from erasure, in UTC; `null` if nothing protects the
    /// patient.
    #[schema(value_type = Option<String>, format = Date, required, example = json!(null))]
    held_until: Option<NaiveDate>,
}

/// Returns at most `limit` patients whose erasure is due, in the order of their deletions after the position
/// `after`, and the position after which the next page begins, unless this page is the last. A page can be
/// empty. `now` is the current time.
///
/// # Errors
///
/// [`ReadError`].
pub(crate) async fn erasures_due(
    log: &EventLog,
    period: Option<RetentionPeriod>,
    mut after: Position,
    limit: u32,
    now: Timestamp,
) -> Result<(Vec<ErasureDue>, Option<Position>), ReadError> {
    let head = log.head().await?.position;
    let (limit, mut found) = (limit as usize, Vec::new());
    for _ in 0..PAGES {
        if found.len() == limit || after >= head {
            break;
        }
        let (deleted, reaches) = deleted_patients(log, after, head, PAGE, now).await?;
        after = reaches;
        let end = |patient: &DeletedPatient| {
            period.map_or(patient.deleted_at, |period| period.after(patient.deleted_at))
        };
        let mut due: Vec<_> = deleted.iter().filter(|patient| end(patient) <= now).collect();
        let left = limit.saturating_sub(found.len());
        if due.len() > left {
            due.truncate(left);
            after = due.last().map_or(after, |last| last.position);
        }
        let ids: Vec<String> = due.iter().map(|patient| patient.id.to_string()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let holds = current_holds(log, &ids).await?;
        found.extend(due.iter().zip(ids).map(|(patient, id)| {
            ErasureDue {
                id: patient.id,
                position: patient.position,
                deleted_at: patient.deleted_at,
                due_at: end(patient),
                held_until: holds
                    .get(id)
                    .filter(|hold| !hold.is_expired(now))
                    .map(|hold| hold.hold.until),
            }
        }));
    }
    Ok((found, (after < head).then_some(after)))
}
