//! What a JWT whose signature is good says, and whether that lets its holder in.

use std::time::Duration;

use eventstore::Timestamp;
use serde_json::Value;

use super::{IssuerOptions, Refusal};
use crate::access::{Role, Roles};

/// How far the issuer's clock and ours may differ.
const LEEWAY: Duration = Duration::from_secs(30);
/// The longest subject (`OpenID` Connect Core 1.0, section 2).
const LONGEST_SUBJECT: usize = 255;

/// Who holds a token, and how long it is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::access) struct Holder {
    pub(in crate::access) actor: String,
    pub(in crate::access) roles: Roles,
    from: Option<Timestamp>,
    until: Timestamp,
}

impl Holder {
    /// Reads the claims that matter here; others are passed over.
    pub(super) fn read(claims: &Value, wanted: &IssuerOptions) -> Result<Self, Refusal> {
        let text = |name| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(&wanted.issuer) {
            return Err(Refusal::Issuer);
        }
        if !is_for(claims.get("aud"), &wanted.audience) {
            return Err(Refusal::Audience);
        }
        let until = moment(claims.get("exp").ok_or(Refusal::NoExpiry)?).ok_or(Refusal::NoExpiry)?;
        let from = match claims.get("nbf") {
            Some(nbf) => Some(moment(nbf).ok_or(Refusal::Malformed)?),
            None => None,
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

    /// Whether the token is good at that moment.
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

/// `aud` is a text, or an array of some (RFC 7519, section 4.1.3).
fn is_for(aud: Option<&Value>, audience: &str) -> bool {
    match aud {
        Some(Value::String(aud)) => aud == audience,
        Some(Value::Array(all)) => all.iter().any(|aud| aud.as_str() == Some(audience)),
        _ => false,
    }
}

/// A `NumericDate`: seconds since 1970, maybe with a fraction.
fn moment(date: &Value) -> Option<Timestamp> {
    let since = Duration::try_from_secs_f64(date.as_f64()?).ok()?;
    Some(Timestamp::from_micros(0) + since)
}

/// The roles in a claim: that of this name, or else the one that its parts between points lead to (`realm_access.roles`).
/// An array of texts, or one text with spaces between. What names no role of ours is passed over.
fn roles(claims: &Value, claim: &str) -> Roles {
    let path = || claim.split('.').try_fold(claims, |value, name| value.get(name));
    match claims.get(claim).or_else(path) {
        Some(Value::String(names)) => roles_in(names.split(' ')),
        Some(Value::Array(names)) => roles_in(names.iter().filter_map(Value::as_str)),
        _ => Roles::default(),
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
        let claims = json!({
            "roles": ["clerk", "offline_access", 7, "Auditor"],
            "scope": "openid operator auditor",
            "realm_access": {"roles": ["auditor"]},
            "https://example.com/roles": ["operator"],
            "role": {"clerk": true},
        });
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
        assert_eq!(
            moment(&json!(1_700_000_000)),
            Some(Timestamp::from_micros(1_700_000_000_000_000))
        );
        assert_eq!(moment(&json!(1.5)), Some(Timestamp::from_micros(1_500_000)));
        for date in [
            json!("1700000000"),
            json!(-1),
            json!(null),
            json!([1]),
            json!(1e300),
        ] {
            assert_eq!(moment(&date), None, "{date}");
        }
    }
}
