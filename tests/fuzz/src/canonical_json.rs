//! The canonical form of JSON, which the hash chain is made over.

use eventstore::fuzzing::{canonicalize, strict_value};
use serde_json::Value;

/// Makes the canonical form of a text. It is that of the value that columns are read as, which is the one
/// `serde_json` reads; it has no other canonical form; and where there is none, the columns cannot be read
/// either.
pub fn canonical_json(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let canonical = canonicalize(text);
    let value = strict_value(text);
    assert_eq!(canonical.is_some(), value.is_some());
    let (Some(canonical), Some(value)) = (canonical, value) else {
        return;
    };
    assert_eq!(serde_json_canonicalizer::to_vec(&value).unwrap(), canonical);
    let plain: Value = serde_json::from_str(text).expect("it is JSON for everybody");
    assert_eq!(plain, value);
    let canonical = String::from_utf8(canonical).expect("it is text");
    // A double without a fraction is written as an integer, which may be beyond those that are taken; its
    // form stays.
    let again: Value = serde_json::from_str(&canonical).unwrap();
    assert_eq!(serde_json_canonicalizer::to_string(&again).unwrap(), canonical);
    assert!(canonicalize(&canonical).is_none_or(|again| again == canonical.as_bytes()));
    let spread = canonicalize(&serde_json::to_string_pretty(&value).unwrap());
    assert_eq!(
        spread.as_deref(),
        Some(canonical.as_bytes()),
        "white space counts"
    );
    if let Value::Number(_) = value {
        let same = text.trim().parse::<f64>() == canonical.parse::<f64>();
        assert!(same, "{text} is not {canonical}");
    }
}
