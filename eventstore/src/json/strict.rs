//! A JSON value in which no object has two members of one name, and no integer is beyond those that a double tells apart.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::LARGEST_INTEGER;

/// Reads a value as `serde_json` does, and refuses two members of one name, of which `serde_json` keeps the last, and an
/// integer beyond [`LARGEST_INTEGER`].
///
/// # Errors
///
/// If it is not JSON, or has one of these. The message repeats none of it.
pub(crate) fn strict_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    let text = Box::<RawValue>::deserialize(deserializer)?;
    strict_json(text.get()).map_err(D::Error::custom)
}

/// Reads a text that is one JSON value, as `serde_json` does, and refuses two members of one name, of which `serde_json`
/// keeps the last, and an integer beyond 2⁵³ − 1.
///
/// # Errors
///
/// If it is not JSON, or has one of these. The message repeats none of it.
pub fn strict_json(text: &str) -> serde_json::Result<Value> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict.deserialize(&mut reader)?;
    reader.end()?;
    // `serde_json` makes a double of an integer beyond 64 bits, so that the value no longer tells how it was written.
    if numbers(text).any(is_inexact_integer) {
        return Err(serde_json::Error::custom("an integer that is too large"));
    }
    Ok(value)
}

/// The numbers in a text that is JSON, as they are written.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |character| {
        if escaped {
            escaped = false;
        } else if quoted && character == '\\' {
            escaped = true;
        } else if character == '"' {
            quoted = !quoted;
            return true;
        }
        quoted || !matches!(character, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')
    })
    .filter(|number| number.starts_with(|character: char| character == '-' || character.is_ascii_digit()))
}

fn is_inexact_integer(number: &str) -> bool {
    !number.contains(['.', 'e', 'E'])
        && number
            .parse::<i64>()
            .map_or(true, |number| number.unsigned_abs() > LARGEST_INTEGER)
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number that is too large"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(Strict)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("two members of one name"));
            }
        }
        Ok(object.into())
    }
}
