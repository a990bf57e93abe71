//! Parsers of setting values, and their error messages.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use api::retention::RetentionPeriod;
use domain::{UrlSchemes, UrlSchemesError};
use mailer::Rate;
use tlog::{AddressError, WitnessAddress};
use web::RateLimit;

use super::list::List;
use super::rate::rate;

/// Value of `AUTH`. It does not switch authentication on: access tokens or an issuer do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Auth {
    /// Confirms that the API runs without authentication on any address.
    Off,
    /// Empty. Without access tokens and without an issuer, an API on a loopback address still runs without
    /// authentication.
    Unset,
}

/// A value, or `off`, which is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OrOff<T>(pub(super) Option<T>);

/// An optional value: compose files and `.env` use an empty value for "not set".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Optional<T>(pub(super) Option<T>);

pub(super) fn optional<T: FromStr<Err: Display>>(text: &str) -> Result<Optional<T>, String> {
    if text.trim().is_empty() {
        return Ok(Optional(None));
    }
    let value = text.parse().map_err(|error: T::Err| error.to_string())?;
    Ok(Optional(Some(value)))
}

/// Parses a path. An empty path, which compose files and `.env` use for "not set", is accepted; callers must
/// ignore it.
#[expect(clippy::unnecessary_wraps, reason = "clap wants a Result")]
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(text))
}

/// Parses `AUTH`. Compose files and `.env` use an empty value for "not set".
pub(super) fn auth(text: &str) -> Result<Auth, String> {
    match text {
        "off" => Ok(Auth::Off),
        "" => Ok(Auth::Unset),
        _ => Err("expected off or an empty value".to_owned()),
    }
}

/// Parses URL schemes. Compose files and `.env` use an empty value for the default.
pub(super) fn document_url_schemes(text: &str) -> Result<UrlSchemes, UrlSchemesError> {
    if text.is_empty() {
        return Ok(UrlSchemes::default());
    }
    text.parse()
}

pub(super) fn redis_channel(text: &str) -> Result<String, String> {
    if (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 200 visible ASCII characters, such as patients.events".to_owned())
}

pub(super) fn http_addr(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected an address and a port, such as 127.0.0.1:8000".to_owned())
}

pub(super) fn metrics_addr(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected an address and a port, such as 127.0.0.1:9100".to_owned())
}

/// Maximum duration in a setting. Added to the current time, it stays a valid time.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// Parses a duration of at most a year.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text);
    let duration = duration.map_err(|_| "expected a duration, such as 10s or 500ms".to_owned())?;
    if duration > LONGEST {
        return Err("expected a duration of at most 365 days".to_owned());
    }
    Ok(duration)
}

/// Parses the time for which a command tries to reach the database.
pub(crate) fn wait(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let longest = Duration::from_hours(24);
    let wait = duration(text).ok().filter(|wait| *wait <= longest);
    wait.ok_or_else(|| "expected 0 or a duration of at most a day, such as 500ms, 10s or 2m".to_owned())
}

pub(super) fn mail_rate(text: &str) -> Result<Rate, String> {
    rate(text)
        .and_then(|(mails, time)| Rate::new(mails, time))
        .ok_or_else(|| {
            "expected a number of emails per unit of time, such as 10/s, 600/m, 5000/h or 2000/d".to_owned()
        })
}

/// Parses a retention period.
pub(super) fn retention(text: &str) -> Result<OrOff<RetentionPeriod>, String> {
    if text == "off" {
        return Ok(OrOff(None));
    }
    let period = text.parse::<RetentionPeriod>();
    period
        .map(|period| OrOff(Some(period)))
        .map_err(|error| format!("{error}, or off"))
}

pub(super) fn rate_limit(text: &str) -> Result<OrOff<RateLimit>, String> {
    if text == "off" {
        return Ok(OrOff(None));
    }
    rate(text)
        .and_then(|(requests, time)| RateLimit::new(requests, time))
        .map(|limit| OrOff(Some(limit)))
        .ok_or_else(|| {
            let most = RateLimit::MOST;
            format!("expected 1 to {most} requests per unit of time, such as 1000/s or 6000/m, or off")
        })
}

/// Parses a timeout from 100ms, which leaves time for distant clients, to 1h.
pub(super) fn head_timeout(text: &str) -> Result<Duration, String> {
    duration_from(Duration::from_millis(100), "expected 100ms to 1h", text)
}

/// Parses a mail timeout. No mail server responds reliably within less than a second. If a mailer is killed,
/// the leases on its emails last for the answer timeout and up to 50 s longer.
pub(super) fn mail_timeout(text: &str) -> Result<Duration, String> {
    duration_from(Duration::from_secs(1), "expected 1s to 1h", text)
}

/// Parses the origin of the published log. It is also the name of the key, so it must not contain `+`.
pub(super) fn log_origin(text: &str) -> Result<String, String> {
    let is_valid = |byte: u8| byte.is_ascii_graphic() && byte != b'+';
    if text.len() <= 200 && text.bytes().all(is_valid) {
        return Ok(text.to_owned());
    }
    Err(
        "expected 1 to 200 visible ASCII characters without +, such as log.hospital.example/patients"
            .to_owned(),
    )
}

/// Parses witnesses, separated by commas or white space. Compose files and `.env` use an empty value for "not
/// set".
pub(super) fn witnesses(text: &str) -> Result<List<WitnessAddress>, String> {
    text.split(|character: char| character == ',' || character.is_whitespace())
        .filter(|witness| !witness.is_empty())
        .map(|witness| witness.parse().map_err(|error: AddressError| error.to_string()))
        .collect::<Result<_, _>>()
        .map(List)
}

/// Parses the interval of signed checkpoints.
pub(super) fn checkpoint_interval(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_millis(100)..=Duration::from_hours(24);
    let interval = duration(text)?;
    if allowed.contains(&interval) {
        Ok(interval)
    } else {
        Err("expected 100ms to 24h".to_owned())
    }
}

/// Parses a duration from `shortest` to an hour.
fn duration_from(shortest: Duration, expected: &str, text: &str) -> Result<Duration, String> {
    let allowed = shortest..=Duration::from_hours(1);
    let duration = duration(text)?;
    if allowed.contains(&duration) {
        Ok(duration)
    } else {
        Err(expected.to_owned())
    }
}
