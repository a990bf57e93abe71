//! Which email addresses are accepted, and which count as the same.

use domain::{Email, EmailError, email_claim_key};
use proptest::prelude::*;

#[test]
fn addresses_that_mail_reaches_are_valid() {
    for email in [
        "john@example.com",
        "thomasmills@example.org",
        "john.doe+tag@mail.example.co.uk",
        "o'brien@example.com",
        "a@b.co",
        "1234@example.com",
        "JOHN@EXAMPLE.COM",
        "x_y-z@sub-domain.example.museum",
        "maría@example.es",
        "ana@españa.es",
        "ana@xn--espaa-rta.es",
        "用户@例子.公司",
    ] {
        assert_eq!(Email::parse(email).unwrap().as_str(), email);
    }
}

#[test]
fn what_is_not_an_address_is_refused() {
    for email in [
        "john",
        "@",
        "@example.com",
        "john@@example.com",
        "john doe@example.com",
        "john@exam ple.com",
        ".john@example.com",
        "john.@example.com",
        "jo..hn@example.com",
        "John <john@example.com>",
        "<john@example.com>",
        "john@example.com>",
        "john@example.com, ann@example.com",
        "mailto:john@example.com",
        "john(x)@example.com",
    ] {
        assert!(
            matches!(Email::parse(email), Err(EmailError::Malformed(_))),
            "{email}: {:?}",
            Email::parse(email)
        );
    }
}

#[test]
fn a_domain_is_a_full_domain_name() {
    for (email, error) in [
        ("a@localhost", EmailError::IncompleteDomain),
        ("a@com", EmailError::IncompleteDomain),
        ("a@[192.0.2.1]", EmailError::IpAddress),
        ("a@[IPv6:2001:db8::1]", EmailError::IpAddress),
        ("a@192.0.2.1", EmailError::IpAddress),
        ("a@example.123", EmailError::InvalidDomain),
        ("a@", EmailError::InvalidDomain),
        ("a@.com", EmailError::InvalidDomain),
        ("a@example.com.", EmailError::InvalidDomain),
        ("a@exa$mple.com", EmailError::InvalidDomain),
        ("a@exa_mple.com", EmailError::InvalidDomain),
        ("a@xn--a.com", EmailError::InvalidDomain),
        // IDNA makes a digit in parentheses of it.
        ("a@ex\u{2477}ample.com", EmailError::InvalidDomain),
    ] {
        assert_eq!(Email::parse(email), Err(error), "{email}");
    }
}

#[test]
fn a_quoted_local_part_is_refused_since_it_is_a_second_spelling_of_one_mailbox() {
    for email in [
        "\"john\"@example.com",
        "\"john doe\"@example.com",
        "\"a@b\"@example.com",
    ] {
        assert_eq!(Email::parse(email), Err(EmailError::Quoted), "{email}");
    }
}

#[test]
fn an_address_has_at_most_254_bytes_and_64_before_the_at() {
    let local = "a".repeat(64);
    let label = "b".repeat(60);
    let longest = format!("{local}@{label}.{label}.{label}.com.es");
    assert_eq!(longest.len(), 254);
    assert!(Email::parse(&format!("  {longest}  ")).is_ok());
    assert_eq!(Email::parse(&format!("{longest}x")), Err(EmailError::TooLong));
    assert_eq!(
        Email::parse(&format!("a{local}@example.com")),
        Err(EmailError::LocalPartTooLong)
    );
    assert_eq!(Email::parse(""), Err(EmailError::Empty));
    assert_eq!(Email::parse("  "), Err(EmailError::Empty));
}

#[test]
fn addresses_that_differ_in_case_alone_share_a_claim_key() {
    for (one, other) in [
        ("John@Example.com", "john@example.COM"),
        ("MARÍA@ESPAÑA.ES", "maría@españa.es"),
        ("ΟΔΥΣΣΕΥΣ@EXAMPLE.COM", "οδυσσευσ@example.com"),
    ] {
        assert_eq!(email_claim_key(one), email_claim_key(other));
        assert_eq!(
            Email::parse(one).unwrap().claim_key(),
            Email::parse(other).unwrap().claim_key()
        );
    }
    assert_eq!(email_claim_key("John@Example.com"), "john@example.com");
    assert_ne!(
        email_claim_key("john.doe@example.com"),
        email_claim_key("johndoe@example.com")
    );
}

#[test]
fn addresses_whose_domains_are_spellings_of_one_share_a_claim_key() {
    for (one, other) in [
        ("a@clínica.example", "a@xn--clnica-4va.example"),
        ("A@CLÍNICA.EXAMPLE", "a@XN--CLNICA-4VA.example"),
        ("a@ｅｘａｍｐｌｅ.com", "a@example.com"),
        ("a@ＥＸＡＭＰＬＥ.com", "a@Example.com"),
    ] {
        let key = |email| Email::parse(email).unwrap().claim_key();
        assert_eq!(key(one), key(other), "{one} {other}");
        assert_ne!(one, other);
    }
    assert_eq!(email_claim_key("Ña@clínica.example"), "ña@xn--clnica-4va.example");
    assert_ne!(
        email_claim_key("a@faß.example"),
        email_claim_key("a@fass.example")
    );
}

#[test]
fn what_is_no_address_is_its_own_claim_key_in_lower_case() {
    for (text, key) in [
        ("", ""),
        ("CLÍNICA", "clínica"),
        ("A@ÑÑ Ñ", "a@ññ ñ"),
        ("A@１９２.0.2.1", "a@１９２.0.2.1"),
    ] {
        assert_eq!(email_claim_key(text), key);
    }
}

fn address() -> impl Strategy<Value = String> {
    "[A-Za-z0-9.+_'-]{1,70}@[A-Za-z0-9.-]{1,60}\\.[A-Za-z]{2,12}"
}

proptest! {
    #[test]
    fn an_accepted_address_keeps_its_bounds_and_parses_to_itself(
        input in prop_oneof![any::<String>(), "\\PC{0,300}", address(), "\\PC{1,9}@\\PC{1,9}\\.\\PC{1,9}"],
    ) {
        if let Ok(email) = Email::parse(&input) {
            let text = email.as_str();
            prop_assert!(text.len() <= Email::MAX_BYTES);
            prop_assert!(!text.contains(|c: char| c.is_control() || c.is_whitespace()));
            prop_assert!(!text.contains(['"', '<', '>', ',']));
            let (local, domain) = text.split_once('@').unwrap();
            prop_assert!(!local.is_empty() && local.len() <= 64);
            prop_assert!(domain.contains('.') && !domain.contains('@'));
            prop_assert_eq!(email.claim_key(), email_claim_key(text));
            prop_assert_eq!(Email::parse(text), Ok(email.clone()));
        }
    }

    #[test]
    fn claim_keys_are_equal_exactly_when_ascii_addresses_are_equal_ignoring_case(
        one in "[aAbB@.]{0,4}", other in "[aAbB@.]{0,4}",
    ) {
        prop_assert_eq!(email_claim_key(&one) == email_claim_key(&other), one.eq_ignore_ascii_case(&other));
    }

    #[test]
    fn the_case_of_an_ascii_address_never_changes_its_claim_key(email in "[ -~]{0,80}") {
        prop_assert_eq!(email_claim_key(&email), email_claim_key(&email.to_ascii_uppercase()));
    }

    #[test]
    fn the_claim_key_of_an_ascii_address_is_the_address_in_lower_case(email in prop_oneof![address(), "[ -~]{0,80}"]) {
        prop_assert_eq!(email_claim_key(&email), email.to_ascii_lowercase());
    }

    #[test]
    fn a_domain_beyond_ascii_and_its_ascii_form_share_a_claim_key(
        local in "[a-z]{1,9}", domain in "[a-zñáéíóúüßçа-я\u{4e00}-\u{4e20}]{1,12}\\.[a-z]{2,5}",
    ) {
        if let Ok(url::Host::Domain(ascii)) = url::Host::parse(&domain) {
            let unicode = email_claim_key(&format!("{local}@{domain}"));
            prop_assert_eq!(unicode, email_claim_key(&format!("{local}@{ascii}")));
        }
    }

    #[test]
    fn a_claim_key_is_its_own_claim_key(email in any::<String>()) {
        let key = email_claim_key(&email);
        prop_assert_eq!(email_claim_key(&key), key);
    }
}
