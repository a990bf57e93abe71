//! The rules of patient registration: one aggregate, [`Patient`], with its commands, events, values and
//! errors.
//!
//! The crate is pure: it uses no I/O, clock, database or randomness. The result of a command depends only on
//! the command and the patient's events.
//!
//! # Guarantees
//!
//! - Commands contain parsed values, so events are created only from valid input.
//! - Events contain plain strings, so history stays readable when the rules for new input change.
//! - Every event that an earlier version stored can be read: [`upcasters`] converts old shapes to the current
//!   shape. Any other input causes an error. It never causes a panic, and its meaning is never guessed.
//! - No error and no `Debug` output of this crate contains patient data, so both can be logged.
//!
//! # Overview
//!
//! | item | purpose |
//! |---|---|
//! | [`Patient`], [`PatientState`], [`PatientDetails`] | the aggregate |
//! | [`PatientCommand`], [`PatientError`] | commands, and the errors with which a patient rejects them |
//! | [`PatientEvent`], [`EventType`], [`StoredEventError`] | events, and reading them from the log |
//! | [`Hold`], [`HoldReason`] | protection of a patient from erasure |
//! | [`evolve()`] | the effect of each event on a patient |
//! | [`Patient::replay`], [`Until`], [`ReplayEvent`] | past states of a patient |
//! | [`upcasters`] | conversion of old event shapes |
//! | [`Registration`], [`Amendment`], [`FieldError`] | parsed input, with all invalid fields reported together |
//! | [`Import`], [`ImportSource`], [`OldId`] | the registration of a patient of another service |
//! | [`Name`], [`Email`], [`Phone`], [`DocumentUrl`] | single values, each with its own rules and errors |
//! | [`UrlSchemes`] | allowed schemes of document URLs |
//! | [`mailbox_key`], [`email_claim_key`] | equality of email addresses, in sealed and in unencrypted logs |
//! | [`EmailUniqueness`] | which active patients may share an email address |
//! | [`name_key`] | key of a name with which version 0.1 searches |
//! | [`name_words`], [`NameQuery`], [`prefix_end`] | search for names by the beginnings of any words |
//!
//! # Adding an event
//!
//! 1. In `event.rs`, add a variant with named fields, and in `event_type.rs`, add its type to the list. The
//!    compiler then reports each `match` that lacks them. If the event has personal data, it must be in
//!    `EventType::is_personal`, and its fields in `PERSONAL_FIELDS`: otherwise, the data is stored
//!    unencrypted.
//! 2. Add its effect in `evolve.rs`. An event is a fact, so [`evolve()`] only changes the details and never
//!    rejects the event.
//! 3. Add the command that causes the event in `command.rs`, its rule in `Patient::decide`, and a variant in
//!    `error.rs` for each new reason to reject the command.
//! 4. Test the rule in given/when/then form in `tests/rules.rs`, and compare the JSON with a fixed text in
//!    `tests/stored_events.rs`.
//!
//! # Changing an event
//!
//! Stored events keep their shape. Change the variant, raise its version in `current_versions`, and append an
//! upcaster from the previous version to the list in `upcast.rs`. Add an event of the old shape as a test. If
//! the event has personal data, add its version to `SEALED_VERSIONS`.
//!
//! An optional member needs no upcaster: keep the previous version in `current_versions`, and store an event
//! with the new version only if it has the member, so that earlier programs can read the other events
//! (`PatientRegistered` 1.1).

mod amendment;
mod command;
mod details;
mod error;
mod event;
mod event_type;
mod evolve;
mod hold;
mod import;
mod patient;
mod registration;
mod replay;
mod stored;
mod uniqueness;
mod upcast;
mod values;

pub use amendment::Amendment;
pub use command::PatientCommand;
pub use details::PatientDetails;
pub use error::PatientError;
pub use event::{
    ErasureReason, ErasureScope, PERSONAL_FIELDS, PatientEvent, SEALED_VERSIONS, is_sealed_version,
};
pub use event_type::{
    EVENT_TYPES, EventType, PATIENT_AMENDED, PATIENT_DELETED, PATIENT_ERASED, PATIENT_HELD,
    PATIENT_HOLD_RELEASED, PATIENT_REGISTERED, current_versions, is_personal,
};
pub use evolve::evolve;
pub use hold::{Hold, HoldReason};
pub use import::{Import, ImportSource, ImportSourceError, ImportedFrom, OldId, OldIdError};
pub use patient::{Patient, PatientState};
pub use registration::{FieldError, Registration, ValueError};
pub use replay::{ReplayEvent, Until};
pub use stored::StoredEventError;
pub use uniqueness::{EmailUniqueness, EmailUniquenessError};
pub use upcast::upcasters;
pub use values::{
    ControlCharacter, DocumentUrl, DocumentUrlError, Email, EmailError, Name, NameError, NameQuery,
    NameQueryError, Phone, PhoneError, UrlSchemes, UrlSchemesError, email_claim_key, mailbox_key, name_key,
    name_words, older_email_claim_key, prefix_end,
};
