//! The values in a patient's registration.

use domain::{DocumentUrl, Email, Name, NameQuery, Phone, Registration, email_claim_key, name_key};
use url::Url;

/// Parses a text as each of the values. An accepted value is within its limits, contains nothing that affects
/// the text around it, and is unchanged when it is parsed again.
pub fn values(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let parsed = (
        Name::parse(text),
        Email::parse(text),
        Phone::parse(text),
        DocumentUrl::parse(text),
    );
    if let Ok(name) = &parsed.0 {
        kept(name.as_str());
        assert_eq!(Name::parse(name.as_str()).as_ref(), Ok(name));
        assert!((1..=Name::MAX_CODE_POINTS).contains(&name.as_str().chars().count()));
        found(name);
        assert_eq!(format!("{name:?}"), "Name(..)");
    }
    if let Ok(email) = &parsed.1 {
        kept(email.as_str());
        assert_eq!(Email::parse(email.as_str()).as_ref(), Ok(email));
        assert!(email.as_str().len() <= Email::MAX_BYTES);
        assert_eq!(email.as_str().matches('@').count(), 1);
        assert_eq!(format!("{email:?}"), "Email(..)");
        claimed(email);
    }
    if let Ok(phone) = &parsed.2 {
        kept(phone.as_str());
        assert_eq!(Phone::parse(phone.as_str()).as_ref(), Ok(phone));
        assert!((Phone::MIN_DIGITS..=Phone::MAX_CHARS).contains(&phone.as_str().chars().count()));
        assert!(!phone.as_str().contains(is_directional));
        assert_eq!(format!("{phone:?}"), "Phone(..)");
    }
    if let Ok(url) = &parsed.3 {
        kept(url.as_str());
        assert!(text.contains(url.as_str()) && !url.as_str().contains(is_directional));
        assert_eq!(DocumentUrl::parse(url.as_str()).as_ref(), Ok(url));
        assert!(url.as_str().chars().count() <= DocumentUrl::MAX_CHARS);
        assert_eq!(format!("{url:?}"), "DocumentUrl(..)");
        leads_to_a_host(url);
    }
    let key = name_key(text);
    assert!((1..=64).contains(&key.chars().count()) && !key.ends_with(' '));
    let as_all = Registration::parse(text, text, text, text);
    let good = parsed.0.is_ok() && parsed.1.is_ok() && parsed.2.is_ok() && parsed.3.is_ok();
    assert_eq!(as_all.is_ok(), good);
}

/// Checks that the value cannot break a line, cannot change the direction of the text after it, and has no
/// whitespace at its ends.
fn kept(value: &str) {
    assert!(!value.is_empty() && !value.contains(char::is_control));
    assert!(!value.contains(['\u{2028}', '\u{2029}', '\u{202d}', '\u{202e}']));
    assert_eq!(value.trim(), value);
    let count = |characters: &[char]| value.matches(characters).count();
    assert_eq!(count(&['\u{202a}', '\u{202b}']), count(&['\u{202c}']));
    assert_eq!(count(&['\u{2066}', '\u{2067}', '\u{2068}']), count(&['\u{2069}']));
}

fn is_directional(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Checks that a search for the whole name finds the patient, if the name is short enough to search for.
fn found(name: &Name) {
    if let Ok(query) = NameQuery::parse(name.as_str()) {
        assert!(query.matches_name(name.as_str()));
    }
}

/// Checks that each mailbox has only one key.
fn claimed(email: &Email) {
    let key = email.claim_key();
    assert_eq!(email_claim_key(email.as_str()), key);
    assert_eq!(email_claim_key(&key), key, "a key is its own key");
    let capitals = email.as_str().to_ascii_uppercase();
    assert_eq!(email_claim_key(&capitals), key, "capitals make no other mailbox");
    let (_, domain) = key.rsplit_once('@').unwrap();
    assert!(domain.is_ascii(), "{domain} is not what mail is delivered to");
}

/// Checks that a browser opens the host in the URL, and that the URL contains no user and no password.
fn leads_to_a_host(url: &DocumentUrl) {
    let read = Url::parse(url.as_str()).expect("it is a URL");
    assert!(matches!(read.scheme(), "http" | "https"));
    assert!(read.has_host() && read.username().is_empty() && read.password().is_none());
    let (_, rest) = url.as_str().split_once("//").unwrap();
    let authority = rest.split(['/', '?', '#']).next().unwrap();
    let alone = Url::parse(&format!("http://{authority}/")).expect("its host is one by itself");
    assert_eq!(alone.host(), read.host());
}
