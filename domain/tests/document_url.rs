//! Tests of which document URLs are accepted.

use domain::{ControlCharacter, DocumentUrl, DocumentUrlError, UrlSchemes, UrlSchemesError};
use proptest::prelude::*;
use url::Url;

#[test]
fn absolute_http_and_https_urls_are_valid_and_unchanged() {
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

fn not_http() -> DocumentUrlError {
    DocumentUrlError::Scheme(UrlSchemes::default())
}

#[test]
fn invisible_characters_are_dropped_around_a_url_but_not_inside() {
    let url = "https://example.com/Jose\u{301}/\u{200c}";
    for input in [
        format!("\u{feff}{url}x\n"),
        format!("\t{url}x\u{a0}\u{200b}"),
        format!("\u{202a}{url}x\u{202c}"),
    ] {
        assert_eq!(DocumentUrl::parse(&input).unwrap().as_str(), format!("{url}x"));
    }
    for control in ['\t', '\n', '\0', '\u{2028}', '\u{202e}', '\u{2066}'] {
        let url = format!("https://example.com/a{control}b");
        assert_eq!(DocumentUrl::parse(&url), Err(ControlCharacter.into()), "{url:?}");
    }
}

#[test]
fn a_host_is_an_address_or_a_valid_host_name() {
    for host in [
        "example.com.",
        "my_bucket.s3.amazonaws.com",
        "a--b.example",
        "r3---sn-4g5e.example",
        "foo-.example",
        "xn--espaa-rta.es",
        "ตัวอย่าง.ไทย",
        "例え.テスト",
        "😀.example",
        "intranet",
        "3com.example",
        "192.0.2.1:8080",
        "0x7f.1",
        "[::]",
        "[::1]:9000",
        "[2001:db8::192.0.2.1]",
        "ex%61mple.com",
    ] {
        for url in [format!("https://{host}"), format!("HTTP://{host}/x?y#z")] {
            assert!(
                DocumentUrl::parse(&url).is_ok(),
                "{url}: {:?}",
                DocumentUrl::parse(&url)
            );
        }
    }
    let long_label = "a".repeat(64);
    let long_name = format!("{}com", "abcdefg.".repeat(32));
    for host in [
        ".",
        "..",
        "...",
        "-",
        "--",
        "-.-",
        "_",
        "._.",
        "example..com",
        ".example.com",
        "example.com..",
        "-.com",
        "a.-",
        "%2e",
        "%2E%2e",
        "exa$mple.com",
        "exa(m)ple.com",
        "a,b.com",
        "a;b",
        "*.example.com",
        "~",
        "'",
        "!",
        &long_label,
        &long_name,
        "\u{3002}",
    ] {
        for url in [
            format!("http://{host}"),
            format!("https://{host}/photo.jpg"),
            format!("http://{host}?x"),
        ] {
            assert_eq!(DocumentUrl::parse(&url), Err(DocumentUrlError::NoHost), "{url}");
        }
    }
    for host in [
        "%20",
        "exa%20mple.com",
        "[",
        "[]",
        "[::1",
        "[:::]",
        "256.1.1.1",
        "1.2.3.4.5",
        "\u{ad}",
        "xn--a",
        "a^b",
    ] {
        assert!(DocumentUrl::parse(&format!("http://{host}/x")).is_err(), "{host}");
    }
}

#[test]
fn only_the_configured_schemes_are_accepted() {
    let schemes: UrlSchemes = " HTTPS, s3 ,https,".parse().unwrap();
    assert_eq!(schemes.to_string(), "https:// or s3://");
    for url in [
        "https://example.com/x",
        "HttpS://example.com/x",
        "s3://my-bucket/a/b.jpg",
        "S3://bucket",
    ] {
        assert!(
            DocumentUrl::parse_with(url, &schemes).is_ok(),
            "{url}: {:?}",
            DocumentUrl::parse_with(url, &schemes)
        );
    }
    for url in [
        "http://example.com/x",
        "s3:/bucket/x",
        "s3:bucket",
        "javascript://example.com/%0aalert(1)",
    ] {
        let refused = DocumentUrl::parse_with(url, &schemes).unwrap_err();
        assert_eq!(refused.to_string(), "must start with https:// or s3://", "{url}");
    }
    for url in ["s3://", "s3:///key", "s3://./x", "s3://user@bucket/x"] {
        assert!(DocumentUrl::parse_with(url, &schemes).is_err(), "{url}");
    }
    let three: UrlSchemes = "http,https,ftp".parse().unwrap();
    assert_eq!(three.to_string(), "http://, https:// or ftp://");
}

#[test]
fn a_list_of_schemes_is_not_empty_and_contains_no_scheme_that_runs_scripts() {
    for (list, error) in [
        ("", UrlSchemesError::Empty),
        (" , ", UrlSchemesError::Empty),
        ("https://", UrlSchemesError::Malformed("https://".to_owned())),
        ("https:", UrlSchemesError::Malformed("https:".to_owned())),
        ("http https", UrlSchemesError::Malformed("http https".to_owned())),
        ("3s", UrlSchemesError::Malformed("3s".to_owned())),
        ("*", UrlSchemesError::Malformed("*".to_owned())),
        (
            "https,JavaScript",
            UrlSchemesError::Unsafe("javascript".to_owned()),
        ),
        ("data", UrlSchemesError::Unsafe("data".to_owned())),
        ("vbscript", UrlSchemesError::Unsafe("vbscript".to_owned())),
        ("file", UrlSchemesError::Unsafe("file".to_owned())),
        ("blob", UrlSchemesError::Unsafe("blob".to_owned())),
    ] {
        assert_eq!(list.parse::<UrlSchemes>(), Err(error), "{list:?}");
    }
}

#[test]
fn anything_else_is_rejected_with_a_reason() {
    for (url, error) in [
        ("", DocumentUrlError::Empty),
        ("  ", DocumentUrlError::Empty),
        ("URL a la foto", not_http()),
        ("example.com/photo.jpg", not_http()),
        ("//example.com/photo.jpg", not_http()),
        ("/photo.jpg", not_http()),
        ("ftp://example.com/photo.jpg", not_http()),
        ("file:///etc/passwd", not_http()),
        ("javascript:alert(1)", not_http()),
        ("javascript://example.com/%0aalert(1)", not_http()),
        ("data:image/png;base64,AAAA", not_http()),
        ("https:example.com", not_http()),
        ("https:/example.com", not_http()),
        ("https:\\\\example.com", not_http()),
        ("see https://example.com", not_http()),
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
fn a_url_has_at_most_4096_characters() {
    let start = "https://example.com/";
    for letter in ["a", "ñ"] {
        let longest = format!("{start}{}", letter.repeat(4096 - start.len()));
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
