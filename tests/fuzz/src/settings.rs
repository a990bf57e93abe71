//! Text written by operators: the mail settings and the token file.

use std::sync::LazyLock;

use mailer::{Dkim, EnhancedCode, Languages, Sender, SmtpOptions, Transport};
use url::Url;
use web::access::Tokens;

/// The first test key of RFC 8032 §7.1.
const DKIM_KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
";

/// Parses a text as each of the settings. The displayed form of an accepted value is accepted as well, and no
/// secret is displayed.
pub fn settings(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    smtp_url(text);
    if let Ok(sender) = text.parse::<Sender>() {
        let again: Sender = sender.to_string().parse().unwrap();
        assert_eq!(again.to_string(), sender.to_string());
        assert!(sender.domain().is_ascii() && !sender.to_string().contains(char::is_control));
    }
    if let Ok(languages) = text.parse::<Languages>() {
        assert_eq!(languages.to_string().parse(), Ok(languages));
    }
    if let Some(code) = EnhancedCode::leading(text) {
        assert!(text.trim_start().starts_with(code.class.to_string().as_str()));
        assert_eq!(EnhancedCode::leading(&code.to_string()), Some(code));
    }
    dkim(text);
    tokens(text);
}

fn smtp_url(text: &str) {
    static OPTIONS: LazyLock<SmtpOptions> = LazyLock::new(SmtpOptions::default);
    match Transport::smtp(text, &OPTIONS) {
        Ok(transport) => {
            let said = transport.describe();
            assert!(
                !said.contains(['@', '/', '?']) && !said.contains(char::is_control),
                "{said}"
            );
            let url = Url::parse(text.trim()).expect("it is a URL");
            let (user, password) = (url.username(), url.password().unwrap_or_default());
            assert_eq!(user.is_empty(), password.is_empty());
        }
        Err(error) => {
            let said = error.to_string();
            assert!(
                said.starts_with("expected") || said.starts_with("TLS cannot"),
                "{said}"
            );
        }
    }
}

fn dkim(text: &str) {
    let (selector, domain) = crate::first_line(text);
    if let Ok(dkim) = Dkim::new(DKIM_KEY, selector, domain) {
        let place = format!("Dkim {{ place: \"{selector}._domainkey.{domain}\", .. }}");
        assert_eq!(format!("{dkim:?}"), place);
        assert!(selector.is_ascii() && domain.is_ascii() && !domain.contains(char::is_whitespace));
    }
    if text.starts_with("-----BEGIN")
        && let Err(error) = Dkim::new(text, "mail", "example.com")
    {
        assert!(error.to_string().starts_with("expected") || error.to_string().starts_with("an RSA key"));
    }
}

fn tokens(text: &str) {
    match Tokens::parse(text) {
        Ok(tokens) => {
            let count = tokens.count();
            assert!(count <= 1000);
            // The same hash must not occur twice.
            let twice = Tokens::parse(&format!("{text}\n{text}"));
            assert_eq!(twice.is_ok(), count == 0);
        }
        Err(error) => {
            let said = error.to_string();
            assert!(
                said.starts_with("line ") || said.starts_with("there are more"),
                "{said}"
            );
        }
    }
}
