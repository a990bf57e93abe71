//! Values as people and other programs write them, with the expected result of parsing, and searches that
//! must find a name. `cases/values.jsonl` has one case per line.
#![expect(clippy::panic, reason = "a failure fails the test with a message")]

use domain::{DocumentUrl, Email, Name, NameQuery, Phone, mailbox_key};
use serde_json::Value;

fn parse(field: &str, value: &str) -> Result<String, String> {
    match field {
        "name" => Name::parse(value)
            .map(String::from)
            .map_err(|error| error.to_string()),
        "email" => Email::parse(value)
            .map(String::from)
            .map_err(|error| error.to_string()),
        "phone" => Phone::parse(value)
            .map(String::from)
            .map_err(|error| error.to_string()),
        "document_url" => DocumentUrl::parse(value)
            .map(String::from)
            .map_err(|error| error.to_string()),
        _ => panic!("{field} is no field"),
    }
}

#[test]
fn every_value_is_accepted_or_rejected_as_its_case_expects() {
    let mut values = 0;
    for line in include_str!("cases/values.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        match case["kind"].as_str().unwrap() {
            "value" => values += 1,
            // Other tests use these lines, which are about equal mailboxes and about searches.
            "mailbox" | "search" => continue,
            kind => panic!("{kind} is no kind of case"),
        }
        let (value, why) = (case["value"].as_str().unwrap(), &case["why"]);
        let parsed = parse(case["field"].as_str().unwrap(), value);
        match case["expect"].as_u64().unwrap() {
            201 => assert_eq!(
                parsed.as_deref(),
                Ok(case["stored"].as_str().unwrap_or(value)),
                "{why}"
            ),
            422 => assert!(parsed.is_err(), "{why}: {parsed:?}"),
            status => panic!("{status} is no outcome"),
        }
    }
    assert!(values > 30, "{values}");
}

#[test]
fn every_search_finds_the_name_of_its_case() {
    let mut searches = 0;
    for line in include_str!("cases/values.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        if case["kind"] != "search" {
            continue;
        }
        let name = parse("name", case["name"].as_str().unwrap()).unwrap();
        let query = NameQuery::parse(case["query"].as_str().unwrap()).unwrap();
        assert!(query.matches_name(&name), "{case}");
        searches += 1;
    }
    assert!(searches > 5, "{searches}");
}

#[test]
fn addresses_are_one_mailbox_as_their_case_says() {
    let mut mailboxes = 0;
    for line in include_str!("cases/values.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        if case["kind"] != "mailbox" {
            continue;
        }
        let key = |member: &str| mailbox_key(&parse("email", case[member].as_str().unwrap()).unwrap());
        assert_eq!(key("first") == key("second"), case["same"], "{case}");
        mailboxes += 1;
    }
    assert!(mailboxes > 2, "{mailboxes}");
}
