//! The canonical form of JSON, from which the hash chain is computed.

use eventstore::fuzzing::{canonicalize, strict_value};
use serde_json::Value;

/// Canonicalizes a text. A text has a canonical form exactly if the event log can read it as a column. The
/// form equals that of the parsed value, which is the value that `serde_json` reads, and canonicalizing it
/// again does not change it.
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
    // A double without a fraction is written as an integer, which may exceed the range of accepted integers.
    // Its canonical form does not change.
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
