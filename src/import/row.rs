//! Rows as they are read, and the patients that they describe.

use domain::{FieldError, Import, ImportSource, OldId, Registration, UrlSchemes};
use serde::Serialize;
use url::form_urlencoded::byte_serialize;

/// A field of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Field {
    Id,
    Name,
    Email,
    Phone,
    DocumentUrl,
}

impl Field {
    pub(super) const ALL: [Self; 5] = [Self::Id, Self::Name, Self::Email, Self::Phone, Self::DocumentUrl];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Name => "name",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::DocumentUrl => "document_url",
        }
    }
}

/// Place of a row in its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// Line of a file, from 1.
    Line(u64),
    /// Old id in a table.
    Id(i64),
}

/// The values of a row, in the order of [`Field::ALL`]. `Debug` is not implemented, because they are personal
/// data.
pub(super) struct Row {
    pub(super) place: Place,
    pub(super) values: [Option<String>; 5],
}

/// What was read at a place.
pub(super) enum Read {
    Row(Row),
    /// There is no readable patient at this place.
    Unfit(Unfit),
}

/// Kind of the reason why a row is not imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Code {
    /// The field is missing or empty.
    Missing,
    /// The value breaks the rules.
    Invalid,
    /// Another active patient has the email or, by the rule of the log, the email and the name.
    Taken,
    /// A patient with this old id, another name and another email was imported before.
    Differs,
    /// The lines of the row cannot be read.
    Malformed,
    /// The row is too long.
    TooLong,
    /// The line has another resource than a patient.
    NotAPatient,
    /// The patient is marked as not active, or as deceased.
    Inactive,
}

impl Code {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Invalid => "invalid",
            Self::Taken => "taken",
            Self::Differs => "differs",
            Self::Malformed => "malformed",
            Self::TooLong => "too long",
            Self::NotAPatient => "not a patient",
            Self::Inactive => "inactive",
        }
    }
}

/// A reason why a row is not imported. It contains no value of the row, except the id in a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Unfit {
    #[serde(flatten)]
    pub(super) place: Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<Field>,
    pub(super) code: Code,
    pub(super) reason: String,
}

impl Unfit {
    /// A reason about the whole row.
    pub(super) fn whole(place: Place, code: Code, reason: &str) -> Self {
        Self {
            place,
            field: None,
            code,
            reason: reason.to_owned(),
        }
    }
}

/// Rules for the rows of an import.
pub(super) struct Rules {
    pub(super) source: ImportSource,
    pub(super) schemes: UrlSchemes,
    /// Document URL for patients without a document URL; `{id}` stands for the old id.
    pub(super) document_url: Option<String>,
    pub(super) confirmation: bool,
}

impl Row {
    /// Parses the row by the rules of a registration. All invalid fields are reported together.
    pub(super) fn parse(self, rules: &Rules) -> Result<Import, Vec<Unfit>> {
        let place = self.place;
        let [id, name, email, phone, document_url] = self
            .values
            .map(|value| value.filter(|value| !value.trim().is_empty()));
        let document_url = document_url.or_else(|| {
            let template = rules.document_url.as_deref()?;
            let id: String = byte_serialize(id.as_deref()?.trim().as_bytes()).collect();
            Some(template.replace("{id}", &id))
        });
        let values = [&id, &name, &email, &phone, &document_url];
        let is_missing = |field: Field| {
            let mut fields = Field::ALL.into_iter().zip(values);
            fields.any(|(of, value)| of == field && value.is_none())
        };
        let unfit = |field: Field, reason: String| Unfit {
            place,
            field: Some(field),
            code: if is_missing(field) {
                Code::Missing
            } else {
                Code::Invalid
            },
            reason,
        };
        let mut reasons = Vec::new();
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let old_id = OldId::parse(&text(&id))
            .map_err(|error| reasons.push(unfit(Field::Id, error.to_string())))
            .ok();
        let registration = Registration::parse_with(
            &text(&name),
            &text(&email),
            &text(&phone),
            &text(&document_url),
            &rules.schemes,
        )
        .map_err(|errors| {
            for FieldError { field, error } in errors {
                let known = Field::ALL.into_iter().find(|known| known.name() == field);
                reasons.extend(known.map(|field| unfit(field, error.to_string())));
            }
        })
        .ok();
        match (old_id, registration) {
            (Some(old_id), Some(registration)) => Ok(Import {
                registration,
                source: rules.source.clone(),
                old_id,
                confirmation: rules.confirmation,
            }),
            _ => Err(reasons),
        }
    }
}
