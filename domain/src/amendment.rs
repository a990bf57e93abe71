//! Parsing of a change to a patient's details.

use crate::registration::keep_error;
use crate::{DocumentUrl, Email, FieldError, Name, PatientDetails, PatientEvent, Phone, UrlSchemes};

/// The details of a patient to change. Details without a value are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Amendment {
    /// The new name.
    pub name: Option<Name>,
    /// The new email address.
    pub email: Option<Email>,
    /// The new phone number.
    pub phone: Option<Phone>,
    /// The new URL of the photo of the patient's document.
    pub document_url: Option<DocumentUrl>,
}

impl Amendment {
    /// Parses the given fields. The URL must have one of `schemes`.
    ///
    /// # Errors
    ///
    /// One [`FieldError`] for each invalid field, in the order of the parameters.
    pub fn parse_with(
        name: Option<&str>,
        email: Option<&str>,
        phone: Option<&str>,
        document_url: Option<&str>,
        schemes: &UrlSchemes,
    ) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let amendment = Self {
            name: name.and_then(|name| keep_error("name", Name::parse(name), &mut errors)),
            email: email.and_then(|email| keep_error("email", Email::parse(email), &mut errors)),
            phone: phone.and_then(|phone| keep_error("phone", Phone::parse(phone), &mut errors)),
            document_url: document_url.and_then(|url| {
                keep_error("document_url", DocumentUrl::parse_with(url, schemes), &mut errors)
            }),
        };
        if errors.is_empty() {
            Ok(amendment)
        } else {
            Err(errors)
        }
    }

    /// Returns the event with the fields that differ from `details`, or `None` if no field differs.
    #[must_use]
    pub fn changes(self, details: &PatientDetails) -> Option<PatientEvent> {
        let changed = |value: Option<String>, present: &str| value.filter(|value| value != present);
        let name = changed(self.name.map(String::from), &details.name);
        let email = changed(self.email.map(String::from), &details.email);
        let phone = changed(self.phone.map(String::from), &details.phone);
        let document_url = changed(self.document_url.map(String::from), &details.document_url);
        let any = [&name, &email, &phone, &document_url]
            .into_iter()
            .any(Option::is_some);
        any.then_some(PatientEvent::PatientAmended {
            name,
            email,
            phone,
            document_url,
        })
    }
}
