//! JSON documents, value by value.

use serde_json::Value;

/// Returns the JSON pointer (RFC 6901) of every value in `document` that is neither an object nor an array,
/// so that a test can change each value.
pub fn leaves(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    gather(document, "", &mut found);
    found
}

fn gather(value: &Value, pointer: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                gather(value, &format!("{pointer}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (n, value) in items.iter().enumerate() {
                gather(value, &format!("{pointer}/{n}"), found);
            }
        }
        _ => found.push(pointer.to_owned()),
    }
}
