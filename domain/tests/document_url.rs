//! Which document URLs are accepted.

use domain::{DocumentUrl, DocumentUrlError};
use proptest::prelude::*;
use url::Url;

#[test]
fn absolute_http_and_https_urls_are_valid_and_kept_as_written() {
    for url in [
        "https://example.com/photo.jpg",
        "http://romero-buchanan.com/",
        "http://example.com",
        "HTTPS://Example.COM/Photo.JPG",
        "https://example.com:8443/a/../b?page=1&tag[]=x|y#top",
        "https://example.com?x=1",
        "https://example.com/a%20b.png",
        "https://example.com/@ana/photo",
        "https://example.com/?mail=ana@example.com",
        "https://españa.es/documentación.pdf",
        "https://192.0.2.1/photo",
        "https://[2001:db8::1]:8080/photo",
        "http://localhost:9000/bucket/photo.png",
    ] {
        assert_eq!(DocumentUrl::parse(&format!(" {url} ")).unwrap().as_str(), url);
    }
}

#[test]
fn anything_else_is_refused_with_the_reason() {
    for (url, error) in [
        ("", DocumentUrlError::Empty),
        ("  ", DocumentUrlError::Empty),
        ("URL a la foto", DocumentUrlError::NotHttp),
        ("example.com/photo.jpg", DocumentUrlError::NotHttp),
        ("//example.com/photo.jpg", DocumentUrlError::NotHttp),
        ("/photo.jpg", DocumentUrlError::NotHttp),
        ("ftp://example.com/photo.jpg", DocumentUrlError::NotHttp),
        ("file:///etc/passwd", DocumentUrlError::NotHttp),
        ("javascript:alert(1)", DocumentUrlError::NotHttp),
        ("javascript://example.com/%0aalert(1)", DocumentUrlError::NotHttp),
        ("data:image/png;base64,AAAA", DocumentUrlError::NotHttp),
        ("https:example.com", DocumentUrlError::NotHttp),
        ("https:/example.com", DocumentUrlError::NotHttp),
        ("https:\\\\example.com", DocumentUrlError::NotHttp),
        ("see https://example.com", DocumentUrlError::NotHttp),
        ("https://", DocumentUrlError::NoHost),
        ("https:///photo.jpg", DocumentUrlError::NoHost),
        ("https://?x", DocumentUrlError::NoHost),
        ("https://#x", DocumentUrlError::NoHost),
        ("https://:443/photo", DocumentUrlError::NoHost),
        ("https://user:pass@example.com/", DocumentUrlError::Credentials),
        ("https://user@example.com/", DocumentUrlError::Credentials),
        ("https://:pass@example.com/", DocumentUrlError::Credentials),
        ("https://@example.com/", DocumentUrlError::Credentials),
        (
            "https://example.com\\@evil.example/",
            DocumentUrlError::UnexpectedCharacter,
        ),
        (
            "https://example.com/my photo.jpg",
            DocumentUrlError::UnexpectedCharacter,
        ),
        (
            "https://example.com/my\u{a0}photo.jpg",
            DocumentUrlError::UnexpectedCharacter,
        ),
        (
            "https://example.com/\"><script>",
            DocumentUrlError::UnexpectedCharacter,
        ),
        (
            "https://example.com:99999/",
            DocumentUrlError::Malformed(url::ParseError::InvalidPort),
        ),
        (
            "https://[2001:db8::1/",
            DocumentUrlError::Malformed(url::ParseError::InvalidIpv6Address),
        ),
        (
            "https://192.0.2.999/",
            DocumentUrlError::Malformed(url::ParseError::InvalidIpv4Address),
        ),
    ] {
        assert_eq!(DocumentUrl::parse(url), Err(error), "{url}");
    }
}

#[test]
fn a_url_has_at_most_2048_characters() {
    let start = "https://example.com/";
    for letter in ["a", "ñ"] {
        let longest = format!("{start}{}", letter.repeat(2048 - start.len()));
        assert!(DocumentUrl::parse(&longest).is_ok());
        assert_eq!(
            DocumentUrl::parse(&format!("{longest}a")),
            Err(DocumentUrlError::TooLong)
        );
    }
}

proptest! {
    #[test]
    fn an_accepted_url_keeps_its_bounds_and_parses_to_itself(
        input in prop_oneof![
            any::<String>(),
            "(https?|HTTP|ftp):/{0,3}\\PC{0,60}",
            "https?://[a-z0-9.@:\\[\\]\\\\-]{0,20}[/?#]?[!-~]{0,40}",
        ],
    ) {
        if let Ok(document_url) = DocumentUrl::parse(&input) {
            let text = document_url.as_str();
            prop_assert!(text.chars().count() <= DocumentUrl::MAX_CHARS);
            prop_assert!(!text.contains(|c: char| c.is_control() || c.is_whitespace()));
            let url = Url::parse(text).unwrap();
            prop_assert!(matches!(url.scheme(), "http" | "https"));
            prop_assert!(url.host_str().is_some_and(|host| !host.is_empty()));
            prop_assert!(url.username().is_empty() && url.password().is_none());
            prop_assert_eq!(DocumentUrl::parse(text), Ok(document_url.clone()));
        }
    }

    #[test]
    fn any_plain_web_address_is_valid(
        origin in "https?://[a-z]{1,12}(\\.[a-z]{2,8}){1,3}(:[1-9][0-9]{0,3})?",
        path in "(/[A-Za-z0-9._~%-]{0,12}){0,4}(\\?[a-z=&0-9]{0,20})?",
    ) {
        let url = format!("{origin}{path}");
        prop_assert!(DocumentUrl::parse(&url).is_ok());
    }
}
