use lettre::address::Envelope;

use super::*;

fn sent(content: &str) -> String {
    let mail = Mail {
        name: "1-patient_registered".to_owned(),
        envelope: Envelope::new(None, vec!["ana@example.com".parse().unwrap()]).unwrap(),
        content: content.to_owned(),
    };
    DotStuffed(&mail).to_string()
}

#[test]
fn no_line_of_an_email_ends_the_message_early() {
    assert_eq!(sent("a\r\n.\r\n.b\r\n..\r\n"), "a\r\n..\r\n..b\r\n...\r\n.\r\n");
    assert_eq!(sent(".\r\nQUIT\r\n"), "..\r\nQUIT\r\n.\r\n");
}

#[test]
fn a_message_ends_with_one_line_break_and_a_dot() {
    assert_eq!(sent("a\r\n"), "a\r\n.\r\n");
    assert_eq!(sent("a"), "a\r\n.\r\n");
    assert_eq!(sent("a\r\n\r\n"), "a\r\n\r\n.\r\n");
}
