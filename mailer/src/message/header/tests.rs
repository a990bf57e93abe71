use super::*;

const TO: HeaderName = HeaderName::new_from_ascii_str("To");
const SUBJECT: HeaderName = HeaderName::new_from_ascii_str("Subject");

/// Returns the `To` field as it is sent.
fn to(name: &str) -> String {
    let mailbox = Mailbox::new(Some(name.to_owned()), "ana@example.com".parse().unwrap());
    let mut headers = lettre::message::header::Headers::new();
    headers.insert_raw(super::mailbox(TO, &mailbox));
    headers.to_string().trim_end().to_owned()
}

fn subject(text: &str) -> String {
    let mut headers = lettre::message::header::Headers::new();
    headers.insert_raw(super::text(SUBJECT, text));
    headers.to_string().trim_end().to_owned()
}

/// Decodes a value as a mail program does: unfolds lines, removes quotes, and joins encoded words without the
/// space between them (RFC 2047 §6.2).
fn read(value: &str) -> String {
    let unfolded = value.replace("\r\n ", " ");
    if let Some(quoted) = unfolded.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        let mut characters = quoted.chars();
        let mut text = String::new();
        while let Some(character) = characters.next() {
            text.push(if character == '\\' {
                characters.next().unwrap()
            } else {
                character
            });
        }
        return text;
    }
    if !unfolded.starts_with("=?") {
        return unfolded;
    }
    let decoded: Vec<u8> = unfolded
        .split(' ')
        .flat_map(|word| {
            let base64 = word
                .strip_prefix("=?utf-8?b?")
                .unwrap()
                .strip_suffix("?=")
                .unwrap();
            STANDARD.decode(base64).unwrap()
        })
        .collect();
    String::from_utf8(decoded).unwrap()
}

#[test]
fn each_name_is_encoded_as_its_characters_require() {
    for (name, written) in [
        ("Ana", "Ana"),
        ("O'Neill", "O'Neill"),
        ("Ana Ruiz", "\"Ana Ruiz\""),
        ("..dots", "\"..dots\""),
        (".dot", "\".dot\""),
        ("J. R. Doe", "\"J. R. Doe\""),
        ("Doe, John", "\"Doe, John\""),
        ("a\"b\\c", "\"a\\\"b\\\\c\""),
        ("Ana (mother) <x@y>; @:", "\"Ana (mother) <x@y>; @:\""),
        ("Ana  Ruiz", "\"Ana  Ruiz\""),
        ("Adrián", "=?utf-8?b?QWRyacOhbg==?="),
        ("=?utf-8?q?x?=", "=?utf-8?b?PT91dGYtOD9xP3g/PQ==?="),
    ] {
        assert_eq!(to(name), format!("To: {written} <ana@example.com>"), "{name}");
    }
}

#[test]
fn lines_with_encoded_words_are_short_enough_and_every_name_can_be_decoded() {
    let names = [
        "ñ".repeat(200),
        "日本語の名前".repeat(30),
        "👩‍👩‍👧‍👦".repeat(28),
        "María José Núñez ".repeat(11),
        "n".repeat(200),
        "n ".repeat(99) + "n",
        "\\\"".repeat(100),
        "a ".repeat(30) + &"b".repeat(140),
        format!("{} ñ", "x".repeat(70)),
    ];
    for name in names {
        let name = name.trim();
        for (field, value) in [("To", to(name)), ("Subject", subject(name))] {
            for line in value.split("\r\n") {
                assert!(line.len() <= 76, "{field}: {} in {line}", line.len());
                for word in line.split(' ').filter(|word| word.starts_with("=?")) {
                    assert!(word.len() <= 75, "{word}");
                }
                assert!(!line.trim().is_empty());
            }
            let value = value.split_once(": ").unwrap().1;
            let value = value.trim_end_matches("<ana@example.com>").trim_end();
            assert_eq!(read(value), name, "{value}");
        }
    }
}

#[test]
fn an_ascii_subject_is_unchanged() {
    assert_eq!(
        subject("Your registration is confirmed"),
        "Subject: Your registration is confirmed"
    );
    let long = subject("Confirmación de su registro / Your registration is confirmed");
    assert!(long.split("\r\n").all(|line| line.len() <= 76), "{long}");
}
