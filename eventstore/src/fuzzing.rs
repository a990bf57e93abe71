//! Access to private functions for the fuzz targets (`tests/fuzz`).

use serde_json::Value;

use crate::json;

/// Returns the RFC 8785 form of JSON text read from a database, or `None` if the text has no such form.
#[must_use]
pub fn canonicalize(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    json::canonicalize(text, &mut out).ok().map(|()| out)
}

/// Parses JSON text in the same way as the columns of a recorded event.
#[must_use]
pub fn strict_value(text: &str) -> Option<Value> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = json::strict_value(&mut reader).ok()?;
    reader.end().ok().map(|()| value)
}
