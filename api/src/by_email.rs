//! Searches by email address.

use std::sync::Arc;

use domain::{Email, PatientDetails};
use eventstore::{Claim, EventLog};
use projector::reads::{Found, PatientReads, ReadError};
use uuid::Uuid;

use crate::commands::{email_claim, older_email_claim};

/// Returns the id and the details of the active patient with this email. The read is strongly consistent,
/// like reads by id.
///
/// # Errors
///
/// [`ReadError`].
pub(crate) async fn find(
    log: &EventLog,
    reads: &PatientReads,
    email: &Email,
) -> Result<Option<(Uuid, Arc<PatientDetails>)>, ReadError> {
    let asked = email_claim(email.as_str());
    let mut claim = asked;
    let mut found = holder(log, claim).await?;
    if let (None, Some(older)) = (&found, older_email_claim(email.as_str())) {
        claim = older;
        found = holder(log, claim).await?;
    }
    let Some(found) = found else {
        return Ok(None);
    };
    let damaged = |holder| Err(ReadError::ClaimsDamaged { holder });
    let Ok(id) = Uuid::try_parse(&found) else {
        return damaged(found);
    };
    match reads.by_id(id).await? {
        Found::Active(details, _) if email_claim(&details.email) == asked => Ok(Some((id, details))),
        Found::Active(..) => damaged(found),
        // If the patient was deleted since, its claim is gone too, and no patient had the email at that
        // moment.
        Found::Deleted | Found::Nothing => match holder(log, claim).await? {
            Some(still) if still == found => damaged(found),
            _ => Ok(None),
        },
    }
}

async fn holder(log: &EventLog, claim: Claim) -> Result<Option<String>, ReadError> {
    let mut connection = log.database().reader().await?;
    Ok(claim.holder(&mut connection).await?)
}
