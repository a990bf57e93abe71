//! Values in statements.

use std::borrow::Cow;

use crate::clock::Timestamp;
use crate::event::Position;

/// A value in a statement.
#[derive(Debug, Clone)]
pub enum Value<'v> {
    /// An integer.
    Integer(i64),
    /// Text or JSON.
    Text(Cow<'v, str>),
    /// Bytes, such as a SHA-256 digest.
    Bytes(Cow<'v, [u8]>),
    /// NULL.
    Null,
}

impl Value<'_> {
    /// Returns the value without borrowed content.
    pub(super) fn into_owned(self) -> Value<'static> {
        match self {
            Self::Integer(number) => Value::Integer(number),
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
            Self::Null => Value::Null,
        }
    }
}

/// Binds a [`Value`] to the next `?` of a query of either driver.
macro_rules! bind_value {
    ($query:expr, $value:expr) => {
        match $value {
            $crate::database::value::Value::Integer(number) => $query.bind(number),
            $crate::database::value::Value::Text(std::borrow::Cow::Borrowed(text)) => $query.bind(text),
            $crate::database::value::Value::Text(std::borrow::Cow::Owned(text)) => $query.bind(text),
            $crate::database::value::Value::Bytes(std::borrow::Cow::Borrowed(bytes)) => $query.bind(bytes),
            $crate::database::value::Value::Bytes(std::borrow::Cow::Owned(bytes)) => $query.bind(bytes),
            $crate::database::value::Value::Null => $query.bind(None::<i64>),
        }
    };
}

pub(super) use bind_value;

impl<T: Into<Self>> From<Option<T>> for Value<'_> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<i32> for Value<'_> {
    fn from(number: i32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(moment: Timestamp) -> Self {
        Self::Integer(moment.as_micros())
    }
}

impl From<Position> for Value<'_> {
    fn from(position: Position) -> Self {
        Self::Integer(position.to_stored())
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(text: &'v str) -> Self {
        Self::Text(text.into())
    }
}

impl<'v> From<&'v String> for Value<'v> {
    fn from(text: &'v String) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl<'v> From<&'v [u8]> for Value<'v> {
    fn from(bytes: &'v [u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl<'v> From<&'v [u8; 32]> for Value<'v> {
    fn from(digest: &'v [u8; 32]) -> Self {
        Self::from(digest.as_slice())
    }
}

impl From<Vec<u8>> for Value<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}
