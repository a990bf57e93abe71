//! `GET /patients/{id}`: one patient, as it is; with `?at=`, as it was.

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::register::PatientBody;
use super::{PatientId, audit};
use crate::Api;
use crate::access::{AUDITORS, Caller};
use crate::headers::etag;
use crate::problem::ApiError;
use crate::query::Query;
use crate::reads::Found;

pub(super) async fn get(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    PatientId(id): PatientId,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    if let Some(query) = query {
        let mut query = Query::parse(Some(&query));
        let moment = query.moment("at");
        query.finish()?;
        if let Some(moment) = moment {
            AUDITORS.check(Some(&caller))?;
            return audit::at(&api, id, moment).await;
        }
    }
    match api.reads.by_id(id).await? {
        Found::Active(details, sequence) => {
            let body = PatientBody::new(id, &details);
            Ok(([(header::ETAG, etag(sequence))], Json(body)).into_response())
        }
        Found::Deleted => Err(ApiError::PatientDeleted),
        Found::Nothing => Err(ApiError::PatientNotFound),
    }
}
