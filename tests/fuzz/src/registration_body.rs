//! The body of a registration.

use api::fuzzing::registration;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::{Email, Name, Phone, Registration};
use eventstore::fuzzing::strict_value;
use serde_json::{Value, json};

const FIELDS: [&str; 4] = ["name", "email", "phone", "document_url"];

/// Reads a request body. An accepted body is a JSON object with four strings, each present once. A rejected
/// body is reported as the client's error.
pub fn registration_body(data: &[u8]) {
    match registration(data) {
        Ok(registration) => is_in(data, &registration),
        Err(error) => {
            let status = error.into_response().status();
            let json = serde_json::from_slice::<Value>(data).is_ok();
            assert!(matches!(
                (status, json),
                (StatusCode::UNPROCESSABLE_ENTITY, _) | (StatusCode::BAD_REQUEST, false)
            ));
        }
    }
}

fn is_in(body: &[u8], registration: &Registration) {
    let text = str::from_utf8(body).expect("JSON is UTF-8");
    // One byte order mark is ignored.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let value = strict_value(text).expect("no member is there twice");
    let members = value.as_object().unwrap();
    assert_eq!(members.len(), FIELDS.len());
    let sent = FIELDS.map(|field| members[field].as_str().unwrap());
    let Registration {
        name,
        email,
        phone,
        document_url,
    } = registration;
    let read = [
        name.as_str(),
        email.as_str(),
        phone.as_str(),
        document_url.as_str(),
    ];
    let [name_sent, email_sent, phone_sent, url_sent] = sent;
    assert_eq!(Name::parse(name_sent).as_ref(), Ok(name));
    assert_eq!(Email::parse(email_sent).as_ref(), Ok(email));
    assert_eq!(Phone::parse(phone_sent).as_ref(), Ok(phone));
    assert!(url_sent.contains(document_url.as_str()));
    let again = json!({"document_url": read[3], "phone": read[2], "name": read[0], "email": read[1]});
    assert_eq!(
        &api::fuzzing::registration(again.to_string().as_bytes()).unwrap(),
        registration
    );
}
