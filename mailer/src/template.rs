//! The kinds of email.

/// A kind of email.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Template {
    /// Confirmation of a registration.
    PatientRegistered,
    /// Notice of an amendment.
    PatientAmended,
    /// Notice to the previous address that the patient's email address was changed.
    PatientEmailChanged,
    /// Confirmation of a deletion.
    PatientDeleted,
}

/// The point in a patient's history whose name and address an email uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressedAs {
    /// After the patient's last event.
    Newest,
    /// Before the event that caused the email.
    BeforeTheEvent,
}

impl Template {
    /// All kinds.
    pub const ALL: [Self; 4] = [
        Self::PatientRegistered,
        Self::PatientAmended,
        Self::PatientEmailChanged,
        Self::PatientDeleted,
    ];

    /// Name in the ledger, in file names and in message ids: ASCII, at most 64 characters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PatientRegistered => "patient_registered",
            Self::PatientAmended => "patient_amended",
            Self::PatientEmailChanged => "patient_email_changed",
            Self::PatientDeleted => "patient_deleted",
        }
    }

    /// Returns the kind with that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|template| template.name() == name)
    }

    /// Whether the email is cancelled when its patient is deleted.
    ///
    /// The notice to the previous address is not cancelled: it warns a patient whose registration another
    /// person may have changed, and that person could otherwise suppress the warning by deleting the patient.
    #[must_use]
    pub const fn ends_with_the_patient(self) -> bool {
        match self {
            Self::PatientRegistered | Self::PatientAmended => true,
            Self::PatientEmailChanged | Self::PatientDeleted => false,
        }
    }

    /// Point in the patient's history whose name and address the email uses. With the newest state, an email
    /// that waits goes to a corrected address.
    pub(crate) const fn addressed_as(self) -> AddressedAs {
        match self {
            Self::PatientRegistered | Self::PatientAmended => AddressedAs::Newest,
            Self::PatientEmailChanged | Self::PatientDeleted => AddressedAs::BeforeTheEvent,
        }
    }
}
