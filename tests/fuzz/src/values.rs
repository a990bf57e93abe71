//! The values that a patient is made of.

use domain::{DocumentUrl, Email, Name, Phone, Registration, email_claim_key};
use url::Url;

/// Parses a text as each of the values. One that is taken is within its bounds, holds nothing that changes what is around it,
/// and is taken again as it is.
pub fn values(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let parsed = (
        Name::parse(text),
        Email::parse(text),
        Phone::parse(text),
        DocumentUrl::parse(text),
    );
    if let Ok(name) = &parsed.0 {
        kept(text, name.as_str());
        assert_eq!(Name::parse(name.as_str()).as_ref(), Ok(name));
        assert!((1..=Name::MAX_CHARS).contains(&name.as_str().chars().count()));
        assert_eq!(format!("{name:?}"), "Name(..)");
    }
    if let Ok(email) = &parsed.1 {
        kept(text, email.as_str());
        assert_eq!(Email::parse(email.as_str()).as_ref(), Ok(email));
        assert!(email.as_str().len() <= Email::MAX_BYTES);
        assert_eq!(email.as_str().matches('@').count(), 1);
        assert_eq!(format!("{email:?}"), "Email(..)");
        claimed(email);
    }
    if let Ok(phone) = &parsed.2 {
        kept(text, phone.as_str());
        assert_eq!(Phone::parse(phone.as_str()).as_ref(), Ok(phone));
        assert!(phone.as_str().is_ascii());
        assert!((Phone::MIN_CHARS..=Phone::MAX_CHARS).contains(&phone.as_str().len()));
        assert_eq!(format!("{phone:?}"), "Phone(..)");
    }
    if let Ok(url) = &parsed.3 {
        kept(text, url.as_str());
        assert_eq!(DocumentUrl::parse(url.as_str()).as_ref(), Ok(url));
        assert!(url.as_str().chars().count() <= DocumentUrl::MAX_CHARS);
        assert_eq!(format!("{url:?}"), "DocumentUrl(..)");
        leads_to_a_host(url);
    }
    let as_all = Registration::parse(text, text, text, text);
    let good = parsed.0.is_ok() && parsed.1.is_ok() && parsed.2.is_ok() && parsed.3.is_ok();
    assert_eq!(as_all.is_ok(), good);
}

/// Only spaces around it were dropped, and what is left shows all there is.
fn kept(given: &str, value: &str) {
    assert_eq!(given.trim_matches(' '), value);
    assert!(!value.is_empty() && !value.contains(char::is_control));
    assert!(!value.contains(
        |c| matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    ));
}

/// One mailbox has one key.
fn claimed(email: &Email) {
    let key = email.claim_key();
    assert_eq!(email_claim_key(email.as_str()), key);
    assert_eq!(email_claim_key(&key), key, "a key is its own key");
    let capitals = email.as_str().to_ascii_uppercase();
    assert_eq!(email_claim_key(&capitals), key, "capitals make no other mailbox");
    let (_, domain) = key.rsplit_once('@').unwrap();
    assert!(domain.is_ascii(), "{domain} is not what mail is delivered to");
}

/// Browsers find a host in it, the one that is written there, and nobody's password.
fn leads_to_a_host(url: &DocumentUrl) {
    let read = Url::parse(url.as_str()).expect("it is a URL");
    assert!(matches!(read.scheme(), "http" | "https"));
    assert!(read.has_host() && read.username().is_empty() && read.password().is_none());
    let (_, rest) = url.as_str().split_once("//").unwrap();
    let authority = rest.split(['/', '?', '#']).next().unwrap();
    let alone = Url::parse(&format!("http://{authority}/")).expect("its host is one by itself");
    assert_eq!(alone.host(), read.host());
}
