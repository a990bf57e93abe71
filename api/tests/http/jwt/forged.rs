//! Tests of invalid tokens, each with a single defect.

use axum::http::StatusCode;
use serde_json::{Value, json};
use testkit::{Signer, base64url as encode};
use web::access::TokenType;

use super::{Clinic, NOW, claims};

/// Returns a token that is signed with the public key as a shared secret. A service that lets the token
/// choose the algorithm would accept it.
fn hs256(key: &Value) -> String {
    let head = json!({"alg": "HS256", "kid": key["kid"]}).to_string();
    let message = format!("{}.{}", encode(head), encode(claims(&json!("clerk")).to_string()));
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.to_string().as_bytes());
    let tag = ring::hmac::sign(&secret, message.as_bytes());
    format!("{message}.{}", encode(tag))
}

/// Returns a token of the signer with some members of the header and of the claims changed. `null` removes a
/// member.
fn altered(signer: &Signer, header: &Value, changed: &Value) -> String {
    let merge = |mut whole: Value, changes: &Value| {
        let whole_object = whole.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                whole_object.remove(name);
            } else {
                whole_object.insert(name.clone(), value.clone());
            }
        }
        whole.to_string()
    };
    let claims = merge(claims(&json!("clerk")), changed);
    signer.token_of(&merge(signer.header(), header), &claims)
}

#[expect(clippy::too_many_lines, reason = "the function is a table of forged tokens")]
#[tokio::test]
async fn no_forged_token_lets_anybody_in_and_none_is_told_why() {
    let [rsa, pss, ec, ed] = Signer::of_each_kind();
    let clinic = Clinic::with(&[&rsa, &pss, &ec, &ed]).await;
    let good = ed.token(&claims(&json!("clerk")));
    let parts: Vec<&str> = good.split('.').collect();
    let [head, payload, signature] = parts[..] else {
        panic!("not three parts")
    };
    let none = json!({});
    let with = |changed: &Value| altered(&ed, &none, changed);
    let headed = |header: &Value| altered(&ed, header, &none);
    let other_payload = encode(claims(&json!("clerk auditor operator")).to_string());
    let unsigned = |alg: &str| format!("{}.{payload}.", encode(json!({"alg": alg}).to_string()));
    let text = claims(&json!("clerk")).to_string();
    let twice = text.replacen('{', r#"{"sub":"somebody-else","#, 1);
    let nested = text.replacen('{', r#"{"realm_access":{"roles":[],"roles":[]},"#, 1);
    let own_header = ed.header().to_string();
    let header_twice = own_header.replacen('{', r#"{"kid":"ed","#, 1);
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    for (why, token) in [
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("no alg", format!("{}.{payload}.{signature}", encode("{}"))),
        ("HS256 with the public RSA key", hs256(&rsa.jwk())),
        ("HS256 with the public Ed25519 key", hs256(&ed.jwk())),
        (
            "another algorithm of the same key",
            headed(&json!({"alg": "ES256"})),
        ),
        (
            "RS256 signature said to be PS256",
            altered(&rsa, &json!({"alg": "PS256"}), &none),
        ),
        (
            "an algorithm that is not allowed",
            altered(&rsa, &json!({"alg": "RS512"}), &none),
        ),
        ("a key that nobody knows", headed(&json!({"kid": "unknown"}))),
        ("the kid of another key", headed(&json!({"kid": "ec"}))),
        (
            "the key of somebody else",
            Signer::ed("ed").token(&claims(&json!("clerk"))),
        ),
        ("its own key along", {
            let thief = Signer::ed("thief");
            altered(&thief, &json!({"kid": null, "jwk": thief.jwk()}), &none)
        }),
        ("critical", headed(&json!({"crit": ["exp"]}))),
        ("critical, of nothing", headed(&json!({"crit": []}))),
        ("another type", headed(&json!({"typ": "logout+jwt"}))),
        ("no type", headed(&json!({"typ": null}))),
        ("the type of any JWT", headed(&json!({"typ": "JWT"}))),
        ("a type that is no text", headed(&json!({"typ": ["at+jwt"]}))),
        ("a kid that is no text", headed(&json!({"kid": 7}))),
        ("two members in the header", ed.token_of(&header_twice, &text)),
        ("two subjects", ed.token_of(&own_header, &twice)),
        ("two members deep inside", ed.token_of(&own_header, &nested)),
        ("not an object", ed.token_of(&own_header, "[]")),
        ("not JSON", ed.token_of(&own_header, "clerk")),
        ("another payload", format!("{head}.{other_payload}.{signature}")),
        (
            "another signature",
            format!("{head}.{payload}.{flipped}{}", &signature[1..]),
        ),
        (
            "half a signature",
            format!("{head}.{payload}.{}", &signature[..40]),
        ),
        ("no signature", format!("{head}.{payload}.")),
        ("padding", format!("{head}.{payload}.{signature}==")),
        ("four parts", format!("{good}.{signature}")),
        ("two parts", format!("{head}.{payload}")),
        ("no parts", "..".to_owned()),
        ("oversized", with(&json!({"filler": "x".repeat(10_000)}))),
        (
            "another issuer",
            with(&json!({"iss": "https://id.example.com/realms/other"})),
        ),
        (
            "an issuer with a slash",
            with(&json!({"iss": format!("{}/", super::ISSUER)})),
        ),
        ("issuers", with(&json!({"iss": [super::ISSUER]}))),
        ("no issuer", with(&json!({"iss": null}))),
        ("another audience", with(&json!({"aud": "billing"}))),
        ("other audiences", with(&json!({"aud": ["billing", "patients"]}))),
        ("no audience", with(&json!({"aud": null}))),
        ("expired", with(&json!({"exp": NOW - 30}))),
        ("no expiry", with(&json!({"exp": null}))),
        (
            "an expiry that is a text",
            with(&json!({"exp": (NOW + 300).to_string()})),
        ),
        ("an expiry before time began", with(&json!({"exp": -1}))),
        ("not valid yet", with(&json!({"nbf": NOW + 31}))),
        (
            "a beginning that is a text",
            with(&json!({"nbf": NOW.to_string()})),
        ),
        ("no subject", with(&json!({"sub": null}))),
        ("an empty subject", with(&json!({"sub": ""}))),
        ("a subject with a line break", with(&json!({"sub": "a\nb"}))),
        ("a long subject", with(&json!({"sub": "a".repeat(256)}))),
    ] {
        let answer = clinic.get("/patients", &token).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{why}");
        assert_eq!(
            answer.header("www-authenticate"),
            "Bearer error=\"invalid_token\"",
            "{why}"
        );
        let known = clinic.get("/patients", "pat_unknown").await.body;
        assert_eq!(answer.body, known, "{why}: the same is said of all");
        let status = clinic.register("a@example.com", &token).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{why}");
    }
    assert_eq!(clinic.rig.head().await, 0, "nothing was appended");
    for (why, token) in [
        ("it is good", good),
        (
            "one of its audiences is ours",
            with(&json!({"aud": ["billing", super::AUDIENCE]})),
        ),
        (
            "its type is a media type",
            headed(&json!({"typ": "application/AT+JWT"})),
        ),
        (
            "there are several keys that it can mean",
            altered(&rsa, &json!({"kid": null}), &none),
        ),
        ("there is one key that it can mean", headed(&json!({"kid": null}))),
        ("a longest subject", with(&json!({"sub": "a".repeat(255)}))),
    ] {
        assert_eq!(
            clinic.get("/patients", &token).await.status,
            StatusCode::OK,
            "{why}"
        );
    }
}

#[tokio::test]
async fn an_algorithm_that_is_not_in_the_list_is_refused_though_the_key_is_there() {
    let [rsa, pss, ec, ed] = Signer::of_each_kind();
    let clinic = Clinic::allowing("ES256", TokenType::AccessToken, &[&rsa, &pss, &ec, &ed]).await;
    for (signer, expected) in [
        (&rsa, StatusCode::UNAUTHORIZED),
        (&pss, StatusCode::UNAUTHORIZED),
        (&ed, StatusCode::UNAUTHORIZED),
        (&ec, StatusCode::OK),
    ] {
        let token = signer.token(&claims(&json!("clerk")));
        assert_eq!(clinic.get("/patients", &token).await.status, expected);
    }
}

#[tokio::test]
async fn what_is_no_access_token_lets_nobody_in_whatever_type_is_allowed() {
    let signer = Signer::ed("ed");
    for (token_type, header) in [
        (TokenType::AccessToken, json!({})),
        (TokenType::Any, json!({"typ": "JWT"})),
        (TokenType::Any, json!({"typ": null})),
    ] {
        let clinic = Clinic::allowing("EdDSA", token_type, &[&signer]).await;
        let status = async |changed: &Value| {
            let token = altered(&signer, &header, changed);
            clinic.get("/patients", &token).await.status
        };
        for kind in [
            "ID",
            "id",
            "Refresh",
            "REFRESH",
            "Offline",
            "Logout",
            "logout",
            "Serialized-ID",
            "id_token",
            "refresh_token",
            "InitialAccessToken",
            "logout+jwt",
            "DPoP",
            "",
        ] {
            let refused = status(&json!({"typ": kind})).await;
            assert_eq!(refused, StatusCode::UNAUTHORIZED, "typ {kind}");
        }
        for changed in [
            json!({"typ": 7}),
            json!({"typ": ["Bearer"]}),
            json!({"token_use": "id"}),
            json!({"token_use": "ID"}),
            json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
            json!({"events": {}}),
            json!({"nonce": "n-0S6_WzA2Mj"}),
            json!({"nonce": 1}),
            json!({"at_hash": "77QmUPtjPfzWtF2AnpK9RQ"}),
            json!({"c_hash": "LDktKdoQak3Pk0cnXxCltA"}),
            json!({"s_hash": "LDktKdoQak3Pk0cnXxCltA"}),
            json!({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}),
            json!({"cnf": {"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}}),
            json!({"cnf": {}}),
        ] {
            assert_eq!(status(&changed).await, StatusCode::UNAUTHORIZED, "{changed}");
        }
        for changed in [
            json!({}),
            json!({"typ": "Bearer", "azp": "console", "sid": "1", "scope": "openid", "auth_time": NOW, "acr": "1"}),
            json!({"typ": "bearer"}),
            json!({"typ": "at+jwt", "client_id": "console", "jti": "1", "iat": NOW}),
            json!({"token_use": "access"}),
        ] {
            assert_eq!(status(&changed).await, StatusCode::OK, "{changed}");
        }
    }
}

#[tokio::test]
async fn claims_that_do_not_matter_may_hold_any_number() {
    let signer = Signer::ed("ed");
    let clinic = Clinic::with(&[&signer]).await;
    let text = claims(&json!("clerk")).to_string();
    for members in [
        r#""x": 9007199254740993"#,
        r#""x": -9223372036854775808, "y": 18446744073709551615"#,
        r#""x": 123456789012345678901234567890"#,
        r#""x": {"y": [9007199254740993, {"z": 1e400}]}"#,
        r#""x": 0.1, "y": -0.0, "z": 1e-400"#,
        r#""iat": 1799999999.25, "nbf": 1799999999.5"#,
    ] {
        let token = signer.token_of(
            &signer.header().to_string(),
            &text.replacen('{', &format!("{{{members}, "), 1),
        );
        assert_eq!(
            clinic.get("/patients", &token).await.status,
            StatusCode::OK,
            "{members}"
        );
    }
    for exp in [
        "9007199254740993",
        "253402300800",
        "1800000300.75",
        "1e18",
        "1e300",
    ] {
        let text = text.replace(&format!("\"exp\":{}", NOW + 300), &format!("\"exp\":{exp}"));
        let token = signer.token_of(&signer.header().to_string(), &text);
        assert_eq!(
            clinic.get("/patients", &token).await.status,
            StatusCode::OK,
            "exp {exp}"
        );
    }
}
