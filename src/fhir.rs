//! FHIR R4 Patient resources: the members that a registration has.

use domain::PatientDetails;
use serde::{Deserialize, Serialize};

/// A Patient resource. Other members are ignored.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Patient {
    pub(crate) resource_type: String,
    id: Option<String>,
    active: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deceased_boolean: Option<bool>,
    /// A date or a time, or only a year.
    #[serde(skip_serializing_if = "Option::is_none")]
    deceased_date_time: Option<String>,
    #[serde(default)]
    name: Vec<HumanName>,
    #[serde(default)]
    telecom: Vec<ContactPoint>,
    #[serde(default)]
    photo: Vec<Attachment>,
}

#[derive(Serialize, Deserialize)]
struct HumanName {
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    usage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<String>,
    /// An item is null if it has only extensions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    given: Vec<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<Period>,
}

#[derive(Serialize, Deserialize)]
struct ContactPoint {
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    usage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rank: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<Period>,
}

/// When a name or a contact is or was in use.
#[derive(Serialize, Deserialize)]
struct Period {
    /// The last time, with any precision from a year to a fraction of a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
}

/// How the value of a contact begins if the resource was converted from a format that writes contacts as
/// URIs, such as CDA. FHIR writes only the number or the address, because `system` says what it is.
const SCHEMES: [(&str, &str); 2] = [("email", "mailto:"), ("phone", "tel:")];

#[derive(Serialize, Deserialize)]
struct Attachment {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

impl Patient {
    /// Returns the resource of an active patient.
    pub(crate) fn of(id: String, details: &PatientDetails) -> Self {
        let contact = |system: &str, value: &str| ContactPoint {
            system: Some(system.to_owned()),
            value: Some(value.to_owned()),
            usage: None,
            rank: None,
            period: None,
        };
        Self {
            resource_type: "Patient".to_owned(),
            id: Some(id),
            active: Some(true),
            deceased_boolean: None,
            deceased_date_time: None,
            name: vec![HumanName {
                usage: None,
                text: Some(details.name.clone()),
                family: None,
                given: Vec::new(),
                period: None,
            }],
            telecom: vec![contact("phone", &details.phone), contact("email", &details.email)],
            photo: vec![Attachment {
                url: Some(details.document_url.clone()),
            }],
        }
    }

    /// Whether the record of the patient is in use. A resource without `active` is.
    pub(crate) fn is_active(&self) -> bool {
        self.active != Some(false)
    }

    /// Whether the patient has died.
    pub(crate) fn is_deceased(&self) -> bool {
        self.deceased_boolean == Some(true) || self.deceased_date_time.as_ref().is_some_and(is_filled)
    }

    /// Returns id, name, email, phone and document URL. `today` is a date in the form `2026-01-31`.
    pub(crate) fn into_values(self, today: &str) -> [Option<String>; 5] {
        let [email, phone] = SCHEMES.map(|(system, scheme)| self.contact(system, scheme, today));
        let name = self
            .name
            .into_iter()
            .filter_map(|name| Some((name.preference(today), name.into_text()?)))
            .min_by_key(|(preference, _)| *preference)
            .map(|(_, text)| text);
        let document_url = self
            .photo
            .into_iter()
            .filter_map(|photo| photo.url)
            .find(is_filled);
        [self.id, name, email, phone, document_url]
    }

    /// Returns the preferred contact of a system that has text, without the scheme.
    fn contact(&self, system: &str, scheme: &str, today: &str) -> Option<String> {
        let usable = self.telecom.iter().filter(|contact| {
            contact.system.as_deref() == Some(system)
                && contact.usage.as_deref() != Some("old")
                && !has_ended(contact.period.as_ref(), today)
        });
        // Rank 1 is the most preferred.
        usable
            .filter_map(|contact| {
                let value = without_scheme(contact.value.as_deref()?.trim(), scheme);
                (!value.is_empty()).then(|| (contact.rank, value.to_owned()))
            })
            .min_by_key(|(rank, _)| rank.unwrap_or(u32::MAX))
            .map(|(_, value)| value)
    }
}

fn without_scheme<'v>(value: &'v str, scheme: &str) -> &'v str {
    match value.split_at_checked(scheme.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(scheme) => rest.trim_start(),
        _ => value,
    }
}

/// Whether a period ended before today. A date that is only a year or a month includes all its days.
fn has_ended(period: Option<&Period>, today: &str) -> bool {
    let ended = |end: &str| {
        let date = end.get(..end.len().min(today.len()))?;
        Some(date < today.get(..date.len())?)
    };
    let end = period.and_then(|period| period.end.as_deref());
    end.and_then(ended).unwrap_or(false)
}

#[expect(clippy::ptr_arg, reason = "Option::filter passes a reference to the value")]
fn is_filled(text: &String) -> bool {
    !text.trim().is_empty()
}

impl HumanName {
    /// Returns the order of names by their use: the official name first, a former name last.
    fn preference(&self, today: &str) -> u8 {
        match self.usage.as_deref() {
            _ if has_ended(self.period.as_ref(), today) => 3,
            Some("official") => 0,
            Some("usual") => 1,
            Some("old" | "maiden" | "anonymous") => 3,
            _ => 2,
        }
    }

    fn into_text(self) -> Option<String> {
        self.text.filter(is_filled).or_else(|| {
            let parts = self.given.into_iter().flatten().chain(self.family);
            let parts: Vec<String> = parts.filter(is_filled).collect();
            (!parts.is_empty()).then(|| parts.join(" "))
        })
    }
}

#[cfg(test)]
mod tests;
