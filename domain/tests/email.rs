//! Tests of which email addresses are accepted, and which addresses are equal.

use domain::{ControlCharacter, Email, EmailError, email_claim_key, mailbox_key, older_email_claim_key};
use proptest::prelude::*;

#[test]
fn reachable_addresses_are_valid() {
    for email in [
        "john@example.com",
        "thomasmills@example.org",
        "john.doe+tag@mail.example.co.uk",
        "o'brien@example.com",
        "a@b.co",
        "1234@example.com",
        "JOHN@EXAMPLE.COM",
        "x_y-z@sub-domain.example.museum",
        "!#$%&'*+-/=?^_`{|}~@example.com",
        "a@123.example",
        "a@b--c.example",
        // RFC 6531: non-ASCII characters before the @, after the @, and on both sides.
        "maría@example.es",
        "ana@españa.es",
        "ana@xn--espaa-rta.es",
        "用户@例子.公司",
        "info@ตัวอย่าง.ไทย",
        "ผู้ใช้@ตัวอย่าง.ไทย",
        "संपर्क@डाटामेल.भारत",
        "ಬೆಂಬಲ@ಡೇಟಾಮೇಲ್.ಭಾರತ",
        "যোগাযোগ@ডাটামেল.ভারত",
        "தொடர்பு@உதாரணம்.இந்தியா",
        "సంప్రదించండి@ఉదాహరణ.భారత్",
        "ബന്ധപ്പെടുക@ഉദാഹരണം.ഭാരതം",
        "ទំនាក់ទំនង@ឧទាហរណ៍.កម្ពុជា",
        "ဆက်သွယ်ရန်@ဥပမာ.မြန်မာ",
        "ຕິດຕໍ່@ຕົວຢ່າງ.ລາວ",
        "දුමින්දු@උදාහරණ.ලංකා",
        "تماس@مثال.ایران",
        "علی\u{200c}رضا@مثال.ایران",
        "צור-קשר@דוגמה.קום",
        "γιώργος@παράδειγμα.ελ",
        "почта@пример.рф",
        "도움@예시.한국",
        "お問合せ@例え.テスト",
        "❤\u{fe0f}@example.com",
        "ana@ｅｘａｍｐｌｅ.com",
        "ana@example。com",
    ] {
        assert_eq!(Email::parse(email).map(String::from).as_deref(), Ok(email));
    }
}

#[test]
fn invisible_characters_are_dropped_around_an_address() {
    for (input, email) in [
        ("\tana@example.com\n", "ana@example.com"),
        ("\u{feff}ana@example.com\u{200b}", "ana@example.com"),
        ("\u{a0}ana@example.com\u{3000}\r\n", "ana@example.com"),
        ("\u{202a}ana@example.com\u{202c}", "ana@example.com"),
        ("\u{2068}ana@españa.es\u{2069}\u{200e}", "ana@españa.es"),
    ] {
        assert_eq!(
            Email::parse(input).map(String::from).as_deref(),
            Ok(email),
            "{input:?}"
        );
    }
}

#[test]
fn canonically_equivalent_addresses_are_equal() {
    for (input, email) in [
        ("jose\u{301}@espan\u{303}a.es", "josé@españa.es"),
        ("\u{1112}\u{1161}\u{11ab}@example.com", "한@example.com"),
        ("\u{212a}im@example.com", "Kim@example.com"),
    ] {
        assert_eq!(Email::parse(input).map(String::from).as_deref(), Ok(email));
    }
}

/// Some of these addresses are of the kinds collected by isemail, a project of Dominic Sayers.
#[test]
fn an_invalid_address_is_rejected() {
    for email in [
        "john",
        "@",
        "@example.com",
        "john@@example.com",
        "john doe@example.com",
        ".john@example.com",
        "john.@example.com",
        "jo..hn@example.com",
        ".@example.com",
        "John <john@example.com>",
        "<john@example.com>",
        "john@example.com, ann@example.com",
        "mailto:john@example.com",
        "john(x)@example.com",
        "jo\\hn@example.com",
        "jo\"hn@example.com",
        "\"john\".doe@example.com",
        "john,doe@example.com",
        "john;doe@example.com",
        "jo[h]n@example.com",
        "\"@example.com",
        "jo\u{a0}hn@example.com",
        "jo\u{200b}hn@example.com",
        "jo\u{ad}hn@example.com",
        "jo\u{feff}hn@example.com",
        "jo\u{200e}hn@example.com",
        "\u{3164}@example.com",
        "john\u{3000}@example.com",
    ] {
        assert_eq!(Email::parse(email), Err(EmailError::Malformed), "{email:?}");
    }
}

#[test]
fn a_domain_is_a_full_domain_name() {
    for (email, error) in [
        ("a@localhost", EmailError::IncompleteDomain),
        ("a@com", EmailError::IncompleteDomain),
        ("a@ไทย", EmailError::IncompleteDomain),
        ("a@[192.0.2.1]", EmailError::IpAddress),
        ("a@[IPv6:2001:db8::1]", EmailError::IpAddress),
        ("a@192.0.2.1", EmailError::IpAddress),
        ("a@１９２.0.2.1", EmailError::IpAddress),
        ("a@example.123", EmailError::InvalidDomain),
        ("a@", EmailError::InvalidDomain),
        ("a@.com", EmailError::InvalidDomain),
        ("a@example.com.", EmailError::InvalidDomain),
        ("a@example..com", EmailError::InvalidDomain),
        ("a@-example.com", EmailError::InvalidDomain),
        ("a@example-.com", EmailError::InvalidDomain),
        ("a@exa$mple.com", EmailError::InvalidDomain),
        ("a@exa_mple.com", EmailError::InvalidDomain),
        ("a@exam ple.com", EmailError::InvalidDomain),
        ("a@exam\u{a0}ple.com", EmailError::InvalidDomain),
        ("a@exam\u{ad}ple.com", EmailError::InvalidDomain),
        ("a@exam%70le.com", EmailError::InvalidDomain),
        ("a@example.com>", EmailError::InvalidDomain),
        ("a@example.com(comment)", EmailError::InvalidDomain),
        ("a@xn--a.com", EmailError::InvalidDomain),
        // IDNA converts this character to a digit in parentheses.
        ("a@ex\u{2477}ample.com", EmailError::InvalidDomain),
        // A combining mark without a base character.
        ("a@\u{301}x.com", EmailError::InvalidDomain),
    ] {
        assert_eq!(Email::parse(email), Err(error), "{email}");
    }
}

#[test]
fn control_characters_and_directional_formatting_inside_are_rejected() {
    for control in [
        '\0', '\t', '\n', '\r', '\u{7f}', '\u{85}', '\u{2028}', '\u{202a}', '\u{202e}', '\u{2067}',
        '\u{2069}',
    ] {
        for email in [
            format!("a{control}b@example.com"),
            format!("ab@exa{control}mple.com"),
        ] {
            assert_eq!(
                Email::parse(&email),
                Err(ControlCharacter.into()),
                "U+{:04X}",
                u32::from(control)
            );
        }
    }
}

#[test]
fn a_quoted_local_part_is_rejected_because_it_is_another_spelling_of_one_mailbox() {
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
fn the_length_in_ascii_is_also_limited() {
    // Each label has two bytes as written, and seven bytes in ASCII (xn--9ca).
    let domain = "é.".repeat(27) + "com";
    assert!(domain.len() < 100);
    assert!(Email::parse(&format!("{}@{domain}", "a".repeat(30))).is_ok());
    assert_eq!(
        Email::parse(&format!("{}@{domain}", "a".repeat(60))),
        Err(EmailError::TooLong)
    );
}

#[test]
fn the_older_claim_key_of_a_decomposed_address_is_unchanged() {
    for (email, older) in [
        ("한@example.com", Some("\u{1112}\u{1161}\u{11ab}@example.com")),
        (
            "\u{1112}\u{1161}\u{11ab}@example.com",
            Some("\u{1112}\u{1161}\u{11ab}@example.com"),
        ),
        ("Ana@example.com", None),
        ("用户@例子.公司", None),
        ("ana@españa.es", None),
    ] {
        assert_eq!(older_email_claim_key(email).as_deref(), older, "{email}");
    }
    assert_eq!(
        email_claim_key("\u{1112}\u{1161}\u{11ab}@example.com"),
        "한@example.com"
    );
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
fn the_claim_key_of_an_invalid_address_is_the_text_in_lower_case() {
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
            prop_assert!(!domain.contains('@'));
            let sent = url::Host::parse(domain);
            prop_assert!(matches!(sent, Ok(url::Host::Domain(ascii)) if ascii.contains('.') && ascii.len() <= 253));
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
    fn a_non_ascii_domain_and_its_ascii_form_share_a_claim_key(
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

#[test]
fn a_mailbox_is_the_same_in_every_case_and_compatibility_form() {
    for (one, other) in [
        ("γιώργος@example.com", "ΓΙΏΡΓΟΣ@EXAMPLE.com"),
        ("οδυσσεύς@example.com", "ΟΔΥΣΣΕΎΣ@example.com"),
        ("straße@example.com", "STRASSE@example.com"),
        ("ﬁona@example.com", "FIONA@example.com"),
        ("ＡＮＡ@example.com", "ana@example.com"),
        ("ǰo@example.com", "J\u{30c}O@example.com"),
        ("ana@clínica.example", "ANA@xn--clnica-4va.example"),
    ] {
        assert_eq!(mailbox_key(one), mailbox_key(other), "{one} {other}");
        assert_eq!(mailbox_key(&mailbox_key(one)), mailbox_key(one), "{one}");
    }
    for (one, other) in [
        ("ana+x@example.com", "ana@example.com"),
        ("a.na@example.com", "ana@example.com"),
        ("añá@example.com", "ana@example.com"),
        ("ana@example.com", "ana@example.org"),
    ] {
        assert_ne!(mailbox_key(one), mailbox_key(other), "{one} {other}");
    }
}
