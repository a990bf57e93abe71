//! Claims of a JWT whose signature is valid, and whether they authenticate its holder.

use std::time::Duration;

use eventstore::Timestamp;
use serde::Deserialize;

use super::json::Object;
use super::{IssuerOptions, Refusal};
use crate::access::{Role, Roles};

/// Maximum difference between the issuer's clock and the clock of this service.
const LEEWAY: Duration = Duration::from_secs(30);
/// Maximum length of a subject, in bytes (`OpenID` Connect Core 1.0, section 2).
const LONGEST_SUBJECT: usize = 255;

/// Claims that do not occur in access tokens. `events` belongs to logout tokens and security event tokens.
/// The other claims belong to ID tokens.
const OF_OTHER_TOKENS: [&str; 5] = ["events", "nonce", "at_hash", "c_hash", "s_hash"];
/// Values of the claim `typ` that denote an access token. Keycloak puts the kind of the token there: `Bearer`
/// for access tokens, and `ID`, `Refresh`, `Offline`, `Logout` and others for other tokens.
const ACCESS_TYPES: [&str; 6] = [
    "Bearer",
    "JWT",
    "at+jwt",
    "application/at+jwt",
    "access",
    "access_token",
];

/// Holder of a token, and the token's validity period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::access) struct Holder {
    pub(in crate::access) actor: String,
    pub(in crate::access) roles: Roles,
    from: Option<Timestamp>,
    until: Timestamp,
}

impl Holder {
    /// Reads and checks the relevant claims. Ignores all others.
    pub(super) fn read(claims: &Object<'_>, wanted: &IssuerOptions) -> Result<Self, Refusal> {
        let text = |name| claims.get::<String>(name);
        if text("iss").as_ref() != Some(&wanted.issuer) {
            return Err(Refusal::Issuer);
        }
        if !claims
            .get::<Texts>("aud")
            .is_some_and(|aud| aud.has(&wanted.audience))
        {
            return Err(Refusal::Audience);
        }
        check_kind(claims)?;
        let until = moment(claims, "exp").ok_or(Refusal::NoExpiry)?;
        let from = if claims.has("nbf") {
            Some(moment(claims, "nbf").ok_or(Refusal::Malformed)?)
        } else {
            None
        };
        let subject = text("sub").filter(|subject| {
            (1..=LONGEST_SUBJECT).contains(&subject.len())
                && subject.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        });
        let subject = subject.ok_or(Refusal::Subject)?;
        Ok(Self {
            actor: format!("{}#{subject}", wanted.issuer),
            roles: roles(claims, &wanted.roles_claim),
            from,
            until,
        })
    }

    /// Checks that the token is valid at the time `now`.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), Refusal> {
        if self.from.is_some_and(|from| now + LEEWAY < from) {
            return Err(Refusal::NotYet);
        }
        if now >= self.until + LEEWAY {
            return Err(Refusal::Expired);
        }
        Ok(())
    }
}

/// Rejects tokens of the issuer that are not access tokens, such as ID tokens, which are meant for clients.
/// Also rejects tokens that are valid only with proof that the sender holds a key.
fn check_kind(claims: &Object<'_>) -> Result<(), Refusal> {
    // A claim that is not a string matches no known value.
    let says = |name, known: &[&str]| {
        !claims.has(name)
            || claims
                .get::<String>(name)
                .is_some_and(|kind| known.iter().any(|known| kind.eq_ignore_ascii_case(known)))
    };
    let is_of_another = OF_OTHER_TOKENS.iter().any(|name| claims.has(name));
    // Amazon Cognito uses `token_use` instead of `typ`.
    if is_of_another || !says("typ", &ACCESS_TYPES) || !says("token_use", &["access"]) {
        return Err(Refusal::NotAnAccessToken);
    }
    if claims.has("cnf") {
        return Err(Refusal::Bound);
    }
    Ok(())
}

/// String, or array that may contain strings.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Some(Vec<serde_json::Value>),
}

impl Texts {
    /// Whether this is, or contains, the given string (RFC 7519, section 4.1.3).
    fn has(&self, text: &str) -> bool {
        match self {
            Self::One(one) => one == text,
            Self::Some(all) => all.iter().any(|one| one.as_str() == Some(text)),
        }
    }
}

/// Reads a `NumericDate`: seconds since 1970, which may have a fractional part. A date beyond the range of
/// [`Timestamp`] becomes the latest possible timestamp.
fn moment(claims: &Object<'_>, name: &str) -> Option<Timestamp> {
    let seconds: f64 = claims.get(name)?;
    if seconds.is_sign_negative() && seconds != 0.0 {
        return None;
    }
    let since = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    Some(Timestamp::from_micros(0) + since)
}

/// Reads the roles from the claim named `claim`. If that claim does not exist, the dots in `claim` separate
/// the names of nested objects, as in `realm_access.roles`. The value is an array of strings, or one string
/// with spaces between the roles. Unknown roles are ignored.
fn roles(claims: &Object<'_>, claim: &str) -> Roles {
    match claims.get::<Texts>(claim).or_else(|| led_to(claims, claim)) {
        Some(Texts::One(names)) => roles_in(names.split(' ')),
        Some(Texts::Some(names)) => roles_in(names.iter().filter_map(serde_json::Value::as_str)),
        None => Roles::default(),
    }
}

fn led_to(claims: &Object<'_>, path: &str) -> Option<Texts> {
    match path.split_once('.') {
        Some((name, path)) => led_to(&claims.get(name)?, path),
        None => claims.get(path),
    }
}

fn roles_in<'a>(names: impl Iterator<Item = &'a str>) -> Roles {
    names.filter_map(|name| name.parse::<Role>().ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn roles_are_found_where_the_setting_says_and_nowhere_else() {
        let text = json!({
            "roles": ["clerk", "offline_access", 7, "Auditor"],
            "scope": "openid operator auditor",
            "realm_access": {"roles": ["auditor"]},
            "https://example.com/roles": ["operator"],
            "role": {"clerk": true},
        })
        .to_string();
        let claims = Object::parse(&text).unwrap();
        let of = |roles: &[Role]| roles.iter().copied().collect::<Roles>();
        for (claim, expected) in [
            ("roles", &[Role::Clerk][..]),
            ("scope", &[Role::Operator, Role::Auditor]),
            ("realm_access.roles", &[Role::Auditor]),
            ("https://example.com/roles", &[Role::Operator]),
            ("role", &[]),
            ("realm_access", &[]),
            ("nowhere.at.all", &[]),
        ] {
            assert_eq!(roles(&claims, claim), of(expected), "{claim}");
        }
    }

    #[test]
    fn a_moment_is_a_number_of_seconds_from_1970_on() {
        let read = |date: &str| moment(&Object::parse(&format!("{{\"exp\": {date}}}")).unwrap(), "exp");
        let far = Some(Timestamp::from_micros(i64::MAX));
        for (date, expected) in [
            ("1700000000", Some(Timestamp::from_micros(1_700_000_000_000_000))),
            ("1.5", Some(Timestamp::from_micros(1_500_000))),
            ("0", Some(Timestamp::from_micros(0))),
            ("9007199254740993", far),
            ("18446744073709551616", far),
            ("1e300", far),
            ("\"1700000000\"", None),
            ("-1", None),
            ("null", None),
            ("[1]", None),
        ] {
            assert_eq!(read(date), expected, "{date}");
        }
    }
}
