//! Strict JSON reader.

use std::cell::Cell;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::{DEPTH, LARGEST_INTEGER};

/// Reads a value as [`strict_json`] does.
///
/// # Errors
///
/// The errors of [`strict_json`].
pub(crate) fn strict_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    let text = Box::<RawValue>::deserialize(deserializer)?;
    strict_json(text.get()).map_err(D::Error::custom)
}

/// Reads a text that is one JSON value (RFC 8259) within I-JSON (RFC 7493).
///
/// # Errors
///
/// If the text is not JSON; if an object has two members with the same name, of which `serde_json` would keep
/// only the last; if arrays and objects are nested more than 31 levels deep; if an integer is beyond ±(2⁵³ −
/// 1); or if a number with a fraction or an exponent is not exactly the shortest decimal number of its
/// double, so that reading it would lose precision. The error message contains no part of the text.
pub fn strict_json(text: &str) -> serde_json::Result<Value> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let doubles = Cell::new(false);
    let strict = Strict {
        depth: DEPTH,
        doubles: &doubles,
    };
    let value = strict.deserialize(&mut reader)?;
    reader.end()?;
    // A double does not show how the number was written. `serde_json` also reads integers beyond 64 bits as
    // doubles.
    if doubles.get() {
        for number in numbers(text) {
            if number.contains(['.', 'e', 'E']) {
                if !is_exact(number) {
                    return Err(serde_json::Error::custom(
                        "a number would lose precision as a double",
                    ));
                }
            } else if !number.parse::<i64>().is_ok_and(is_small) {
                return Err(serde_json::Error::custom(TOO_LARGE));
            }
        }
    }
    Ok(value)
}

const TOO_LARGE: &str = "an integer is beyond 2^53 - 1";

fn is_small(integer: i64) -> bool {
    integer.unsigned_abs() <= LARGEST_INTEGER
}

/// Returns the numbers in a JSON text, as written.
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

/// Whether a number is exactly the shortest decimal number for its double, which is the number that RFC 8785
/// writes.
fn is_exact(number: &str) -> bool {
    // Infinity and NaN are not JSON numbers. `serde_json` formats doubles as ECMAScript does; Rust's own
    // formatting breaks some ties differently.
    let Some(shortest) = number.parse().ok().and_then(Number::from_f64) else {
        return false;
    };
    let written = decimal(number);
    written.is_some() && written == decimal(&shortest.to_string())
}

/// Splits a decimal number into its sign (whether it is negative), its digits without zeros at either end,
/// and the power of ten of the last digit.
fn decimal(number: &str) -> Option<(bool, String, i64)> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let unsigned = mantissa.trim_start_matches('-');
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = [whole, fraction].concat();
    let significant = digits.trim_end_matches('0');
    let zeros = digits.len() - significant.len();
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return Some((false, String::new(), 0));
    }
    let exponent = exponent
        .parse::<i64>()
        .ok()?
        .checked_sub(i64::try_from(fraction.len()).ok()?)?
        .checked_add(i64::try_from(zeros).ok()?)?;
    Some((unsigned.len() < mantissa.len(), significant.to_owned(), exponent))
}

/// Reads a value that has at most `depth` levels of arrays and objects.
#[derive(Clone, Copy)]
struct Strict<'a> {
    /// Number of further levels of arrays and objects that are allowed.
    depth: usize,
    /// Set when a number is read as a double.
    doubles: &'a Cell<bool>,
}

impl Strict<'_> {
    /// Returns the reader for the values inside an array or object.
    fn inner<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        let depth = depth.ok_or_else(|| E::custom("arrays and objects are nested too deeply"))?;
        Ok(Self { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
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

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        if is_small(value) {
            Ok(value.into())
        } else {
            Err(E::custom(TOO_LARGE))
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        if value <= LARGEST_INTEGER {
            Ok(value.into())
        } else {
            Err(E::custom(TOO_LARGE))
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.doubles.set(true);
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number is too large"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("two members have the same name"));
            }
        }
        Ok(object.into())
    }
}
