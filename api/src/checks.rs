//! The checks of the configuration of this process, such as `patients check` makes.
//!
//! The checks belong to the program, which knows its settings. This module runs them on request, one run at a
//! time, and keeps the result for a moment, because each run connects to every server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use eventstore::{Clock, Timestamp};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use utoipa::ToSchema;

/// Time for which a result is kept.
const KEPT: Duration = Duration::from_secs(10);

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CheckLevel)]
pub enum Level {
    /// Nothing is wrong.
    Ok,
    /// The service works, but it is less safe, private or fast than it could be.
    Warning,
    /// The service does not work, or can lose acknowledged data.
    Error,
}

impl Level {
    /// Name of the level.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What one check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Finding {
    /// The severity.
    #[schema(example = "warning")]
    pub level: Level,
    /// What was checked, such as `DATABASE_URL 10.0.0.1:3306` or `keyring`.
    #[schema(example = "SMTP_URL")]
    pub subject: String,
    /// What was found, without passwords.
    #[schema(example = "not set: emails are written to files and not sent")]
    pub message: String,
    /// What to do. Absent if nothing is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "set SMTP_URL")]
    pub advice: Option<&'static str>,
}

impl Finding {
    /// Creates a finding without advice.
    pub fn new(level: Level, subject: &str, message: impl Into<String>) -> Self {
        Self {
            level,
            subject: subject.to_owned(),
            message: message.into(),
            advice: None,
        }
    }

    /// Creates a finding that nothing is wrong.
    pub fn ok(subject: &str, message: impl Into<String>) -> Self {
        Self::new(Level::Ok, subject, message)
    }

    /// Creates a warning.
    pub fn warning(subject: &str, message: impl Into<String>) -> Self {
        Self::new(Level::Warning, subject, message)
    }

    /// Creates a finding of an error.
    pub fn error(subject: &str, message: impl Into<String>) -> Self {
        Self::new(Level::Error, subject, message)
    }

    /// Adds what to do.
    #[must_use]
    pub fn advise(self, advice: &'static str) -> Self {
        Self {
            advice: Some(advice),
            ..self
        }
    }
}

/// The findings of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CheckReport {
    /// When the checks were made.
    #[schema(value_type = String, format = DateTime, example = "2026-11-24T08:38:47.323577Z")]
    checked_at: Timestamp,
    /// The findings, in the order of `patients check`.
    findings: Vec<Finding>,
    /// Number of warnings.
    #[schema(minimum = 0, example = 1)]
    warnings: usize,
    /// Number of errors.
    #[schema(minimum = 0, example = 0)]
    errors: usize,
}

impl CheckReport {
    fn new(findings: Vec<Finding>, checked_at: Timestamp) -> Self {
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        Self {
            checked_at,
            warnings: count(Level::Warning),
            errors: count(Level::Error),
            findings,
        }
    }
}

/// The checks of this process.
pub struct Checks {
    run: Box<dyn Fn() -> BoxFuture<'static, Vec<Finding>> + Send + Sync>,
    last: Mutex<Option<(Instant, CheckReport)>>,
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checks").finish_non_exhaustive()
    }
}

impl Checks {
    /// Creates the checks. `run` makes all checks once. It must end within a request's timeout, and its
    /// findings must contain no passwords.
    pub fn new<F>(run: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Vec<Finding>> + Send + 'static,
    {
        Self {
            run: Box::new(move || run().boxed()),
            last: Mutex::new(None),
        }
    }

    /// Returns the findings of a run in the last [`KEPT`]. Otherwise, makes the checks; a request that
    /// arrives meanwhile waits for the same result.
    pub(crate) async fn report(&self, clock: &Arc<dyn Clock>) -> CheckReport {
        let mut last = self.last.lock().await;
        if let Some((at, report)) = &*last
            && at.elapsed() < KEPT
        {
            return report.clone();
        }
        let report = CheckReport::new((self.run)().await, clock.now());
        *last = Some((Instant::now(), report.clone()));
        report
    }
}

#[cfg(test)]
mod tests;
