//! Tests of `If-None-Match`, `HEAD` and `OPTIONS`.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};

use crate::openapi::methods;
use crate::rig::{Answer, Rig};

async fn unless(rig: &Rig, path: &str, tags: &str) -> Answer {
    let request = Request::get(path).header("if-none-match", tags);
    rig.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_patient_who_is_known_already_is_not_sent_again() {
    let rig = Rig::new().await;
    let created = rig.register("a@example.com").await;
    let path = format!("/patients/{}", created.id());
    let etag = created.header("etag");
    for tags in [etag, &format!("W/{etag}"), &format!("\"7\", {etag}"), "*"] {
        let request = Request::get(&path).header("if-none-match", tags);
        let (parts, body) = rig.text(request.body(Body::empty()).unwrap()).await;
        assert_eq!(parts.status, StatusCode::NOT_MODIFIED, "{tags}");
        assert_eq!((&*body, parts.headers["etag"].to_str().unwrap()), ("", etag));
        assert!(!parts.headers.contains_key(header::CONTENT_TYPE));
    }
    for tags in ["\"7\"", "x", ""] {
        let answer = unless(&rig, &path, tags).await;
        assert_eq!(
            (answer.status, answer.id()),
            (StatusCode::OK, created.id()),
            "{tags}"
        );
    }
    let past = format!("{path}?at={}", "2000-01-01T00:00:00Z");
    assert_eq!(unless(&rig, &past, etag).await.status, StatusCode::NOT_FOUND);
    rig.delete(created.id()).await;
    for tags in [etag, "*"] {
        assert_eq!(unless(&rig, &path, tags).await.status, StatusCode::GONE, "{tags}");
    }
    let nobody = "/patients/0197f1a0-0000-7000-8000-000000000000";
    assert_eq!(unless(&rig, nobody, "*").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn head_says_what_get_would_and_sends_nothing() {
    let rig = Rig::new().await;
    let created = rig.register("a@example.com").await;
    rig.project().await;
    let paths = methods()
        .into_iter()
        .filter(|(_, methods)| methods.contains("GET"));
    for path in paths.map(|(path, _)| path.replace("{id}", created.id())) {
        let ask = async |method: Method| {
            let request = Request::builder().method(method).uri(&path);
            rig.respond(request.body(Body::empty()).unwrap()).await
        };
        let got = ask(Method::GET).await;
        let length = axum::body::HttpBody::size_hint(got.body()).exact();
        let (mut got, _) = got.into_parts();
        let (mut head, body) = ask(Method::HEAD).await.into_parts();
        assert_eq!(head.status, got.status, "{path}");
        let said = head.headers.remove(header::CONTENT_LENGTH);
        let said = said.map(|length| length.to_str().unwrap().parse().unwrap());
        assert_eq!(said, length, "{path}");
        for headers in [&mut got.headers, &mut head.headers] {
            headers.remove("x-request-id");
            headers.remove(header::CONTENT_LENGTH);
        }
        assert_eq!(head.headers, got.headers, "{path}");
        assert!(axum::body::to_bytes(body, 0).await.unwrap().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn head_of_a_stream_opens_none() {
    let rig = Rig::new().await;
    // The number of requests exceeds the maximum number of streams.
    for _ in 0..150 {
        let request = Request::head("/events/stream").body(Body::empty()).unwrap();
        let (parts, body) = rig.text(request).await;
        assert_eq!((parts.status, &*body), (StatusCode::OK, ""));
        assert_eq!(parts.headers["content-type"], "text/event-stream");
    }
}

#[tokio::test]
async fn options_of_a_path_that_there_is_not_is_not_found() {
    let rig = Rig::new().await;
    let request = Request::options("/nothing").body(Body::empty()).unwrap();
    assert_eq!(rig.send(request).await.status, StatusCode::NOT_FOUND);
}
