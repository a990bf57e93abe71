//! `docs/verify.py`, written only from `docs/audit.md`, agrees with the program and rejects tampered files.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testkit::leaves;

use super::Log;

/// Runs the script. Returns whether its input is consistent, and its output. A consistent proof without a
/// trusted head proves nothing, and the script exits with 3.
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
    assert!(!said.contains("Traceback"), "{said}");
    let proves_nothing = arguments[0] == "proof" && !arguments.contains(&"--trusted");
    let fits = if proves_nothing { 3 } else { 0 };
    assert!(code == fits || code == 1, "{code}: {said}");
    (code == fits, said)
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
    // The columns and the recomputed hashes are still consistent: only a comparison of the two detects it.
    let mut event: Value = serde_json::from_str(lines[6]).unwrap();
    event["hash"] = serde_json::from_str::<Value>(lines[7]).unwrap()["hash"].clone();
    let of_another = event.to_string();
    let hash_of_another = [&lines[..6], &[of_another.as_str()], &lines[7..]].concat();
    event["hash"] = event["hash"].as_str().unwrap()[..62].into();
    let short = event.to_string();
    let short_hash = [&lines[..6], &[short.as_str()], &lines[7..]].concat();
    for (what, text) in [
        ("nothing is", whole.clone()),
        ("a byte", whole.replacen("Zoë", "Zoe", 1)),
        ("a time", whole.replacen("Z\",\"hash\"", "1Z\",\"hash\"", 1)),
        ("a hash", tampered(hash_of_another)),
        ("a hash's length", tampered(short_hash)),
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
        // All of these except a missing tail are also detected without a trusted head.
        let (fits, said) = verifier(&["export", &file]);
        assert_eq!(
            fits,
            ["nothing is", "a cut tail"].contains(&what),
            "{what}: {said}"
        );
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

    // Event 1 contains texts only, so all its values can be altered in the same way.
    assert_eq!(log.audit(&["prove", "1", "--from", "23", "--output", &file]).0, 0);
    let proof: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let pointers = leaves(&proof);
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
        assert_ne!(
            log.audit(&arguments).0,
            0,
            "{pointer} can be altered without the program noticing"
        );
    }
}

#[tokio::test]
async fn both_verifiers_refuse_what_is_not_as_a_proof_is_defined() {
    let log = Log::embedded(23).await;
    let file = log.path("a.json");
    let arguments = ["prove", "7", "--from", "16", "--output", &file];
    assert_eq!(log.audit(&arguments).0, 0);
    let proof: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let text = |pointer: &str| proof.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let of_itself = |size: u64, root: &str| json!({"size": size, "root": root, "path": []});
    let mut altered = vec![("", proof.clone())];
    for within in ["", "/tree", "/inclusion", "/inclusion/event", "/consistency"] {
        let mut proof = proof.clone();
        proof.pointer_mut(within).unwrap()["note"] = "true".into();
        altered.push((within, proof));
    }
    for (pointer, value) in [
        ("/format", "event-log-proof-2".into()),
        ("/tree/size", json!(23.0)),
        ("/tree/root", text("/tree/root").to_uppercase().into()),
        ("/tree/root", text("/tree/root")[..62].into()),
        ("/inclusion", Value::Null),
        ("/inclusion/event/aggregate_id", json!(7)),
        (
            "/inclusion/event/hash",
            text("/inclusion/event/hash").to_uppercase().into(),
        ),
        (
            "/inclusion/previous_hash",
            (text("/inclusion/previous_hash") + "00").into(),
        ),
        ("/inclusion/path", Value::Null),
        (
            "/consistency/path/0",
            text("/consistency/path/0").to_uppercase().into(),
        ),
        ("/consistency", of_itself(0, nothing)),
        ("/consistency", of_itself(0, &text("/tree/root"))),
    ] {
        let mut proof = proof.clone();
        *proof.pointer_mut(pointer).unwrap() = value;
        altered.push((pointer, proof));
    }
    // Both roots are equal, but not valid hashes.
    let short = json!({"format": proof["format"], "tree": {"size": 7, "root": "0f"}, "consistency": of_itself(7, "0f")});
    altered.push(("roots", short));
    for (n, (what, altered)) in altered.iter().enumerate() {
        std::fs::write(&file, altered.to_string()).unwrap();
        let (fits, said) = verifier(&["proof", &file]);
        assert_eq!(fits, n == 0, "{what}: {altered}: {said}");
        let (code, said, stderr) = log.audit(&["check", &file]);
        assert_ne!(code, 0, "nothing is proved without a trusted head");
        assert_eq!(code == 3, n == 0, "{what}: {altered}: {said}{stderr}");
    }
    // A number beyond 64 bits would be parsed as a double, which makes different numbers equal.
    let written = proof.to_string();
    let large = written.replacen("\"metadata\":{", "\"metadata\":{\"n\":18446744073709551617,", 1);
    assert_ne!(large, written);
    std::fs::write(&file, large).unwrap();
    let (fits, said) = verifier(&["proof", &file]);
    assert!(!fits && said.contains("an integer"), "{said}");
    let (code, _, said) = log.audit(&["check", &file]);
    assert!(code != 3 && said.contains("an integer"), "{said}");
}
