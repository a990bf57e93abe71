//! What must hold of any input.
//!
//! Each target is a function that takes bytes from anywhere, hands them to what reads such bytes in the
//! service, and panics if something does not hold. libFuzzer calls it with inputs that it makes up
//! (`scripts/fuzz`, the programs in `fuzz/`), and the test `tests/corpus.rs` with those that are kept in
//! `fuzz/corpus`, so that what was found once is not forgotten.
//!
//! # Adding a target
//!
//! 1. Write the function here, one file each, and name it in [`TARGETS`].
//! 2. Add its program, `fuzz/fuzz_targets/NAME.rs` and `[[bin]]` in `fuzz/Cargo.toml`.
//! 3. Write some inputs by hand into `fuzz/corpus/NAME/`, and run `scripts/fuzz 600 NAME`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "for tests only: whatever fails here is a finding, and says what"
)]

mod canonical_json;
mod headers;
mod mail;
mod proof;
mod query;
mod registration_body;
mod settings;
mod smtp;
mod stored_event;
mod values;

pub use canonical_json::canonical_json;
pub use headers::headers;
pub use mail::mail;
pub use proof::proof;
pub use query::query;
pub use registration_body::registration_body;
pub use settings::settings;
pub use smtp::smtp;
pub use stored_event::stored_event;
pub use values::values;

/// A function that something must hold in, whatever bytes it is given.
pub type Target = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: [(&str, Target); 10] = [
    ("canonical_json", canonical_json),
    ("headers", headers),
    ("mail", mail),
    ("proof", proof),
    ("query", query),
    ("registration_body", registration_body),
    ("settings", settings),
    ("smtp", smtp),
    ("stored_event", stored_event),
    ("values", values),
];

/// The text up to the first line break, and what follows it.
fn first_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}
