//! Reader for an issuer's JSON, which uses only a few of the members.
//!
//! Members are parsed only when they are requested. Other members may therefore contain any value, such as an
//! integer that a double cannot represent exactly, or a number beyond its range. Objects with duplicate
//! member names are rejected at any depth, because parsers differ in which of the duplicate members they use.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Maximum nesting depth of arrays and objects.
const DEEPEST: usize = 64;

/// Object whose members are still raw JSON text.
pub(super) struct Object<'t>(HashMap<String, &'t RawValue>);

impl<'t> Object<'t> {
    /// Parses a text that consists of one object. `None` if the text is not JSON, is another kind of value,
    /// is nested too deeply, or contains an object with duplicate member names.
    pub(super) fn parse(text: &'t str) -> Option<Self> {
        let object: Self = serde_json::from_str(text).ok()?;
        object
            .0
            .values()
            .all(|member| is_unambiguous(member, DEEPEST))
            .then_some(object)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Value of the member `name`. `None` if the member does not exist or has another type.
    pub(super) fn get<T: Deserialize<'t>>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.0.get(name)?.get()).ok()
    }
}

fn is_unambiguous(value: &RawValue, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else {
        return false;
    };
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'{') => serde_json::from_str::<Object<'_>>(text)
            .is_ok_and(|object| object.0.values().all(|member| is_unambiguous(member, depth))),
        Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(text)
            .is_ok_and(|items| items.iter().all(|item| is_unambiguous(item, depth))),
        _ => true,
    }
}

impl<'de: 't, 't> Deserialize<'de> for Object<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members).map(Object)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = HashMap<String, &'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut object = HashMap::new();
        while let Some((name, value)) = members.next_entry()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("two members with the same name"));
            }
        }
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_nobody_asks_for_hold_any_number() {
        let text =
            r#"{"a": 9007199254740993, "b": {"c": [123456789012345678901234567890, 1e400, -0.0]}, "d": "e"}"#;
        let object = Object::parse(text).unwrap();
        assert_eq!(object.get::<String>("d").unwrap(), "e");
        assert_eq!(object.get::<u64>("a"), Some(9_007_199_254_740_993));
        assert_eq!(object.get::<String>("a"), None);
        assert!(object.get::<Object<'_>>("b").unwrap().has("c"));
        assert!(object.has("b") && !object.has("c"));
    }

    #[test]
    fn what_is_no_object_or_ambiguous_is_not_read() {
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(1000), "]".repeat(1000));
        for text in [
            "",
            "[]",
            "1",
            "{",
            "{} {}",
            r#"{"a": 01}"#,
            r#"{"a": 1, "a": 1}"#,
            r#"{"a": 1, "\u0061": 1}"#,
            r#"{"a": {"b": 1, "b": 2}}"#,
            r#"{"a": [[{"b": 1, "b": 2}]]}"#,
            &deep,
        ] {
            assert!(Object::parse(text).is_none(), "{text:.60}");
        }
    }
}
