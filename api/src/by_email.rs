//! Searches by email address.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{Email, EmailUniqueness, PatientDetails, mailbox_key};
use eventstore::sealing::SealingError;
use eventstore::{Claim, EventLog, LogFormat};
use futures::future::try_join_all;
use projector::reads::{Found, PatientReads, ReadError};
use uuid::Uuid;

use crate::commands::EmailClaims;

/// The patients that a search by email finds.
pub(crate) struct FoundByEmail {
    /// The patients, in order of id.
    pub(crate) patients: Vec<(Uuid, Arc<PatientDetails>)>,
    /// Id after which the search continues; `None` at the end.
    pub(crate) next: Option<Uuid>,
}

/// Returns at most `limit` active patients with this email, in the order of their ids after `after`.
///
/// The read table finds the patients. If no two patients share an email, the claim on the email also finds
/// the patient, so the search is strongly consistent, like reads by id.
///
/// # Errors
///
/// [`ReadError`].
pub(crate) async fn find(
    log: &EventLog,
    reads: &PatientReads,
    email: &Email,
    after: Option<Uuid>,
    limit: u32,
) -> Result<FoundByEmail, ReadError> {
    let claims = claims_of(log).await?;
    // One extra patient shows whether the search continues.
    let mut listed = match reads.ids_with_email(email.as_str(), after, limit + 1).await {
        // The claims find all patients except those who shared an email under an earlier rule.
        Err(error) if error.is_not_built() && claims.rule() == EmailUniqueness::Email => Vec::new(),
        listed => listed?,
    };
    let next = listed
        .get(limit as usize)
        .and_then(|_| listed.get(limit as usize - 1).copied());
    listed.truncate(limit as usize);
    let mut ids: BTreeSet<Uuid> = listed.into_iter().collect();
    if claims.rule() == EmailUniqueness::Email {
        let holder = claimed(log, reads, &claims, email).await?;
        let on_page =
            |id: &Uuid| after.is_none_or(|after| *id > after) && next.is_none_or(|next| *id <= next);
        ids.extend(holder.filter(on_page));
    }
    let last = ids.iter().nth(limit as usize - 1).copied();
    let found = try_join_all(ids.iter().map(|id| reads.by_id(*id))).await?;
    let key = mailbox_key(email.as_str());
    // The holder of the claim may be one patient too many.
    let cut = ids.len() > limit as usize;
    let patients: Vec<_> = ids
        .into_iter()
        .zip(found)
        .take(limit as usize)
        .filter_map(|(id, found)| match found {
            // The row may be older than the patient's last event.
            Found::Active(details, _) if mailbox_key(&details.email) == key => Some((id, details)),
            Found::Active(..) | Found::Deleted | Found::Erased | Found::Nothing => None,
        })
        .collect();
    let next = if cut { last } else { next };
    Ok(FoundByEmail { patients, next })
}

/// Whether a search finds the patient by its claim, so that its result does not depend on the read table.
///
/// # Errors
///
/// [`ReadError::Failed`] if the claims of the log are unknown.
pub(crate) async fn is_current(log: &EventLog) -> Result<bool, ReadError> {
    Ok(claims_of(log).await?.rule() == EmailUniqueness::Email)
}

/// Reads the claim rules of the log. A process that appends nothing would otherwise never learn that they
/// have changed.
async fn claims_of(log: &EventLog) -> Result<EmailClaims, ReadError> {
    let database = log.database();
    let sealing = database.sealing().cloned();
    match &sealing {
        Some(sealing) => sealing.set_claims(LogFormat::claims(database).await?),
        // If the log was sealed a moment ago, this process has not opened it yet.
        None if LogFormat::read(database).await? == LogFormat::Clear => {}
        None => {
            return Err(ReadError::from(eventstore::Error::from(SealingError::NotOpened)));
        }
    }
    EmailClaims::of(sealing).map_err(|error| {
        tracing::error!(%error, "the claims of the log are unknown");
        ReadError::Failed
    })
}

/// Returns the patient that holds the claim on an email.
async fn claimed(
    log: &EventLog,
    reads: &PatientReads,
    claims: &EmailClaims,
    email: &Email,
) -> Result<Option<Uuid>, ReadError> {
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
        Found::Active(details, _) if claims.claim(&details.email) == asked => Ok(Some(id)),
        // If the patient was deleted or got another email since, its claim is gone too, and no patient had
        // the email at that moment.
        Found::Active(..) | Found::Deleted | Found::Erased | Found::Nothing => {
            match holder(log, claim).await? {
                Some(still) if still == found => damaged(found),
                _ => Ok(None),
            }
        }
    }
}

async fn holder(log: &EventLog, claim: Claim) -> Result<Option<String>, ReadError> {
    let mut connection = log.database().reader().await?;
    Ok(claim.holder(&mut connection).await?)
}
