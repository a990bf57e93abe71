use super::*;

fn parsed(url: &str) -> Server {
    parse(url, None).unwrap()
}

fn parse(url: &str, authorities: Option<&[u8]>) -> Result<Server, SmtpUrlError> {
    let options = SmtpOptions {
        extra_authorities: authorities.map(<[u8]>::to_vec),
        ehlo: "clinic.example".parse().unwrap(),
    };
    Server::parse(url, &options)
}

#[test]
fn each_form_has_its_port_and_encryption() {
    for (url, described) in [
        ("smtps://u:p@smtp.gmail.com", "smtp.gmail.com:465 over TLS"),
        ("smtps://smtp.gmail.com:4465", "smtp.gmail.com:4465 over TLS"),
        (
            "smtp://u:p@mx.example?tls=required",
            "mx.example:587 over STARTTLS",
        ),
        (
            "smtp://mx.example:25?tls=opportunistic",
            "mx.example:25 over STARTTLS if offered",
        ),
        ("smtp://127.0.0.1:2525", "127.0.0.1:2525 without encryption"),
        ("smtp://localhost", "localhost:25 without encryption"),
        ("smtp://[::1]:25", "[::1]:25 without encryption"),
        ("smtps://[2001:db8::1]", "[2001:db8::1]:465 over TLS"),
    ] {
        assert_eq!(parsed(url).describe(), described, "{url}");
    }
}

#[test]
fn user_and_password_are_percent_decoded() {
    let credentials = |url| parsed(url).credentials;
    let expected = |user: &str, password: &str| Some(Credentials::new(user.to_owned(), password.to_owned()));
    assert_eq!(
        credentials("smtps://me%40gmail.com:a%2Fb%3Fc%23d%25@smtp.gmail.com"),
        expected("me@gmail.com", "a/b?c#d%")
    );
    assert_eq!(credentials("smtps://u:a+b&c=d%20é@h"), expected("u", "a+b&c=d é"));
    assert_eq!(credentials("smtps://h"), None);
}

#[test]
fn a_path_is_the_ehlo_name() {
    let named = |url| parsed(url).hello.client_id(None).to_string();
    assert_eq!(named("smtp://localhost/mail.example.com"), "mail.example.com");
    assert_eq!(named("smtp://localhost"), "clinic.example");
}

#[test]
fn an_error_contains_the_expected_form_and_never_the_password() {
    for (url, expected) in [
        ("", "expected smtps://user"),
        ("smtp.gmail.com:465", "expected smtps://user"),
        ("http://u:hunter2@h", "expected smtps://user"),
        ("smtp:hunter2", "expected smtps://user"),
        ("smtp://", "expected smtps://user"),
        ("smtp://u:hunter2@h:port", "expected smtps://user"),
        ("smtp://u:hunter2@h?tls=yes", "expected nothing after the host"),
        (
            "smtps://u:hunter2@h?tls=required",
            "expected nothing after the host",
        ),
        ("smtp://u:hunter2@h?ssl=1", "expected nothing after the host"),
        (
            "smtp://u:hunter2@h?tls=required&tls=required",
            "expected nothing after the host",
        ),
        ("smtps://u:hunter2#x@h", "expected"),
        ("smtps://u:hunter2/x@h", "expected"),
        ("smtp://hunter2@h", "expected both a user and a password"),
        ("smtp://:hunter2@h", "expected both a user and a password"),
        ("smtp://u:hunter2@h", "expected ?tls=required"),
        ("smtp://u:hunter2@h?auth=ntlm", "expected nothing after the host"),
        (
            "smtps://u:hunter2@h?auth=plain&auth=login",
            "expected nothing after the host",
        ),
    ] {
        let Err(error) = parse(url, None) else {
            panic!("{url} was taken")
        };
        let said = format!("{error} {error:?}");
        assert!(error.to_string().starts_with(expected), "{url}: {error}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn only_loopback_hosts_are_used_without_encryption_by_default() {
    for url in [
        "smtp://localhost",
        "smtp://127.0.0.9",
        "smtp://[::1]",
        "smtp://mail:1025?tls=none",
    ] {
        assert!(matches!(parsed(url).encryption, Encryption::None), "{url}");
    }
    for url in [
        "smtp://mail:1025",
        "smtp://10.0.0.1",
        "smtp://localhost.example.com",
    ] {
        assert!(matches!(parse(url, None), Err(SmtpUrlError::Plain)), "{url}");
    }
}

#[test]
fn the_authentication_mechanism_is_configurable() {
    assert_eq!(parsed("smtps://u:p@h").mechanisms, DEFAULT_MECHANISMS);
    for (url, mechanism) in [
        ("smtps://u:p@h?auth=plain", Mechanism::Plain),
        ("smtp://u:p@h?tls=required&auth=login", Mechanism::Login),
        ("smtps://u:token@h?auth=xoauth2", Mechanism::Xoauth2),
    ] {
        assert_eq!(parsed(url).mechanisms, [mechanism], "{url}");
    }
}

#[test]
fn an_extra_authority_must_be_a_certificate() {
    let wrong = b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n";
    let parsed = parse("smtps://h", Some(wrong));
    assert!(matches!(parsed, Err(SmtpUrlError::Authorities(_))));
}

#[test]
fn a_file_without_a_certificate_is_rejected_with_any_encryption() {
    let key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for file in [&b""[..], b"a certificate in DER, or another file", key] {
        for url in ["smtps://h", "smtp://h?tls=required", "smtp://127.0.0.1"] {
            let parsed = parse(url, Some(file));
            assert!(matches!(parsed, Err(SmtpUrlError::NoAuthority)), "{url}");
        }
    }
}

#[test]
fn a_transport_shows_no_secret() {
    let transport = crate::Transport::smtp(
        "smtps://user:hunter2@smtp.gmail.com:465",
        &crate::SmtpOptions::default(),
    )
    .unwrap();
    assert_eq!(transport.describe(), "smtp.gmail.com:465 over TLS");
    assert!(!format!("{transport:?}").contains("hunter2"));
    assert_eq!(
        crate::Transport::outbox("data/outbox").describe(),
        "files in data/outbox"
    );
}
