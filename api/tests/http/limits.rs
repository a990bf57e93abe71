//! Tests of the rate limits.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use web::access::{Access, Role, Token, Tokens};
use web::clients::{Proxies, ProxyHeader};
use web::{HttpOptions, RateLimit};

use crate::rig::{Answer, Rig};

const ASKED: u32 = 3;

/// Options with a quota that is not replenished during a test.
fn options() -> HttpOptions {
    HttpOptions {
        rate_limit: RateLimit::new(ASKED, Duration::from_hours(24)),
        proxies: Proxies::new(vec!["10.0.0.0/8".parse().unwrap()], ProxyHeader::XForwardedFor),
        ..HttpOptions::default()
    }
}

struct Asker<'r>(&'r Rig);

impl Asker<'_> {
    /// Requests the list of patients as a client with this address, with these headers.
    async fn ask(&self, from: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask_for("/patients", from, headers).await
    }

    async fn ask_for(&self, path: &str, from: &str, headers: &[(&str, &str)]) -> Answer {
        let peer = SocketAddr::new(from.parse().unwrap(), 4711);
        let mut request = Request::get(path).extension(ConnectInfo(peer));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.0.send(request.body(Body::empty()).unwrap()).await
    }

    /// Uses up the quota of an address.
    async fn exhaust(&self, from: &str, headers: &[(&str, &str)]) {
        for _ in 0..ASKED {
            assert_eq!(self.ask(from, headers).await.status, StatusCode::OK);
        }
        assert_eq!(
            self.ask(from, headers).await.status,
            StatusCode::TOO_MANY_REQUESTS
        );
    }
}

#[tokio::test]
async fn who_asks_too_much_is_told_how_much_is_left_and_then_when_to_come_back() {
    let rig = Rig::with_options(Access::open(), options()).await;
    let asker = Asker(&rig);
    for left in (0..ASKED).rev() {
        let answer = asker.ask("192.0.2.1", &[]).await;
        assert_eq!(answer.status, StatusCode::OK);
        let whole_in = 28_800 * (ASKED - left);
        assert_eq!(
            answer.header("ratelimit"),
            format!("\"default\";r={left};t={whole_in}")
        );
        assert_eq!(answer.header("ratelimit-policy"), "\"default\";q=3;w=86400");
    }
    let refused = asker.ask("192.0.2.1", &[]).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.body["type"], "/problems/too-many-requests");
    let wait = refused.header("retry-after");
    assert!((28_700..=28_800).contains(&wait.parse().unwrap()), "{wait}");
    assert_eq!(refused.header("ratelimit"), format!("\"default\";r=0;t={wait}"));
    assert!(!refused.header("x-request-id").is_empty());
    let elsewhere = asker.ask_for("/nothing", "192.0.2.1", &[]).await;
    assert_eq!(
        elsewhere.status,
        StatusCode::TOO_MANY_REQUESTS,
        "whatever is asked for"
    );
    let other = asker.ask("192.0.2.2", &[]).await;
    assert_eq!(other.status, StatusCode::OK, "another client");
}

/// The draft requires that `Retry-After` and `t` have the same value, whatever the reason for `Retry-After`
/// is.
#[tokio::test]
async fn whatever_says_when_to_try_again_says_it_in_the_quota_too() {
    let rig = Rig::with_options(Access::open(), options()).await;
    let peer = SocketAddr::new("192.0.2.1".parse().unwrap(), 4711);
    let ahead = Request::get("/patients")
        .extension(ConnectInfo(peer))
        .header("min-position", "17");
    let answer = rig.send(ahead.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("ratelimit"), "\"default\";r=2;t=1");
}

#[tokio::test]
async fn health_may_be_asked_for_at_any_time() {
    let rig = Rig::with_options(Access::open(), options()).await;
    let asker = Asker(&rig);
    asker.exhaust("192.0.2.1", &[]).await;
    for path in ["/health/live", "/health/ready"] {
        let answer = asker.ask_for(path, "192.0.2.1", &[]).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("ratelimit"), "");
    }
}

#[tokio::test]
async fn an_address_is_that_of_the_client_behind_a_trusted_proxy_and_a_64_of_ipv6() {
    let rig = Rig::with_options(Access::open(), options()).await;
    let asker = Asker(&rig);
    asker
        .exhaust("10.0.0.1", &[("x-forwarded-for", "192.0.2.1")])
        .await;
    asker
        .exhaust("10.0.0.1", &[("x-forwarded-for", "192.0.2.2")])
        .await;
    let made_up = [("x-forwarded-for", "1.2.3.4, 192.0.2.1")];
    let answer = asker.ask("10.0.0.2", &made_up).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    let untrusted = asker.ask("192.0.2.1", &[("x-forwarded-for", "192.0.2.77")]).await;
    assert_eq!(
        untrusted.status,
        StatusCode::TOO_MANY_REQUESTS,
        "the header of anybody"
    );

    asker.exhaust("2001:db8:1:2:aaaa::1", &[]).await;
    let neighbour = asker.ask("2001:db8:1:2:bbbb::2", &[]).await;
    assert_eq!(neighbour.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(asker.ask("2001:db8:1:3::1", &[]).await.status, StatusCode::OK);
}

/// Returns access control for two clerks, and their tokens.
fn clerks() -> (Access, [String; 2]) {
    let tokens = ["desk", "ward"].map(|name| (name, Token::generate().unwrap()));
    let lines = tokens
        .each_ref()
        .map(|(name, token)| token.line(name, Role::Clerk));
    let access = Access::by(Tokens::parse(&lines.join("\n")).unwrap());
    (
        access,
        tokens.map(|(_, token)| format!("Bearer {}", token.secret())),
    )
}

#[tokio::test]
async fn the_holder_of_a_token_is_one_client_from_wherever_it_asks() {
    let (access, [desk, ward]) = clerks();
    let rig = Rig::with_options(access, options()).await;
    let asker = Asker(&rig);
    asker.exhaust("192.0.2.1", &[("authorization", &desk)]).await;
    let elsewhere = asker.ask("192.0.2.2", &[("authorization", &desk)]).await;
    assert_eq!(elsewhere.status, StatusCode::TOO_MANY_REQUESTS);
    let neighbour = asker.ask("192.0.2.1", &[("authorization", &ward)]).await;
    assert_eq!(neighbour.status, StatusCode::OK);
}

#[tokio::test]
async fn an_address_may_send_a_few_unknown_tokens_and_known_ones_all_the_same() {
    let (access, [desk, _]) = clerks();
    let rig = Rig::with_options(access, HttpOptions::default()).await;
    let asker = Asker(&rig);
    for _ in 0..60 {
        let answer = asker
            .ask("192.0.2.1", &[("authorization", "Bearer pat_guess")])
            .await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    let refused = asker
        .ask("192.0.2.1", &[("authorization", "Bearer pat_guess")])
        .await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(
        refused
            .header("ratelimit")
            .starts_with("\"unknown-tokens\";r=0;t=")
    );
    for (from, headers, expected) in [
        (
            "192.0.2.1",
            &[("authorization", desk.as_str())][..],
            StatusCode::OK,
        ),
        ("192.0.2.1", &[], StatusCode::UNAUTHORIZED),
        (
            "192.0.2.2",
            &[("authorization", "Bearer pat_guess")],
            StatusCode::UNAUTHORIZED,
        ),
    ] {
        assert_eq!(asker.ask(from, headers).await.status, expected, "{from}");
    }
}
