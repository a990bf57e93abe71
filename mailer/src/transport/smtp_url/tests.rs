use super::*;

fn parsed(url: &str) -> Server {
    Server::parse(url).unwrap()
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
fn a_path_is_the_name_to_introduce_oneself_by() {
    assert_eq!(
        parsed("smtp://h/mail.example.com").hello,
        ClientId::Domain("mail.example.com".to_owned())
    );
    assert_eq!(parsed("smtp://h").hello, ClientId::default());
}

#[test]
fn what_is_wrong_says_what_was_expected_and_never_the_password() {
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
    ] {
        let Err(error) = Server::parse(url) else {
            panic!("{url} was taken")
        };
        let said = format!("{error} {error:?}");
        assert!(error.to_string().starts_with(expected), "{url}: {error}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_transport_shows_no_secret() {
    let transport = crate::Transport::smtp("smtps://user:hunter2@smtp.gmail.com:465").unwrap();
    assert_eq!(transport.describe(), "smtp.gmail.com:465 over TLS");
    assert!(!format!("{transport:?}").contains("hunter2"));
    assert_eq!(
        crate::Transport::outbox("data/outbox").describe(),
        "files in data/outbox"
    );
}
