//! The kinds of mail.

/// A kind of mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Template {
    /// The confirmation of a registration.
    PatientRegistered,
    /// The confirmation of a deletion.
    PatientDeleted,
}

impl Template {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::PatientRegistered, Self::PatientDeleted];

    /// Its name in the ledger, in file names and in message ids; ASCII, at most 64 characters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PatientRegistered => "patient_registered",
            Self::PatientDeleted => "patient_deleted",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|template| template.name() == name)
    }

    /// Whether it is not sent any more once its patient is deleted.
    #[must_use]
    pub const fn ends_with_the_patient(self) -> bool {
        match self {
            Self::PatientRegistered => true,
            Self::PatientDeleted => false,
        }
    }
}
