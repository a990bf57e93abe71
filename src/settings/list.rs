//! Lists in settings.

use std::fmt::Display;
use std::str::FromStr;

/// Values separated by commas. Compose files and `.env` use an empty value for "not set".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List<T>(pub(crate) Vec<T>);

/// Parses a list.
pub(super) fn list<T: FromStr<Err: Display>>(text: &str) -> Result<List<T>, String> {
    text.split(',')
        .filter(|value| !value.trim().is_empty())
        .map(|value| value.parse().map_err(|error: T::Err| error.to_string()))
        .collect::<Result<_, _>>()
        .map(List)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_separated_by_commas_and_may_be_empty() {
        assert_eq!(list::<u32>(""), Ok(List(vec![])));
        assert_eq!(list::<u8>("1,2,"), Ok(List(vec![1, 2])));
        assert!(list::<u8>("1,x").is_err());
    }
}
