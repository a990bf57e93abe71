//! `GET /checks`: the checks of the configuration of this process.

use axum::Json;
use axum::extract::State;
use serde_json::json;
use web::RouteKind;
use web::routes::Routes;

use crate::checks::CheckReport;
use crate::openapi::{Described, Media, fields};
use crate::state::Api;

pub(super) fn routes() -> Routes<Api> {
    Routes::new().get("/checks", RouteKind::Operate, checks, described)
}

fn described() -> Described {
    let example = json!({
        "checked_at": "2026-11-24T08:38:47.323577Z", "warnings": 1, "errors": 0,
        "findings": [
            {"level": "ok", "subject": "DATABASE_URL db1:3306", "message": "MySQL 9.7.4, accepts writes"},
            {
                "level": "warning", "subject": "SMTP_URL", "message": "not set: emails are written to files and not sent",
                "advice": "set SMTP_URL",
            },
        ],
    });
    Described::new(
        "Check the configuration",
        "Makes the checks of `patients check` with the settings of the process that responds: whether its servers, files and \
         settings are fit for real patients. Changes nothing. A process makes the checks once at a time, and keeps the result for \
         10 s. A check that takes longer than three quarters of `REQUEST_TIMEOUT` is reported as an error.",
    )
    .answers(
        200,
        "The findings.",
        [Media::json::<CheckReport>(example)],
        [fields::cache_control("no-store")],
    )
}

/// Returns the findings.
async fn checks(State(api): State<Api>) -> Json<CheckReport> {
    Json(api.checks.report(&api.clock).await)
}
