//! Tests of which hosts and which pages an API without access control accepts.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use web::access::{Access, Role, Token, Tokens};
use web::{Cors, HttpOptions};

use crate::rig::{Answer, Rig, patient};

async fn ask(rig: &Rig, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    rig.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn an_open_api_answers_to_loopback_names_and_to_those_it_was_told_of() {
    let options = HttpOptions {
        allowed_hosts: vec!["api".parse().unwrap()],
        public_url: Some("https://clinic.example.com/patients".parse().unwrap()),
        ..HttpOptions::default()
    };
    let rig = Rig::on_sqlite(Access::open(), options).await;
    for host in [
        "localhost:8000",
        "127.0.0.1:8000",
        "[::1]",
        "app.localhost",
        "API:8000",
        "clinic.example.com",
    ] {
        let answer = ask(&rig, Method::GET, "/patients", &[("host", host)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{host}");
    }
    for host in ["evil.example:8000", "192.0.2.7:8000", "test"] {
        for (method, path) in [
            (Method::GET, "/patients"),
            (Method::GET, "/events"),
            (Method::GET, "/docs"),
            (Method::GET, "/nothing"),
            (Method::POST, "/register"),
            (Method::POST, "/projections/patient_view/rebuild"),
            (Method::DELETE, "/patients/00000000-0000-7000-8000-000000000000"),
            (Method::OPTIONS, "/patients"),
        ] {
            let origin = format!("http://{host}");
            let same_origin = [
                ("host", host),
                ("origin", &origin),
                ("x-forwarded-host", "localhost"),
            ];
            let answer = ask(&rig, method.clone(), path, &same_origin).await;
            assert_eq!(
                answer.status,
                StatusCode::MISDIRECTED_REQUEST,
                "{method} {path} of {host}"
            );
            assert_eq!(answer.body["type"], "/problems/host-not-allowed");
        }
        for path in ["/health/live", "/health/ready"] {
            let probe = ask(&rig, Method::GET, path, &[("host", host)]).await;
            assert_eq!(probe.status, StatusCode::OK, "probes name a container's address");
        }
    }
    assert_eq!(rig.head().await, 0);
}

#[tokio::test]
async fn with_access_tokens_every_host_will_do_unless_some_are_named() {
    for (named, expected) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some("api"), StatusCode::MISDIRECTED_REQUEST),
    ] {
        let options = HttpOptions {
            allowed_hosts: named.iter().map(|host| host.parse().unwrap()).collect(),
            public_url: Some("https://clinic.example.com".parse().unwrap()),
            ..HttpOptions::default()
        };
        let rig = Rig::on_sqlite(Access::by(Tokens::default()), options).await;
        let answer = ask(&rig, Method::GET, "/patients", &[("host", "any.example")]).await;
        assert_eq!(answer.status, expected, "{named:?}");
    }
}

/// Requests that change something and need no further data.
const UNSAFE: [(Method, &str); 5] = [
    (Method::POST, "/register"),
    (Method::POST, "/projections/patient_view/rebuild"),
    (Method::POST, "/mail/dead/retry"),
    (Method::DELETE, "/patients/00000000-0000-7000-8000-000000000000"),
    (Method::DELETE, "/projections/patient_view/rebuilds/1"),
];

#[tokio::test]
async fn an_unsafe_request_of_a_page_of_another_origin_is_refused_with_and_without_access_tokens() {
    let page = "https://app.example.com";
    let operator = Token::generate().unwrap();
    let tokens = Tokens::parse(&operator.line("ops", Role::Operator)).unwrap();
    for access in [Access::open(), Access::by(tokens)] {
        let options = HttpOptions {
            cors: Some(Cors::of([page.parse().unwrap()])),
            ..HttpOptions::default()
        };
        let rig = Rig::with_options(access, options).await;
        let bearer = format!("Bearer {}", operator.secret());
        let host = [
            ("host", "localhost:8000"),
            ("authorization", &bearer),
            ("content-type", "text/plain"),
        ];
        let ask = async |method: &Method, path: &str, headers: &[(&str, &str)]| {
            ask(&rig, method.clone(), path, &[&host, headers].concat()).await
        };
        for (method, path) in UNSAFE {
            for headers in [
                &[("origin", "https://evil.example")][..],
                &[("origin", "null")],
                &[("origin", "http://localhost:3000")],
                &[("sec-fetch-site", "cross-site")],
                &[
                    ("origin", "http://localhost:3000"),
                    ("sec-fetch-site", "same-site"),
                ],
                &[
                    ("origin", "https://evil.example"),
                    ("sec-fetch-site", "cross-site"),
                ],
            ] {
                let refused = ask(&method, path, headers).await;
                assert_eq!(
                    refused.status,
                    StatusCode::FORBIDDEN,
                    "{method} {path} {headers:?}"
                );
                assert_eq!(refused.body["type"], "/problems/cross-origin");
                assert_eq!(refused.header("www-authenticate"), "", "no token would help");
            }
            for headers in [
                &[][..],
                &[("origin", "http://localhost:8000")],
                &[
                    ("origin", "http://localhost:8000"),
                    ("sec-fetch-site", "same-origin"),
                ],
                &[("origin", page), ("sec-fetch-site", "cross-site")],
            ] {
                let answer = ask(&method, path, headers).await;
                assert_ne!(
                    answer.body["type"], "/problems/cross-origin",
                    "{method} {path} {headers:?}"
                );
            }
        }
        let read = ask(
            &Method::GET,
            "/health/live",
            &[("origin", "https://evil.example")],
        )
        .await;
        assert_eq!(read.status, StatusCode::OK, "a safe one is not");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_registers_nobody() {
    let rig = Rig::new().await;
    let register = |origin: &str| {
        Request::post("/register")
            .header("host", "localhost:8000")
            .header("origin", origin)
            .header("content-type", "application/json")
            .body(Body::from(patient("a@example.com").to_string()))
            .unwrap()
    };
    assert_eq!(
        rig.send(register("https://evil.example")).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(rig.head().await, 0);
    assert_eq!(
        rig.send(register("http://localhost:8000")).await.status,
        StatusCode::CREATED
    );
}
