//! FHIR R4 Patient resources: the members that a registration has.

use domain::PatientDetails;
use serde::{Deserialize, Serialize};

/// A Patient resource. Other members are ignored.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Patient {
    pub(crate) resource_type: String,
    id: Option<String>,
    pub(crate) active: Option<bool>,
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
}

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
        };
        Self {
            resource_type: "Patient".to_owned(),
            id: Some(id),
            active: Some(true),
            name: vec![HumanName {
                usage: None,
                text: Some(details.name.clone()),
                family: None,
                given: Vec::new(),
            }],
            telecom: vec![contact("phone", &details.phone), contact("email", &details.email)],
            photo: vec![Attachment {
                url: Some(details.document_url.clone()),
            }],
        }
    }

    /// Returns id, name, email, phone and document URL.
    pub(crate) fn into_values(self) -> [Option<String>; 5] {
        let email = self.contact("email");
        let phone = self.contact("phone");
        let name = self
            .name
            .into_iter()
            .filter_map(|name| Some((preference(name.usage.as_deref()), name.into_text()?)))
            .min_by_key(|(preference, _)| *preference)
            .map(|(_, text)| text);
        let document_url = self
            .photo
            .into_iter()
            .filter_map(|photo| photo.url)
            .find(is_filled);
        [self.id, name, email, phone, document_url]
    }

    /// Returns the preferred contact of a system that has text.
    fn contact(&self, system: &str) -> Option<String> {
        let usable = self.telecom.iter().filter(|contact| {
            contact.system.as_deref() == Some(system) && contact.usage.as_deref() != Some("old")
        });
        // Rank 1 is the most preferred.
        usable
            .filter_map(|contact| Some((contact.rank, contact.value.clone().filter(is_filled)?)))
            .min_by_key(|(rank, _)| rank.unwrap_or(u32::MAX))
            .map(|(_, value)| value)
    }
}

#[expect(clippy::ptr_arg, reason = "Option::filter passes a reference to the value")]
fn is_filled(text: &String) -> bool {
    !text.trim().is_empty()
}

/// Returns the order of names by their use: the official name first, a former name last.
fn preference(usage: Option<&str>) -> u8 {
    match usage {
        Some("official") => 0,
        Some("usual") => 1,
        Some("old" | "maiden" | "anonymous") => 3,
        _ => 2,
    }
}

impl HumanName {
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
