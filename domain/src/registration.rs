//! Parsing of a registration's input.

use crate::{
    DocumentUrl, DocumentUrlError, Email, EmailError, Name, NameError, Phone, PhoneError, UrlSchemes,
};

/// The values with which a patient is registered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Registration {
    /// The patient's name.
    pub name: Name,
    /// The patient's email address, to which the confirmation is sent. By default, no two active patients
    /// share an address.
    pub email: Email,
    /// The patient's phone number.
    pub phone: Phone,
    /// URL of the photo of the patient's document.
    pub document_url: DocumentUrl,
}

/// A rejected field and the reason.
///
/// `Display` starts with the field name, for example `phone must be at most 64 characters long`. Displaying
/// `error` alone omits the field name. Neither text contains the input.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} {error}")]
pub struct FieldError {
    /// Name of the field: `name`, `email`, `phone` or `document_url`.
    pub field: &'static str,
    /// Reason for the rejection.
    pub error: ValueError,
}

/// Reason why any of the values was rejected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// The name was rejected.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The email address was rejected.
    #[error(transparent)]
    Email(#[from] EmailError),
    /// The phone number was rejected.
    #[error(transparent)]
    Phone(#[from] PhoneError),
    /// The document URL was rejected.
    #[error(transparent)]
    DocumentUrl(#[from] DocumentUrlError),
}

impl Registration {
    /// Parses the four fields. The URL must have a default scheme.
    ///
    /// # Errors
    ///
    /// Same as [`Registration::parse_with`].
    pub fn parse(
        name: &str,
        email: &str,
        phone: &str,
        document_url: &str,
    ) -> Result<Registration, Vec<FieldError>> {
        Self::parse_with(name, email, phone, document_url, &UrlSchemes::default())
    }

    /// Parses the four fields. The URL must have one of `schemes`.
    ///
    /// # Errors
    ///
    /// One [`FieldError`] for each invalid field, in the order of the parameters.
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

/// Returns the parsed value, or adds its error to `errors`.
pub(crate) fn keep_error<T, E: Into<ValueError>>(
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
