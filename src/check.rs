//! `patients check`: whether the servers, files and settings of this configuration are ready for production.
//!
//! The command changes nothing and publishes nothing. It prints one finding for each check that succeeds, and
//! one for each problem, with advice.

mod database;
mod server;
mod services;
mod witnesses;

use std::sync::Arc;
use std::time::Duration;

use api::checks::{Checks, Finding, Level};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use serde_json::json;

use crate::output::{self, OutputFormat};
use crate::settings::Settings;

/// A group of checks, which wait for the same server. The name is the subject of the finding if the group
/// takes too long.
struct Group<'s> {
    subject: &'static str,
    checks: BoxFuture<'s, Vec<Finding>>,
}

impl<'s> Group<'s> {
    fn new(subject: &'static str, checks: impl Future<Output = Vec<Finding>> + Send + 's) -> Self {
        Self {
            subject,
            checks: checks.boxed(),
        }
    }
}

/// Makes all checks. A group that does not finish within `limit` is an error.
pub(crate) async fn findings(settings: &Settings, limit: Option<Duration>) -> Vec<Finding> {
    let mut groups = database::groups(settings);
    groups.extend(services::groups(settings));
    groups.push(Group::new("WITNESSES", witnesses::check(settings)));
    let findings = groups.into_iter().map(async |Group { subject, checks }| {
        let Some(limit) = limit else {
            return checks.await;
        };
        tokio::time::timeout(limit, checks).await.unwrap_or_else(|_| {
            let message = format!("no answer within {limit:?}");
            vec![
                Finding::error(subject, message)
                    .advise("check whether the server is overloaded or unreachable"),
            ]
        })
    });
    join_all(findings).await.concat()
}

/// Returns the checks that the API makes on request. They end within the timeout of a request.
pub(crate) fn for_api(settings: &Settings) -> Checks {
    let mut settings = settings.clone();
    settings.wait = Duration::ZERO;
    let limit = settings.request_timeout * 3 / 4;
    let settings = Arc::new(settings);
    Checks::new(move || {
        let settings = Arc::clone(&settings);
        async move { findings(&settings, Some(limit)).await }
    })
}

/// The configuration has errors.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{0} of the checks found an error")]
struct Errors(usize);

/// Checks the configuration. Fails if a check finds an error; warnings do not count.
pub(crate) async fn run(settings: &Settings, format: OutputFormat) -> anyhow::Result<()> {
    let findings = findings(settings, None).await;
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (warnings, errors) = (count(Level::Warning), count(Level::Error));
    if format.json {
        output::print_pretty_json(&json!({
            "findings": findings, "warnings": warnings, "errors": errors,
        }))?;
    } else {
        let lines: Vec<_> = findings.iter().map(line).collect();
        output::print(&lines.join("\n"))?;
    }
    if errors > 0 {
        return Err(Errors(errors).into());
    }
    Ok(())
}

fn line(finding: &Finding) -> String {
    let level = finding.level.name();
    let mut line = format!("{level:<8} {}: {}", finding.subject, finding.message);
    if let Some(advice) = finding.advice {
        line.push_str("\n         ");
        line.push_str(advice);
    }
    line
}
