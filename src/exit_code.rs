//! Exit codes of failed commands.

use tlog::Alarm;

/// The command could not compute its answer.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no answer")]
pub(crate) struct NoAnswer;

/// The proof is consistent, but there is no trusted head or key to compare it with.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error(
    "nothing is proved without a trusted head: pass one with --trusted, or for a tlog-proof a verifier key with --key"
)]
pub(crate) struct NothingTrusted;

/// Patients were erased, but the log has events of them from before it was sealed.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(crate) enum LeftInClear {
    /// One patient, with this number of events.
    #[error(
        "{0} events of the patient stay readable in the log, because they were recorded before it was sealed"
    )]
    Events(usize),
    /// This number of patients.
    #[error(
        "events of {0} patients stay readable in the log, because they were recorded before it was sealed"
    )]
    Patients(u64),
}

/// A published log contradicts what was seen before, or is silent. The context of the error describes the
/// details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Alarmed {
    /// The log does not extend the log that was seen before.
    #[error("alarm: fork")]
    Fork,
    /// The log is smaller than the log that was seen before.
    #[error("alarm: shrunken log")]
    Shrunk,
    /// A checkpoint is not signed by a trusted key.
    #[error("alarm: signature")]
    Signature,
    /// The log is silent.
    #[error("alarm: silence")]
    Silence,
}

impl From<&Alarm> for Alarmed {
    fn from(alarm: &Alarm) -> Self {
        match alarm {
            Alarm::Fork { .. } => Self::Fork,
            Alarm::Shrunk { .. } => Self::Shrunk,
            _ => Self::Signature,
        }
    }
}

/// This number of rows was not imported, because they do not fit the rules.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("rows were not imported, because they do not fit the rules: {0}")]
pub(crate) struct NotImported(pub(crate) u64);

/// Returns the exit code of a command that ended with this error.
pub(crate) fn of(error: &anyhow::Error) -> u8 {
    if error.is::<NoAnswer>() {
        2
    } else if error.is::<NothingTrusted>() {
        3
    } else if error.is::<LeftInClear>() {
        4
    } else if error.is::<NotImported>() {
        5
    } else {
        match error.downcast_ref() {
            Some(Alarmed::Fork) => 5,
            Some(Alarmed::Shrunk) => 6,
            Some(Alarmed::Signature) => 7,
            Some(Alarmed::Silence) => 8,
            None => 1,
        }
    }
}
