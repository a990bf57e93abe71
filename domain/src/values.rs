//! Values of a patient. Each value is parsed once, when the program receives it, and is valid from then on.
//!
//! Parsing trims white space and invisible characters of every kind, and rejects control characters and line
//! breaks inside the text. Names, phone numbers and email addresses are stored in Normalization Form C. No
//! value implements `Display`, and `Debug` shows only the type name, so a value reaches a log only through an
//! explicit `as_str`.

/// Implements the common methods and traits of a value for a struct that contains one string.
macro_rules! value {
    ($value:ident) => {
        impl $value {
            /// The normalized text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $value {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<$value> for String {
            fn from(value: $value) -> Self {
                value.0
            }
        }

        impl std::fmt::Debug for $value {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($value)).finish_non_exhaustive()
            }
        }
    };
}

mod direction;
mod document_url;
mod email;
mod host;
mod name;
mod name_key;
mod name_words;
mod phone;
mod text;

pub use document_url::{DocumentUrl, DocumentUrlError, UrlSchemes, UrlSchemesError};
pub use email::{Email, EmailError, email_claim_key, mailbox_key, older_email_claim_key};
pub use name::{Name, NameError};
pub use name_key::name_key;
pub(crate) use name_key::person_key;
pub use name_words::{NameQuery, NameQueryError, name_words, prefix_end};
pub use phone::{Phone, PhoneError};
pub use text::ControlCharacter;
