use super::*;

#[test]
fn an_enhanced_code_is_parsed_only_at_the_beginning_of_a_reply() {
    let read = |text| EnhancedCode::leading(text).map(|code| code.to_string());
    assert_eq!(read("5.1.1 <ana@example.com> unknown").as_deref(), Some("5.1.1"));
    assert_eq!(read("4.7.650\nlater").as_deref(), Some("4.7.650"));
    for text in [
        "",
        "no such user",
        "5.1",
        "5.1.1.1",
        "3.1.1 x",
        "5.1.ana@example.com",
        "5..1",
        "5.1.+1",
        "5.1.1000",
    ] {
        assert_eq!(read(text), None, "{text:?}");
    }
}

#[test]
fn a_failure_contains_its_step_and_codes() {
    let reply = SmtpFailure::Reply {
        code: 550,
        enhanced: EnhancedCode::leading("5.1.1 x"),
    };
    assert_eq!(
        DeliveryFailure::Smtp(SmtpStep::Rcpt, reply).to_string(),
        "RCPT: the server answered 550 5.1.1"
    );
    let reply = SmtpFailure::Reply {
        code: 421,
        enhanced: None,
    };
    assert_eq!(
        AttemptError::Outage(Outage::Down(DeliveryFailure::Smtp(SmtpStep::Hello, reply))).to_string(),
        "EHLO: the server answered 421"
    );
}
