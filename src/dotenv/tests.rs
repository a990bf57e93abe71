use super::*;

fn read(content: &str) -> Result<Vec<(usize, String)>, String> {
    let entries = entries(content.as_bytes(), |name| name == "HOME").map_err(|error| error.to_string())?;
    Ok(entries
        .into_iter()
        .map(|entry| (entry.line, entry.name))
        .collect())
}

/// Returns the value of the only entry, as parsed by the library.
fn value(content: &str) -> String {
    let entries = entries(content.as_bytes(), |_| false).unwrap();
    let [entry] = &entries[..] else {
        panic!("{entries:?}")
    };
    let (_, value) = dotenvy::from_read_iter(entry.text.as_bytes())
        .next()
        .unwrap()
        .unwrap();
    value
}

#[test]
fn every_entry_has_its_name_and_line() {
    let content = "\u{feff}# a comment with 'a quote\n\nLOG=info # it's a comment\r\nexport HTTP_ADDR=\"1\"\n\
                   AUTH_TOKENS='first\n# second'\n LOG_FORMAT = json";
    let expected = [
        (3, "LOG"),
        (4, "HTTP_ADDR"),
        (5, "AUTH_TOKENS"),
        (7, "LOG_FORMAT"),
    ];
    assert_eq!(
        read(content),
        Ok(expected.map(|(line, name)| (line, name.to_owned())).to_vec())
    );
    assert_eq!(read(""), Ok(vec![]));
}

#[test]
fn every_character_of_a_value_is_preserved() {
    for (written, expected) in [
        ("X='pa$word'", "pa$word"),
        (r"X=pa\$word", "pa$word"),
        (r#"X="pa\$word""#, "pa$word"),
        ("X=pa#word", "pa#word"),
        ("X='#word'", "#word"),
        (r"X=pa\\", r"pa\"),
        ("X=a=b?c&d@e:f/g", "a=b?c&d@e:f/g"),
        ("X=", ""),
        ("X= # none", ""),
        ("X='one\ntwo'", "one\ntwo"),
    ] {
        assert_eq!(value(written), expected, "{written}");
    }
}

#[test]
fn a_value_that_would_lose_characters_is_an_error_with_its_line() {
    for (wrong, fault) in [
        ("X=pa$word", Fault::Dollar),
        ("X=pa$", Fault::Dollar),
        ("X=$1", Fault::Dollar),
        ("X=pa$$word", Fault::Dollar),
        ("X=pa$HOME", Fault::Dollar),
        ("X=${word}", Fault::Dollar),
        ("X=${word", Fault::Dollar),
        ("X=\"pa$word\"", Fault::Dollar),
        ("X=#word", Fault::Hash),
        ("X=word\\", Fault::Backslash),
        ("X=word\\\r\n", Fault::Backslash),
        ("X='word", Fault::Unclosed),
        ("X=\"word\nY=1\n", Fault::Unclosed),
        ("X=pa word", Fault::Malformed),
        ("X=pa\\word", Fault::Malformed),
        ("word", Fault::Malformed),
        ("1X=word", Fault::Malformed),
        ("X: word", Fault::Malformed),
        ("X=a\0b", Fault::NotText),
    ] {
        let said = read(&format!("A=1\n\n{wrong}")).unwrap_err();
        assert_eq!(said, format!(".env, line 3: {fault}"), "{wrong}");
        assert!(!said.contains("pa$word\"") && !said.contains("word\\"), "{said}");
    }
    let not_utf8 = entries(b"A=1\nX=\xff", |_| false).unwrap_err();
    assert_eq!(not_utf8.to_string(), format!(".env, line 2: {}", Fault::NotText));
}

#[test]
fn a_variable_that_is_set_is_substituted() {
    assert!(read("X=${HOME}/data").is_ok());
    assert!(read("PASSWORD=secret\nX=mysql://root:${PASSWORD}@host/name").is_ok());
    assert!(read("X=mysql://root:${PASSWORD}@host/name\nPASSWORD=secret").is_err());
}
