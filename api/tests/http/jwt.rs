//! Tests of which JWTs of an issuer are accepted.

mod forged;
mod keys;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use eventstore::{ManualClock, Timestamp};
use futures::FutureExt;
use serde_json::{Value, json};
use testkit::Signer;
use tokio::time::timeout;
use web::access::{Access, Issuer, IssuerOptions, Keys, Role, Token, TokenType, Tokens};

use crate::rig::{Answer, Rig, patient};
use crate::streams::Blocks;

const ISSUER: &str = "https://id.example.com/realms/clinic";
const AUDIENCE: &str = "patients-api";
/// Time of the clock in these tests, in seconds since 1970.
const NOW: i64 = 1_800_000_000;
const SOON: Duration = Duration::from_secs(20);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

/// Returns the claims of a valid token.
fn claims(roles: &Value) -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "7f3c", "exp": NOW + 300, "roles": roles})
}

/// An API that accepts tokens of the issuer, and one access token of the service for a clerk.
struct Clinic {
    rig: Rig,
    clock: Arc<ManualClock>,
    issuer: Issuer,
    clerk: Token,
}

impl Clinic {
    async fn with(signers: &[&Signer]) -> Self {
        Self::allowing("RS256,PS256,ES256,ES384,EdDSA", TokenType::AccessToken, signers).await
    }

    async fn allowing(algorithms: &str, token_type: TokenType, signers: &[&Signer]) -> Self {
        let clock = ManualClock::at(at(NOW));
        let [issuer, audience, roles] = [ISSUER, AUDIENCE, "roles"].map(str::to_owned);
        let algorithms = algorithms.parse().unwrap();
        let options = IssuerOptions::new(issuer, audience, algorithms, token_type, roles).unwrap();
        let clerk = Token::generate().unwrap();
        let tokens = Tokens::parse(&clerk.line("desk", Role::Clerk)).unwrap();
        let issuer = Issuer::new(options, set(signers), clock.clone());
        Self {
            rig: Rig::with(Access::by_either(tokens, Some(issuer.clone()))).await,
            clock,
            issuer,
            clerk,
        }
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.rig.send(get(path, token)).await
    }

    async fn register(&self, email: &str, token: &str) -> StatusCode {
        let request = Request::post("/register")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::from(patient(email).to_string()));
        self.rig.send(request.unwrap()).await.status
    }
}

/// Returns the set of the signers' public keys.
fn set(signers: &[&Signer]) -> Keys {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    Keys::parse(&json!({"keys": keys}).to_string()).unwrap()
}

fn get(path: &str, token: &str) -> Request<Body> {
    let request = Request::get(path).header("authorization", format!("Bearer {token}"));
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_token_lets_in_whatever_key_of_the_issuer_signed_it() {
    let signers = Signer::of_each_kind();
    let clinic = Clinic::with(&signers.iter().collect::<Vec<_>>()).await;
    for signer in &signers {
        let token = signer.token(&claims(&json!(["clerk"])));
        // The second request uses the cache of verified tokens.
        for _ in 0..2 {
            let answer = clinic.get("/patients", &token).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", signer.algorithm);
        }
    }
}

#[tokio::test]
async fn each_may_do_what_one_of_their_roles_may() {
    let signer = Signer::ed("one");
    let clinic = Clinic::with(&[&signer]).await;
    let (ok, no) = (StatusCode::OK, StatusCode::FORBIDDEN);
    for (roles, expected) in [
        (json!(["clerk"]), [ok, no, no]),
        (json!("auditor"), [ok, ok, no]),
        (json!(["operator"]), [no, no, ok]),
        (json!(["clerk", "operator", "offline_access"]), [ok, no, ok]),
        (json!("clerk auditor operator"), [ok, ok, ok]),
        (json!([]), [no, no, no]),
        (json!({"clerk": true}), [no, no, no]),
    ] {
        let token = signer.token(&claims(&roles));
        let mut found = Vec::new();
        for path in ["/patients", "/events", "/metrics"] {
            found.push(clinic.rig.respond(get(path, &token)).await.status());
        }
        assert_eq!(found, expected, "{roles}");
    }
}

#[tokio::test]
async fn the_actor_is_the_subject_of_that_issuer_and_never_the_name_of_a_token() {
    let signer = Signer::ed("one");
    let clinic = Clinic::with(&[&signer]).await;
    let mut claims = claims(&json!(["clerk"]));
    claims["sub"] = json!("desk");
    let token = signer.token(&claims);
    assert_eq!(
        clinic.register("a@example.com", &token).await,
        StatusCode::CREATED
    );
    let own = clinic.register("b@example.com", clinic.clerk.secret()).await;
    assert_eq!(own, StatusCode::CREATED, "both ways in are open");
    assert_eq!(
        [clinic.rig.actor_of(1).await, clinic.rig.actor_of(2).await],
        [format!("{ISSUER}#desk"), "desk".to_owned()]
    );
}

#[tokio::test]
async fn a_token_is_good_until_it_expires_and_not_before_it_begins() {
    let signer = Signer::ed("one");
    let clinic = Clinic::with(&[&signer]).await;
    let mut claims = claims(&json!(["clerk"]));
    claims["nbf"] = json!(NOW + 60);
    let token = signer.token(&claims);
    // The clocks may differ by up to 30 s.
    for (seconds, expected) in [
        (0, StatusCode::UNAUTHORIZED),
        (29, StatusCode::UNAUTHORIZED),
        (30, StatusCode::OK),
        (329, StatusCode::OK),
        (330, StatusCode::UNAUTHORIZED),
        (1_000_000, StatusCode::UNAUTHORIZED),
    ] {
        clinic.clock.set(at(NOW + seconds));
        let status = clinic.get("/patients", &token).await.status;
        assert_eq!(status, expected, "after {seconds} s");
    }
}

#[tokio::test]
async fn keys_are_replaced_and_a_token_of_a_withdrawn_one_is_good_no_longer() {
    let (old, new) = (Signer::ec("old"), Signer::ec("new"));
    let clinic = Clinic::with(&[&old]).await;
    let tokens = [&old, &new].map(|signer| signer.token(&claims(&json!("clerk"))));
    for (keys, expected) in [
        (vec![&old], [StatusCode::OK, StatusCode::UNAUTHORIZED]),
        (vec![&old, &new], [StatusCode::OK, StatusCode::OK]),
        (vec![&new], [StatusCode::UNAUTHORIZED, StatusCode::OK]),
        (vec![], [StatusCode::UNAUTHORIZED; 2]),
    ] {
        clinic.issuer.replace(set(&keys));
        for (token, expected) in tokens.iter().zip(expected) {
            assert_eq!(clinic.get("/patients", token).await.status, expected);
        }
    }
}

#[tokio::test]
async fn a_key_that_is_not_known_is_asked_for_once_however_many_tokens_name_one() {
    let (old, new) = (Signer::ed("old"), Signer::ed("new"));
    let clinic = Clinic::with(&[&old]).await;
    let token = new.token(&claims(&json!("clerk")));
    let refused = clinic.get("/patients", &token).await.status;
    assert_eq!(
        refused,
        StatusCode::UNAUTHORIZED,
        "nobody fetches keys from a file"
    );

    clinic.issuer.tried();
    assert!(clinic.issuer.wish().now_or_never().is_none());
    let refused = clinic.get("/patients", &token).await.status;
    assert_eq!(refused, StatusCode::UNAUTHORIZED, "keys were asked for just now");
    assert!(clinic.issuer.wish().now_or_never().is_none());

    clinic.clock.advance(Duration::from_secs(10));
    let fetching = async {
        timeout(SOON, clinic.issuer.wish()).await.unwrap();
        clinic.issuer.replace(set(&[&old, &new]));
        clinic.issuer.tried();
    };
    let (answer, ()) = futures::join!(clinic.get("/patients", &token), fetching);
    assert_eq!(answer.status, StatusCode::OK, "the same request");
    for number in 0..100 {
        let made_up = Signer::ed(&format!("made-up-{number}")).token(&claims(&json!("clerk")));
        let refused = clinic.get("/patients", &made_up).await.status;
        assert_eq!(refused, StatusCode::UNAUTHORIZED);
    }
    assert!(
        clinic.issuer.wish().now_or_never().is_none(),
        "no storm of fetches"
    );
}

#[tokio::test]
async fn a_key_that_takes_the_name_of_another_or_has_none_is_asked_for_too() {
    let unnamed = |signer: &Signer| {
        let mut header = signer.header();
        header.as_object_mut().unwrap().remove("kid");
        signer.token_of(&header.to_string(), &claims(&json!("clerk")).to_string())
    };
    let named = |signer: &Signer| signer.token(&claims(&json!("clerk")));
    for token_of in [&named as &dyn Fn(&Signer) -> String, &unnamed] {
        let (old, new) = (Signer::ed("key"), Signer::ed("key"));
        let clinic = Clinic::with(&[&old]).await;
        let (of_old, of_new) = (token_of(&old), token_of(&new));
        clinic.issuer.tried();
        let refused = clinic.get("/patients", &of_new).await.status;
        assert_eq!(refused, StatusCode::UNAUTHORIZED, "keys were asked for just now");
        clinic.clock.advance(Duration::from_secs(10));
        let fetching = async {
            timeout(SOON, clinic.issuer.wish()).await.unwrap();
            clinic.issuer.replace(set(&[&old, &new]));
            clinic.issuer.tried();
        };
        let (answer, ()) = futures::join!(clinic.get("/patients", &of_new), fetching);
        assert_eq!(answer.status, StatusCode::OK, "the same request");
        let answer = clinic.get("/patients", &of_old).await;
        assert_eq!(answer.status, StatusCode::OK, "each fitting key is tried");
        let thief = token_of(&Signer::ed("key"));
        assert_eq!(
            clinic.get("/patients", &thief).await.status,
            StatusCode::UNAUTHORIZED
        );
        assert!(
            clinic.issuer.wish().now_or_never().is_none(),
            "no storm of fetches"
        );
    }
}

#[tokio::test]
async fn many_keys_without_names_are_not_all_tried() {
    let signers: Vec<_> = (0..50).map(|_| Signer::ed("key")).collect();
    let clinic = Clinic::with(&signers.iter().collect::<Vec<_>>()).await;
    for (number, expected) in [
        (0, StatusCode::OK),
        (15, StatusCode::OK),
        (49, StatusCode::UNAUTHORIZED),
    ] {
        let token = signers[number].token(&claims(&json!("clerk")));
        assert_eq!(clinic.get("/patients", &token).await.status, expected, "{number}");
    }
}

#[tokio::test]
async fn one_auditor_has_a_quarter_of_the_streams_and_another_still_gets_one() {
    let signer = Signer::ed("one");
    let clinic = Clinic::with(&[&signer]).await;
    let token = |subject: &str, id: usize| {
        let mut claims = claims(&json!("auditor"));
        claims["sub"] = json!(subject);
        claims["jti"] = json!(id);
        signer.token(&claims)
    };
    let mut held = Vec::new();
    for number in 0..25 {
        let opened = clinic
            .rig
            .respond(get("/events/stream", &token("a", number)))
            .await;
        assert_eq!(opened.status(), StatusCode::OK, "{number}");
        held.push(opened);
    }
    let refused = clinic.get("/events/stream", &token("a", 25)).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.body["type"], "/problems/too-many-own-streams");
    assert!(
        refused.body["detail"]
            .as_str()
            .unwrap()
            .contains("25 open streams"),
        "{}",
        refused.body
    );
    assert_eq!(refused.header("retry-after"), "1");
    let other = clinic.rig.respond(get("/events/stream", &token("b", 0))).await;
    assert_eq!(other.status(), StatusCode::OK);
    assert_eq!(
        clinic.get("/events", &token("a", 26)).await.status,
        StatusCode::OK,
        "pages are no streams"
    );
    held.pop();
    let again = clinic.rig.respond(get("/events/stream", &token("a", 27))).await;
    assert_eq!(again.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_stream_ends_when_its_token_expires_and_when_its_key_is_withdrawn() {
    let signer = Signer::ed("one");
    for withdrawn in [false, true] {
        let clinic = Clinic::with(&[&signer]).await;
        let token = signer.token(&claims(&json!("auditor")));
        let opened = clinic.rig.respond(get("/events/stream", &token)).await;
        let mut stream = Blocks::of(opened).await;
        let clerk = clinic.clerk.secret();
        clinic.register("a@example.com", clerk).await;
        assert_eq!(stream.events(1).await, [1]);
        if withdrawn {
            clinic.issuer.replace(set(&[]));
        } else {
            clinic.clock.set(at(NOW + 330));
        }
        clinic.register("b@example.com", clerk).await;
        let end = timeout(SOON, stream.block()).await.unwrap();
        assert_eq!(end, None, "withdrawn: {withdrawn}");
    }
}
