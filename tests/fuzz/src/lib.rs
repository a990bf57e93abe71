//! Properties that must hold for any input.
//!
//! Each target is a function that takes arbitrary bytes, passes them to the code that reads such bytes in the
//! service, and panics if a property does not hold. libFuzzer calls it with generated inputs (`scripts/fuzz`,
//! the programs in `fuzz/`). The test `tests/corpus.rs` calls it with the inputs in `fuzz/corpus`, so that
//! each earlier finding stays tested.
//!
//! # Adding a target
//!
//! 1. Write the function in a file of its own in this folder, and add it to [`TARGETS`].
//! 2. Add its program: `fuzz/fuzz_targets/NAME.rs`, and a `[[bin]]` in `fuzz/Cargo.toml`.
//! 3. Write some inputs by hand in `fuzz/corpus/NAME/`, and run `scripts/fuzz 600 NAME`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "for tests only: a panic is how a target reports a finding"
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

/// A function that panics if a property does not hold for the given bytes.
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

/// Returns the text before the first line break, and the text after it.
fn first_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}
