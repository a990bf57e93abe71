//! The rules of patient registration: one aggregate, [`Patient`], with its commands, events, values and
//! errors.
//!
//! Pure: no I/O, no clock, no database, no randomness. What a command does depends on the patient's events
//! alone.
//!
//! # Guarantees
//!
//! - A command holds parsed values, so an event is only ever made from input that passed every rule.
//! - An event holds plain strings, so history stays readable when the rules for new input change.
//! - Every event ever stored can be read: [`upcasters`] turns old shapes into the present one, and what
//!   cannot be read is an error, never a panic and never a guess.
//! - No error and no `Debug` output of this crate repeats a patient's data, so both can be logged.
//!
//! # Where things are
//!
//! | item | what |
//! |---|---|
//! | [`Patient`], [`PatientState`], [`PatientDetails`] | the aggregate |
//! | [`PatientCommand`], [`PatientError`] | what is asked of it, and how it refuses |
//! | [`PatientEvent`], [`StoredEventError`] | what happened, and reading it back from the log |
//! | [`Patient::replay`], [`Until`], [`StoredEvent`] | the patient at any point of its past |
//! | [`upcasters`] | old shapes of events |
//! | [`Registration`], [`FieldError`] | input parsed whole, with every bad field reported at once |
//! | [`Name`], [`Email`], [`Phone`], [`DocumentUrl`] | one value each, with its own rules and error |
//! | [`UrlSchemes`] | the schemes that the URL of a document may have |
//! | [`email_claim_key`] | when two emails count as the same |
//! | [`name_key`], [`NamePrefix`] | how names are searched: without case and accents |
//!
//! # Adding an event
//!
//! 1. Add a variant with named fields, and a constant for its type name, in `event.rs`; the compiler then
//!    names the matches to complete. Name the type in `EVENT_TYPES`, and its version in `current_version`.
//! 2. Apply it in `Patient::apply`, in `patient.rs`. Only state changes there: an event is a fact and is not
//!    refused.
//! 3. Add the command that causes it in `command.rs`, its rule in `Patient::decide`, and a variant in
//!    `error.rs` for each new way to be refused.
//! 4. Write the rule as given / when / then in `tests/rules.rs`, and pin the JSON in
//!    `tests/stored_events.rs`.
//!
//! # Changing an event
//!
//! Events already stored keep their shape. Change the variant, raise the version in `current_version`, and
//! add an upcaster from the version before at the end of the list in `upcast.rs`, with one event of the old
//! shape as a test.

mod command;
mod error;
mod event;
mod patient;
mod registration;
mod replay;
mod stored;
mod upcast;
mod values;

pub use command::PatientCommand;
pub use error::PatientError;
pub use event::{EVENT_TYPES, EVENT_VERSION, PATIENT_DELETED, PATIENT_REGISTERED, PatientEvent};
pub use patient::{Patient, PatientDetails, PatientState};
pub use registration::{FieldError, Registration, ValueError};
pub use replay::{StoredEvent, Until};
pub use stored::StoredEventError;
pub use upcast::upcasters;
pub use values::{
    ControlCharacter, DocumentUrl, DocumentUrlError, Email, EmailError, Name, NameError, NamePrefix,
    NamePrefixError, Phone, PhoneError, UrlSchemes, UrlSchemesError, email_claim_key, name_key,
    older_email_claim_key,
};
