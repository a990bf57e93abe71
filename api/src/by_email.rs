//! Searches by email address.

use std::sync::Arc;

use domain::{Email, PatientDetails};
use eventstore::sealing::SealingError;
use eventstore::{Claim, EventLog, LogFormat};
use projector::reads::{Found, PatientReads, ReadError};
use uuid::Uuid;

use crate::commands::EmailClaims;

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
    let sealing = log.database().sealing().cloned();
    if sealing.is_none() && LogFormat::read(log.database()).await? != LogFormat::Clear {
        // The log was sealed a moment ago, and this process has not opened it yet.
        return Err(ReadError::from(eventstore::Error::from(SealingError::NotOpened)));
    }
    let claims = EmailClaims::of(sealing);
    let asked = claims.claim(email.as_str());
    let mut holding = None;
    for claim in std::iter::once(asked).chain(claims.older(email.as_str())) {
        if let Some(found) = holder(log, claim).await? {
            holding = Some((claim, found));
            break;
        }
    }
    let Some((claim, found)) = holding else {
        return Ok(None);
    };
    let damaged = |holder| Err(ReadError::ClaimsDamaged { holder });
    let Ok(id) = Uuid::try_parse(&found) else {
        return damaged(found);
    };
    match reads.by_id(id).await? {
        Found::Active(details, _) if claims.claim(&details.email) == asked => Ok(Some((id, details))),
        Found::Active(..) => damaged(found),
        // If the patient was deleted since, its claim is gone too, and no patient had the email at that
        // moment.
        Found::Deleted | Found::Erased | Found::Nothing => match holder(log, claim).await? {
            Some(still) if still == found => damaged(found),
            _ => Ok(None),
        },
    }
}

async fn holder(log: &EventLog, claim: Claim) -> Result<Option<String>, ReadError> {
    let mut connection = log.database().reader().await?;
    Ok(claim.holder(&mut connection).await?)
}
