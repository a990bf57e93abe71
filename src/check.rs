//! `patients check`: whether the servers, files and settings of this configuration are ready for production.
//!
//! The command changes nothing and publishes nothing. It prints one finding for each check that succeeds, and
//! one for each problem, with advice.

mod database;
mod server;
mod services;
mod witnesses;

use clap::ValueEnum as _;
use serde::Serialize;
use serde_json::json;

use crate::output::{self, OutputFormat};
use crate::settings::Settings;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
enum Level {
    Ok,
    /// The service works, but it is less safe, private or fast than it could be.
    Warning,
    /// The service does not work, or can lose acknowledged data.
    Error,
}

/// One line of the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    level: Level,
    /// What was checked, such as `database 10.0.0.1:3306` or `keyring`.
    subject: String,
    message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
}

impl Finding {
    fn new(level: Level, subject: &str, message: impl Into<String>) -> Self {
        Self {
            level,
            subject: subject.to_owned(),
            message: message.into(),
            advice: None,
        }
    }

    fn ok(subject: &str, message: impl Into<String>) -> Self {
        Self::new(Level::Ok, subject, message)
    }

    fn warning(subject: &str, message: impl Into<String>) -> Self {
        Self::new(Level::Warning, subject, message)
    }

    fn error(subject: &str, message: impl Into<String>) -> Self {
        Self::new(Level::Error, subject, message)
    }

    fn advise(self, advice: &'static str) -> Self {
        Self {
            advice: Some(advice),
            ..self
        }
    }
}

/// The configuration has errors.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{0} of the checks found an error")]
struct Errors(usize);

/// Checks the configuration. Fails if a check finds an error; warnings do not count.
pub(crate) async fn run(settings: &Settings, format: OutputFormat) -> anyhow::Result<()> {
    let mut findings = database::check(settings).await;
    findings.extend(services::check(settings).await);
    findings.extend(witnesses::check(settings).await);
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
    let level = finding.level.to_possible_value();
    let level = level.as_ref().map_or("", |level| level.get_name());
    let mut line = format!("{level:<8} {}: {}", finding.subject, finding.message);
    if let Some(advice) = finding.advice {
        line.push_str("\n         ");
        line.push_str(advice);
    }
    line
}
