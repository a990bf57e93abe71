//! The kinds of email.

/// A kind of email.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Template {
    /// Confirmation of a registration.
    PatientRegistered,
    /// Confirmation of a deletion.
    PatientDeleted,
}

impl Template {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::PatientRegistered, Self::PatientDeleted];

    /// Name in the ledger, in file names and in message ids: ASCII, at most 64 characters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PatientRegistered => "patient_registered",
            Self::PatientDeleted => "patient_deleted",
        }
    }

    /// Returns the kind with that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|template| template.name() == name)
    }

    /// Whether the email is cancelled when its patient is deleted.
    #[must_use]
    pub const fn ends_with_the_patient(self) -> bool {
        match self {
            Self::PatientRegistered => true,
            Self::PatientDeleted => false,
        }
    }
}
