//! Tests of requests from pages of other origins.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use web::access::{Access, Tokens};
use web::{Cors, HttpOptions};

use crate::rig::{Answer, Rig};

const PAGE: &str = "https://app.example.com";
const STRANGER: &str = "https://evil.example.com";

async fn rig(access: Access, cors: bool) -> Rig {
    let options = HttpOptions {
        cors: cors.then(|| Cors::of([PAGE.parse().unwrap()])),
        ..HttpOptions::default()
    };
    Rig::with_options(access, options).await
}

async fn ask(rig: &Rig, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    rig.send(request.body(Body::empty()).unwrap()).await
}

const PREFLIGHT: [(&str, &str); 2] = [
    ("access-control-request-method", "POST"),
    ("access-control-request-headers", "authorization,idempotency-key"),
];

#[tokio::test]
async fn without_origins_nothing_is_shared() {
    let rig = rig(Access::open(), false).await;
    let [method, headers] = PREFLIGHT;
    let preflight = ask(&rig, "OPTIONS", "/patients", &[("origin", PAGE), method, headers]).await;
    let read = ask(&rig, "GET", "/patients", &[("origin", PAGE)]).await;
    for answer in [preflight, read] {
        let shared = answer
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("access-control"));
        assert!(!shared, "{:?}", answer.headers);
    }
}

#[tokio::test]
async fn a_preflight_of_a_named_origin_is_answered_without_a_token() {
    let rig = rig(Access::by(Tokens::default()), true).await;
    let [method, headers] = PREFLIGHT;
    let answer = ask(&rig, "OPTIONS", "/patients", &[("origin", PAGE), method, headers]).await;
    assert_eq!(answer.status, StatusCode::OK);
    let two_hosts = [("origin", PAGE), method, headers, ("host", "a"), ("host", "b")];
    let refused = ask(&rig, "OPTIONS", "/patients", &two_hosts).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.header("access-control-allow-origin"), PAGE);
    assert_eq!(
        answer.header("access-control-allow-methods"),
        "GET,HEAD,POST,PUT,PATCH,DELETE"
    );
    assert_eq!(answer.header("access-control-max-age"), "3600");
    let allowed: Vec<_> = answer.header("access-control-allow-headers").split(',').collect();
    for name in [
        "authorization",
        "content-type",
        "idempotency-key",
        "if-match",
        "if-none-match",
        "last-event-id",
        "min-position",
        "traceparent",
        "x-request-id",
    ] {
        assert!(allowed.contains(&name), "{name}");
    }
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");

    let stranger = ask(
        &rig,
        "OPTIONS",
        "/patients",
        &[("origin", STRANGER), method, headers],
    )
    .await;
    assert_eq!(stranger.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn an_answer_is_shared_with_a_named_origin_alone_errors_too() {
    let rig = rig(Access::open(), true).await;
    for path in ["/patients", "/patients/none"] {
        let answer = ask(&rig, "GET", path, &[("origin", PAGE)]).await;
        assert_eq!(answer.header("access-control-allow-origin"), PAGE, "{path}");
        let exposed: Vec<_> = answer
            .header("access-control-expose-headers")
            .split(',')
            .collect();
        for name in [
            "etag",
            "event-position",
            "link",
            "location",
            "ratelimit",
            "ratelimit-policy",
            "retry-after",
            "x-request-id",
        ] {
            assert!(exposed.contains(&name), "{name}");
        }
        assert!(
            answer
                .headers
                .get_all("vary")
                .iter()
                .any(|vary| vary.to_str().unwrap().contains("origin"))
        );
        let stranger = ask(&rig, "GET", path, &[("origin", STRANGER)]).await;
        assert_eq!(stranger.header("access-control-allow-origin"), "", "{path}");
    }
    let document = ask(&rig, "GET", "/openapi.json", &[("origin", STRANGER)]).await;
    assert_eq!(
        document.header("access-control-allow-origin"),
        "*",
        "the same for everybody"
    );
    let feed = ask(&rig, "GET", "/events", &[("origin", PAGE)]).await;
    let vary: Vec<_> = feed.headers.get_all("vary").iter().collect();
    assert!(vary.iter().any(|value| *value == "accept"), "{vary:?}");
}

#[tokio::test]
async fn an_options_request_that_is_no_preflight_goes_to_the_routes() {
    let rig = rig(Access::open(), true).await;
    let plain = self::rig(Access::open(), false).await;
    for headers in [&[][..], &[("origin", PAGE)]] {
        let answer = ask(&rig, "OPTIONS", "/patients", headers).await;
        let expected = ask(&plain, "OPTIONS", "/patients", headers).await;
        assert_eq!(answer.status, expected.status);
        assert_eq!(answer.header("allow"), expected.header("allow"));
    }
}
