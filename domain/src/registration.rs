//! A registration, parsed whole from what a person typed.

use crate::{
    DocumentUrl, DocumentUrlError, Email, EmailError, Name, NameError, Phone, PhoneError, UrlSchemes,
};

/// What a patient is registered with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Registration {
    /// The patient's name.
    pub name: Name,
    /// Where the confirmation is sent; no two active patients share one.
    pub email: Email,
    /// The patient's phone number.
    pub phone: Phone,
    /// Where the photo of the patient's document is.
    pub document_url: DocumentUrl,
}

/// One field that was refused, and why.
///
/// Displayed as a sentence that starts with the field, such as `phone must be at most 64 characters long`;
/// `error` alone is the same without the field. Neither repeats what was typed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} {error}")]
pub struct FieldError {
    /// The field's name: `name`, `email`, `phone` or `document_url`.
    pub field: &'static str,
    /// Why it was refused.
    pub error: ValueError,
}

/// Why a value was refused, whichever value it was.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// The name was refused.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The email address was refused.
    #[error(transparent)]
    Email(#[from] EmailError),
    /// The phone number was refused.
    #[error(transparent)]
    Phone(#[from] PhoneError),
    /// The document's URL was refused.
    #[error(transparent)]
    DocumentUrl(#[from] DocumentUrlError),
}

impl Registration {
    /// Parses the four fields, the URL with a default scheme.
    ///
    /// # Errors
    ///
    /// As [`Registration::parse_with`].
    pub fn parse(
        name: &str,
        email: &str,
        phone: &str,
        document_url: &str,
    ) -> Result<Registration, Vec<FieldError>> {
        Self::parse_with(name, email, phone, document_url, &UrlSchemes::default())
    }

    /// Parses the four fields, the URL with one of `schemes`.
    ///
    /// # Errors
    ///
    /// One [`FieldError`] for every field that its value's `parse` refuses, in the order of the parameters.
    pub fn parse_with(
        name: &str,
        email: &str,
        phone: &str,
        document_url: &str,
        schemes: &UrlSchemes,
    ) -> Result<Registration, Vec<FieldError>> {
        let mut errors = Vec::new();
        let name = keep_error("name", Name::parse(name), &mut errors);
        let email = keep_error("email", Email::parse(email), &mut errors);
        let phone = keep_error("phone", Phone::parse(phone), &mut errors);
        let document_url = keep_error(
            "document_url",
            DocumentUrl::parse_with(document_url, schemes),
            &mut errors,
        );
        match (name, email, phone, document_url) {
            (Some(name), Some(email), Some(phone), Some(document_url)) => Ok(Registration {
                name,
                email,
                phone,
                document_url,
            }),
            _ => Err(errors),
        }
    }
}

fn keep_error<T, E: Into<ValueError>>(
    field: &'static str,
    parsed: Result<T, E>,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    match parsed {
        Ok(value) => Some(value),
        Err(error) => {
            errors.push(FieldError {
                field,
                error: error.into(),
            });
            None
        }
    }
}
