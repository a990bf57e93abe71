//! Parser of query strings.

use std::collections::BTreeSet;
use std::fmt::Display;

use eventstore::Timestamp;
use url::form_urlencoded;

use crate::problem::{FieldProblem, RequestError, shown_name};

/// Default number of items on a page.
pub const DEFAULT_LIMIT: u32 = 100;

/// Maximum number of unknown parameters named in a response.
const UNKNOWN_NAMED: usize = 20;

/// Decoded query parameters of a request, and the problems found so far.
///
/// Parameters that the route does not read are rejected. Otherwise a client that sends `skip` to a route that
/// pages by `after` would get the first page again and again.
#[derive(Debug)]
pub struct Query {
    parameters: Vec<Parameter>,
    problems: Vec<FieldProblem>,
}

#[derive(Debug)]
struct Parameter {
    name: String,
    value: String,
    read: bool,
}

impl Query {
    /// Decodes a query string.
    #[must_use]
    pub fn parse(query: Option<&str>) -> Self {
        Self {
            parameters: form_urlencoded::parse(query.unwrap_or_default().as_bytes())
                .map(|(name, value)| Parameter {
                    name: name.into_owned(),
                    value: value.into_owned(),
                    read: false,
                })
                .collect(),
            problems: Vec::new(),
        }
    }

    /// Returns the parameter `name`, parsed by `read`. `None` if it was not sent or is invalid. An invalid
    /// value is recorded as a problem with the message `must`.
    pub fn read<T>(&mut self, name: &str, must: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        self.parse_one(name, |value| read(value).ok_or_else(|| must.to_owned()))
    }

    /// Returns the parameter `name`, parsed by `parse`. `None` if it was not sent or is invalid. An error of
    /// `parse` is recorded as a problem.
    pub fn text<T, E: Display>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        self.parse_one(name, |value| {
            // The decoder replaces malformed UTF-8 with this character.
            if value.contains(char::REPLACEMENT_CHARACTER) {
                return Err("must be percent-encoded UTF-8".to_owned());
            }
            parse(value).map_err(|error| error.to_string())
        })
    }

    fn parse_one<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let mut sent = self
            .parameters
            .iter_mut()
            .filter(|parameter| parameter.name == name);
        let first = sent.next()?;
        first.read = true;
        let mut repeated = false;
        for parameter in sent {
            parameter.read = true;
            repeated = true;
        }
        let parsed = if repeated {
            Err("was sent more than once".to_owned())
        } else {
            parse(&first.value)
        };
        parsed
            .map_err(|message| self.problems.push(FieldProblem::new(name, message)))
            .ok()
    }

    /// Rejects a parameter that is valid only together with others.
    pub fn reject(&mut self, name: &str, must: &str) {
        self.problems.push(FieldProblem::new(name, must.to_owned()));
    }

    /// Returns a whole number from 0 to 2⁶³ − 1.
    pub fn number(&mut self, name: &str) -> Option<u64> {
        self.read(name, "must be a whole number, 0 or greater", whole_number)
    }

    /// Returns the maximum number of items on a page, from 1 to 1000.
    pub fn limit(&mut self) -> Option<u32> {
        self.read("limit", "must be a whole number from 1 to 1000", |value| {
            let limit = u32::try_from(whole_number(value)?).ok()?;
            (1..=1000).contains(&limit).then_some(limit)
        })
    }

    /// Returns a text of 1 to `most` characters without control characters.
    pub fn short_text(&mut self, name: &str, most: usize) -> Option<String> {
        self.text(name, |value| {
            let fits = (1..=most).contains(&value.chars().count()) && !value.chars().any(char::is_control);
            fits.then(|| value.to_owned())
                .ok_or_else(|| format!("must have 1 to {most} characters and no control characters"))
        })
    }

    /// Returns a time in any format that [`Timestamp`] parses.
    pub fn moment(&mut self, name: &str) -> Option<Timestamp> {
        let must = "must be a timestamp such as 2026-11-24T06:51:04Z or 2026-11-24T06:51:04.123456+01:00";
        self.read(name, must, |value| value.parse().ok())
    }

    /// Checks that all parameters were valid and known.
    ///
    /// # Errors
    ///
    /// [`RequestError::Invalid`] with the problems of the parameters that were read and the names of the
    /// unknown parameters.
    pub fn finish(self) -> Result<(), RequestError> {
        let Self {
            parameters,
            mut problems,
        } = self;
        let unknown = parameters.iter().filter(|parameter| !parameter.read);
        let unknown: BTreeSet<_> = unknown.map(|parameter| &parameter.name).collect();
        problems.extend(
            unknown
                .into_iter()
                .take(UNKNOWN_NAMED)
                .map(|name| FieldProblem::new(&shown_name(name), "is not a parameter of this request")),
        );
        if problems.is_empty() {
            Ok(())
        } else {
            Err(RequestError::Invalid(problems))
        }
    }
}

/// Parses a whole number from 0 to 2⁶³ − 1. Accepts only digits: no sign, no spaces.
fn whole_number(text: &str) -> Option<u64> {
    // Rust's integer parser accepts a leading plus sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<u64>().ok().filter(|_| digits)?;
    i64::try_from(number).is_ok().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_decoded_and_may_be_left_out() {
        let mut query = Query::parse(Some("limit=7&after=%31%30"));
        assert_eq!((query.limit(), query.number("after")), (Some(7), Some(10)));
        assert_eq!(query.number("other"), None);
        query.finish().unwrap();
        Query::parse(None).finish().unwrap();
    }

    #[test]
    fn a_moment_is_read_whatever_its_offset_and_whether_its_plus_is_encoded() {
        for moment in [
            "2026-11-24T06:51:04Z",
            "2026-11-24T07:51:04%2B01:00",
            "2026-11-24T07:51:04+01:00",
            "2026-11-24t06%3A51%3A04.000000z",
            "2026-11-24T01:51:04-05:00",
        ] {
            let mut query = Query::parse(Some(&format!("at={moment}")));
            let read = query.moment("at").map(Timestamp::as_micros);
            assert_eq!(read, Some(1_795_503_064_000_000), "{moment}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_reported_at_once() {
        let mut query = Query::parse(Some("limit=0&after=-1&actor=&at=yesterday&n=1&n=1"));
        assert_eq!((query.limit(), query.number("after")), (None, None));
        assert_eq!((query.short_text("actor", 8), query.moment("at")), (None, None));
        assert_eq!(query.number("n"), None);
        let Err(RequestError::Invalid(problems)) = query.finish() else {
            panic!("accepted")
        };
        let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, ["limit", "after", "actor", "at", "n"]);
    }

    #[test]
    fn a_parameter_that_nobody_reads_is_named_and_refused() {
        let unknown = |sent: &str| {
            let mut query = Query::parse(Some(sent));
            query.limit();
            match query.finish() {
                Ok(()) => Vec::new(),
                Err(RequestError::Invalid(problems)) => {
                    problems.into_iter().map(|problem| problem.field).collect()
                }
                Err(other) => panic!("{other:?}"),
            }
        };
        assert_eq!(unknown("limit=7"), [""; 0]);
        assert_eq!(unknown("&&"), [""; 0]);
        assert_eq!(unknown("skip=100"), ["skip"]);
        assert_eq!(
            unknown("limit=0&page=2&offset&%73kip=1&page=2"),
            ["limit", "offset", "page", "skip"]
        );
        assert_eq!(unknown("Limit=7&limit%20=7"), ["Limit", "limit "]);
        assert_eq!(unknown("=7"), [""]);
        assert_eq!(unknown("%00a%0Ab=7"), ["ab"]);
        assert_eq!(unknown(&format!("{}=7", "ñ".repeat(100))), ["ñ".repeat(64)]);
        let many: Vec<String> = (0..1000).map(|number| format!("p{number:04}")).collect();
        assert_eq!(unknown(&many.join("&")).len(), UNKNOWN_NAMED);
    }

    #[test]
    fn numbers_that_are_not_whole_or_too_large_are_refused() {
        for value in ["9223372036854775808", "1e3", "", "%FF", "1.0", "-0", "%2B1"] {
            let mut query = Query::parse(Some(&format!("after={value}")));
            assert_eq!(query.number("after"), None, "{value}");
            query.finish().unwrap_err();
            let mut query = Query::parse(Some(&format!("limit={value}")));
            assert_eq!(query.limit(), None, "{value}");
        }
    }
}
