//! Query strings, parsed.

use std::fmt::Display;

use eventstore::{Position, Timestamp};
use url::form_urlencoded;
use uuid::Uuid;

use crate::problem::{ApiError, FieldProblem};

/// How many of something a page has if its request does not say.
pub(crate) const DEFAULT_LIMIT: u32 = 100;

/// The parameters of a request, decoded, and what is wrong with those that were read so far.
///
/// Parameters that nobody reads (a cache buster, a campaign's tag) do no harm.
#[derive(Debug)]
pub(crate) struct Query {
    parameters: Vec<(String, String)>,
    problems: Vec<FieldProblem>,
}

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        Self {
            parameters: form_urlencoded::parse(query.unwrap_or_default().as_bytes())
                .into_owned()
                .collect(),
            problems: Vec::new(),
        }
    }

    /// The parameter of that name, if it was sent: as `read` reads it, or a problem that says what it `must` be.
    pub(crate) fn read<T>(
        &mut self,
        name: &str,
        must: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.parse_one(name, |value| read(value).ok_or_else(|| must.to_owned()))
    }

    /// Text that `parse` makes a value of, or a problem that says why it did not.
    pub(crate) fn text<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.parse_one(name, |value| {
            // It stands for what was no UTF-8.
            if value.contains(char::REPLACEMENT_CHARACTER) {
                return Err("must be UTF-8, percent-encoded".to_owned());
            }
            parse(value).map_err(|error| error.to_string())
        })
    }

    fn parse_one<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let mut values = self.parameters.iter().filter(|(parameter, _)| parameter == name);
        let (_, value) = values.next()?;
        let parsed = match values.next() {
            Some(_) => Err("was sent more than once".to_owned()),
            None => parse(value),
        };
        parsed
            .map_err(|message| self.problems.push(FieldProblem::new(name, message)))
            .ok()
    }

    /// A whole number from 0.
    pub(crate) fn number(&mut self, name: &str) -> Option<u64> {
        self.position(name).map(Position::get)
    }

    /// How many of something a page has at most: 1 to 1000.
    pub(crate) fn limit(&mut self) -> Option<u32> {
        self.read("limit", "must be a whole number from 1 to 1000", |value| {
            let number: Position = value.parse().ok()?;
            u32::try_from(number.get())
                .ok()
                .filter(|limit| (1..=1000).contains(limit))
        })
    }

    pub(crate) fn position(&mut self, name: &str) -> Option<Position> {
        self.read(name, "must be a whole number from 0", |value| value.parse().ok())
    }

    pub(crate) fn id(&mut self, name: &str) -> Option<Uuid> {
        self.read(name, "must be the id of a patient", |value| {
            Uuid::try_parse(value).ok()
        })
    }

    /// A text of 1 to `most` characters, none of them a control character.
    pub(crate) fn short_text(&mut self, name: &str, most: usize) -> Option<String> {
        self.text(name, |value| {
            let fits = (1..=most).contains(&value.chars().count()) && !value.chars().any(char::is_control);
            fits.then(|| value.to_owned())
                .ok_or_else(|| format!("must have 1 to {most} characters, none of them a control character"))
        })
    }

    /// A moment, in every spelling that [`Timestamp`] reads.
    pub(crate) fn moment(&mut self, name: &str) -> Option<Timestamp> {
        let must = "must be a moment such as 2026-11-24T06:51:04Z or 2026-11-24T06:51:04.123456+01:00";
        self.read(name, must, |value| value.parse().ok())
    }

    /// # Errors
    ///
    /// [`ApiError::Invalid`] with everything that is wrong with the parameters that were read.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(ApiError::Invalid(self.problems))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_decoded_and_may_be_left_out() {
        let mut query = Query::parse(Some("limit=7&after=%31%30&x=y"));
        assert_eq!((query.limit(), query.number("after")), (Some(7), Some(10)));
        assert_eq!(query.id("id"), None);
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
        let mut query = Query::parse(Some("limit=0&after=-1&id=7&at=yesterday&n=1&n=1"));
        assert_eq!((query.limit(), query.number("after")), (None, None));
        assert_eq!((query.id("id"), query.moment("at")), (None, None));
        assert_eq!(query.number("n"), None);
        let Err(ApiError::Invalid(problems)) = query.finish() else {
            panic!("accepted")
        };
        let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, ["limit", "after", "id", "at", "n"]);
    }

    #[test]
    fn numbers_that_no_position_can_have_are_refused() {
        for value in ["9223372036854775808", "1e3", "", "%FF", "1.0", "-0", "%2B1"] {
            let mut query = Query::parse(Some(&format!("after={value}")));
            assert_eq!(query.position("after"), None, "{value}");
            query.finish().unwrap_err();
            let mut query = Query::parse(Some(&format!("limit={value}")));
            assert_eq!(query.limit(), None, "{value}");
        }
    }
}
