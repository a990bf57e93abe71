//! An entrance to what is private otherwise, for the fuzz targets (`tests/fuzz`).

use serde_json::Value;

use crate::json;

/// The RFC 8785 form of a text as a database gives it back; nothing if it has none.
#[must_use]
pub fn canonicalize(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    json::canonicalize(text, &mut out).ok().map(|()| out)
}

/// The value of such a text, as the columns of a recorded event are read.
#[must_use]
pub fn strict_value(text: &str) -> Option<Value> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = json::strict_value(&mut reader).ok()?;
    reader.end().ok().map(|()| value)
}
