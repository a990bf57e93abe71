//! `docs/verify.py`, written from `docs/audit.md` alone, agrees with the program and refuses what was tampered with.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::Log;

/// Runs it: whether everything fits, and what it says.
fn verifier(arguments: &[&str]) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify.py");
    let output = Command::new("python3")
        .arg(script)
        .args(arguments)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let code = output.status.code().unwrap();
    let said = String::from_utf8(said).unwrap();
    assert!(code == 0 || code == 1 && !said.contains("Traceback"), "{said}");
    (code == 0, said)
}

#[tokio::test]
async fn a_verifier_in_another_language_agrees_about_an_export() {
    Log::on_each(60, async |log| {
        let (hash, root) = log.head();
        log.append(17).await;
        let (last_hash, last_root) = log.head();
        let file = log.path("events.ndjson");
        assert_eq!(log.audit(&["export", "--output", &file]).0, 0);
        let (fits, said) = verifier(&["export", &file, "--trusted", &hash, "--trusted", &root]);
        assert!(fits, "{said}");
        let [(_, last_hash), (_, last_root)] =
            [&last_hash, &last_root].map(|head| head.split_once(':').unwrap());
        assert!(said.contains(last_hash) && said.contains(last_root), "{said}");
        let rest = log.path("rest.ndjson");
        assert_eq!(log.audit(&["export", "--after", "60", "--output", &rest]).0, 0);
        let (fits, said) = verifier(&["export", &rest, "--after", &hash]);
        assert!(fits && said.contains(last_hash), "{said}");
    })
    .await;
}

#[tokio::test]
async fn a_verifier_in_another_language_refuses_a_tampered_export() {
    let log = Log::embedded(30).await;
    let (hash, _) = log.head();
    let (_, whole, _) = log.audit(&["export"]);
    let lines: Vec<&str> = whole.lines().collect();
    let tampered = |altered: Vec<&str>| altered.join("\n") + "\n";
    let swapped = [&lines[..6], &[lines[7], lines[6]], &lines[8..]].concat();
    let twice = whole.replacen("\"actor\":\"test\"", "\"actor\":\"x\",\"actor\":\"test\"", 1);
    for (what, text) in [
        ("nothing is", whole.clone()),
        ("a byte", whole.replacen("Zoë", "Zoe", 1)),
        ("a time", whole.replacen("Z\",\"hash\"", "1Z\",\"hash\"", 1)),
        ("a removed event", tampered([&lines[..6], &lines[7..]].concat())),
        ("a swapped pair", tampered(swapped)),
        ("an added event", tampered([&lines[..7], &lines[6..]].concat())),
        ("a member twice", twice),
        ("a cut tail", tampered(lines[..29].to_vec())),
        ("no JSON", whole.clone() + "nothing\n"),
    ] {
        let file = log.path("events.ndjson");
        std::fs::write(&file, text).unwrap();
        let (fits, said) = verifier(&["export", &file, "--trusted", &hash]);
        assert_eq!(fits, what == "nothing is", "{what}: {said}");
    }
}

/// Every text and number in a file, by its path.
fn leaves(value: &Value, pointer: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                leaves(value, &format!("{pointer}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (n, value) in items.iter().enumerate() {
                leaves(value, &format!("{pointer}/{n}"), found);
            }
        }
        _ => found.push(pointer.to_owned()),
    }
}

#[tokio::test]
async fn a_verifier_in_another_language_agrees_about_proofs_and_refuses_tampered_ones() {
    let log = Log::embedded(23).await;
    let (_, before) = log.head();
    log.append(40).await;
    let (_, after) = log.head();
    let file = log.path("a.json");
    for position in [1, 2, 7, 23, 24, 32, 33, 63] {
        let position = position.to_string();
        let arguments = ["prove", &position, "--from", "23", "--output", &file];
        assert_eq!(log.audit(&arguments).0, 0);
        let (fits, said) = verifier(&["proof", &file, "--trusted", &before, "--trusted", &after]);
        assert!(fits, "{position}: {said}");
    }
    assert_eq!(
        log.audit(&["prove", "--from", "1", "--to", "23", "--output", &file])
            .0,
        0
    );
    let (fits, said) = verifier(&["proof", &file, "--trusted", &before]);
    assert!(fits, "{said}");

    // Event 1 has texts only, so that each can be altered in the same way.
    assert_eq!(log.audit(&["prove", "1", "--from", "23", "--output", &file]).0, 0);
    let proof: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let mut pointers = Vec::new();
    leaves(&proof, "", &mut pointers);
    assert!(pointers.len() > 20);
    for pointer in pointers {
        let mut altered = proof.clone();
        let value = altered.pointer_mut(&pointer).unwrap();
        *value = match &*value {
            Value::Number(number) => (number.as_u64().unwrap() + 1).into(),
            other => {
                let text = other.as_str().unwrap();
                let last = if text.ends_with('1') { '2' } else { '1' };
                let mut altered: String = text.chars().take(text.chars().count() - 1).collect();
                altered.push(last);
                altered.into()
            }
        };
        std::fs::write(&file, altered.to_string()).unwrap();
        let (fits, said) = verifier(&["proof", &file, "--trusted", &before, "--trusted", &after]);
        assert!(!fits, "{pointer} can be altered: {said}");
        let arguments = ["check", &file, "--trusted", &before, "--trusted", &after];
        assert_ne!(log.audit(&arguments).0, 0, "{pointer} can be altered for us");
    }
}
