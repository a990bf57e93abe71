//! Patients that are imported from another service.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{PatientEvent, Registration};

/// Maximum length of the name of a source, in characters.
const LONGEST_SOURCE: usize = 64;
/// Maximum length of an old id, in characters.
const LONGEST_ID: usize = 128;

/// Name of the service or table that patients are imported from: 1 to 64 ASCII letters, digits, `-`, `_` and
/// `.`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImportSource(String);

/// A malformed name of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to {LONGEST_SOURCE} ASCII letters, digits, hyphens, underscores and dots")]
pub struct ImportSourceError;

impl ImportSource {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name `patients`, which is the name of the table of the service that this service replaces.
impl Default for ImportSource {
    fn default() -> Self {
        Self("patients".to_owned())
    }
}

impl FromStr for ImportSource {
    type Err = ImportSourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if text.is_empty() || text.len() > LONGEST_SOURCE || !text.bytes().all(allowed) {
            return Err(ImportSourceError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ImportSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Id that a patient had in the service it was imported from. `Debug` omits it, because it is personal data.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OldId(String);

/// Reason why an old id was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OldIdError {
    /// The id is missing, or is only white space.
    #[error("must not be empty")]
    Empty,
    /// The id is too long.
    #[error("must be at most {LONGEST_ID} characters long")]
    TooLong,
    /// The id has a control character.
    #[error("must not contain control characters")]
    ControlCharacter,
}

impl OldId {
    /// Parses an id. White space around it is removed.
    ///
    /// # Errors
    ///
    /// [`OldIdError`].
    pub fn parse(text: &str) -> Result<Self, OldIdError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(OldIdError::Empty);
        }
        if text.chars().nth(LONGEST_ID).is_some() {
            return Err(OldIdError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(OldIdError::ControlCharacter);
        }
        Ok(Self(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OldId").finish_non_exhaustive()
    }
}

/// The registration of a patient who already was a patient of another service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Import {
    /// Values of the patient.
    pub registration: Registration,
    /// The service that the patient is imported from.
    pub source: ImportSource,
    /// Id of the patient in that service.
    pub old_id: OldId,
    /// Whether the registration is confirmed by email.
    pub confirmation: bool,
}

/// Where an imported patient comes from, as stored in [`PatientEvent::PatientRegistered`]. `Debug` omits the
/// id, because it is personal data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportedFrom {
    /// Name of the service or table.
    pub source: String,
    /// Id of the patient there.
    pub id: String,
}

impl fmt::Debug for ImportedFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportedFrom")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl From<Import> for PatientEvent {
    fn from(import: Import) -> Self {
        let Registration {
            name,
            email,
            phone,
            document_url,
        } = import.registration;
        Self::PatientRegistered {
            name: name.into(),
            email: email.into(),
            phone: phone.into(),
            document_url: document_url.into(),
            imported_from: Some(ImportedFrom {
                source: import.source.0,
                id: import.old_id.0,
            }),
            confirmation: import.confirmation,
        }
    }
}
