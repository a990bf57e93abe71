//! Tests of the record of reads.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use eventstore::{Dialect, Session};
use futures::StreamExt;
use serde_json::{Value, json};
use testkit::{link_target, wait_until};
use url::form_urlencoded;
use web::access::{Access, Role, Token, Tokens};

use crate::rig::{Answer, Rig};
use crate::streams::Blocks;

const SOON: Duration = Duration::from_secs(30);

async fn get(rig: &Rig, path: &str) -> Answer {
    rig.send(Request::get(path).body(Body::empty()).unwrap()).await
}

async fn reads(rig: &Rig, query: &str) -> Vec<Value> {
    let answer = get(rig, &format!("/audit/reads{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.header("cache-control"), "no-store");
    answer.body.as_array().unwrap().clone()
}

/// Returns the members `kind`, `outcome`, `after` and `to` of an entry.
fn gist(read: &Value) -> Value {
    json!([read["kind"], read["outcome"], read["after"], read["to"]])
}

#[tokio::test]
async fn each_read_of_the_past_is_recorded_with_who_what_and_how_far() {
    Rig::on_each(async |rig| {
        let id = rig.register("a@example.com").await.id().to_owned();
        rig.register("b@example.com").await;
        let nobody = "00000000-0000-7000-8000-000000000000";
        for (path, expected) in [
            (
                format!("/patients/{id}/history"),
                json!(["history", "given", 0, 1]),
            ),
            (
                format!("/patients/{id}/history/1"),
                json!(["state", "given", 0, 1]),
            ),
            (
                format!("/patients/{id}/history/2"),
                json!(["state", "not_found", null, null]),
            ),
            (
                format!("/patients/{nobody}/history"),
                json!(["history", "not_found", null, null]),
            ),
            (
                format!("/patients/{nobody}?at=2026-01-01T00:00:00Z"),
                json!(["state", "not_found", null, null]),
            ),
            ("/events?limit=1".to_owned(), json!(["events", "given", 0, 1])),
            ("/events?after=1".to_owned(), json!(["events", "given", 1, 2])),
            (
                format!("/events?after=1&aggregate_id={id}"),
                json!(["events", "given", 1, 2]),
            ),
        ] {
            let before = reads(&rig, "").await.len();
            let answer = get(&rig, &path).await;
            let all = reads(&rig, "").await;
            assert_eq!(all.len(), before + 1, "{path}");
            let read = all.last().unwrap();
            assert_eq!(gist(read), expected, "{path}");
            assert_eq!(read["actor"], "anonymous");
            assert_eq!(read["via"], "http");
            assert_eq!(read["request_id"], answer.header("x-request-id"));
            let of = [&id, nobody].into_iter().find(|of| path.contains(*of));
            assert_eq!(read["patient_id"], json!(of), "{path}");
        }
        let all = reads(&rig, "").await;
        for path in [
            "/events?after=2",
            "/patients",
            &format!("/patients/{id}"),
            "/audit/reads",
        ] {
            get(&rig, path).await;
        }
        assert_eq!(reads(&rig, "").await, all, "these read nothing of the past");

        let of_one = reads(&rig, &format!("?patient_id={id}")).await;
        assert_eq!(of_one.len(), 4);
        assert!(reads(&rig, "?actor=somebody").await.is_empty());
        let (mut paged, mut next) = (Vec::new(), "/audit/reads?limit=3&actor=anonymous".to_owned());
        while !next.is_empty() {
            let page = get(&rig, &next).await;
            paged.extend(page.body.as_array().unwrap().clone());
            next = link_target(page.header("link"), "next").unwrap_or_default();
        }
        assert_eq!(paged, all, "page by page");

        // The newest first, page by page, for all reads and for the reads of a patient or an actor.
        for (path, forwards) in [
            ("/audit/reads?".to_owned(), &all),
            ("/audit/reads?actor=anonymous&".to_owned(), &all),
            (format!("/audit/reads?patient_id={id}&"), &of_one),
            (format!("/patients/{id}/reads?"), &of_one),
        ] {
            let (mut paged, mut next) = (Vec::new(), format!("{path}limit=3&order=desc"));
            while !next.is_empty() {
                let page = get(&rig, &next).await;
                assert_eq!(page.status, StatusCode::OK, "{next}: {}", page.body);
                let entries = page.body.as_array().unwrap().clone();
                assert!((1..=3).contains(&entries.len()), "{next}");
                paged.extend(entries);
                let first = link_target(page.header("link"), "first").unwrap();
                assert!(first.contains("order=desc"), "{first}");
                next = link_target(page.header("link"), "next").unwrap_or_default();
            }
            paged.reverse();
            assert_eq!(&paged, forwards, "{path}");
        }
        let wrong = get(&rig, "/audit/reads?order=newest").await;
        assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(wrong.body["errors"][0]["message"], "must be one of asc, desc");
        assert_eq!(reads(&rig, "?order=asc").await, all);
    })
    .await;
}

#[tokio::test]
async fn reads_are_found_by_the_very_actor() {
    Rig::on_each(async |rig| {
        let is_mysql = rig.log.database().dialect() == Dialect::MySql;
        let actors = ["anna", "Anna", "ANNA", "änna", "anna ", " anna", "anna\u{a0}"];
        for (number, actor) in actors.iter().enumerate() {
            rig.execute(&format!(
                "INSERT INTO audit_reads (id, recorded_at, actor, via, kind, outcome) VALUES \
                 ('00000000-0000-7000-8000-00000000000{number}', {number}, '{actor}', 'command', 'export', 'given')"
            ))
            .await;
        }
            for (number, actor) in actors.iter().enumerate() {
                let query: String = form_urlencoded::byte_serialize(actor.as_bytes()).collect();
                let found = reads(&rig, &format!("?actor={query}")).await;
                let ids: Vec<_> = found.iter().map(|read| read["actor"].as_str().unwrap()).collect();
                assert_eq!(ids, [*actor], "{number}");
            }
        if is_mysql {
            let plan = "SELECT id FROM audit_reads WHERE id > '' AND actor = 'anna' \
                        AND CAST(actor AS BINARY) = CAST('anna' AS BINARY) ORDER BY id LIMIT 1";
            assert!(rig.plan(plan).await.contains("audit_reads_actor"));
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_is_recorded_when_it_begins_and_when_it_ends() {
    let rig = Rig::new().await;
    rig.register("a@example.com").await;
    let mut live = Blocks::open(&rig, "/events/stream", None).await;
    assert_eq!(live.events(1).await, [1]);
    let begun: Vec<_> = reads(&rig, "").await.iter().map(gist).collect();
    assert_eq!(begun, [json!(["stream", "begun", 0, null])]);
    drop(live);
    wait_until(SOON, "its end is recorded", async || {
        reads(&rig, "").await.len() == 2
    })
    .await;
    let both = reads(&rig, "").await;
    assert_eq!(gist(&both[1]), json!(["stream", "ended", 0, 1]));
    assert_eq!(both[0]["request_id"], both[1]["request_id"]);

    let lines = Request::get("/events").header("accept", "application/x-ndjson");
    let lines = rig.respond(lines.body(Body::empty()).unwrap()).await;
    let mut body = lines.into_body().into_data_stream();
    while body.next().await.is_some() {}
    drop(body);
    wait_until(SOON, "its end is recorded", async || {
        reads(&rig, "").await.len() == 4
    })
    .await;
    let all: Vec<_> = reads(&rig, "").await.iter().skip(2).map(gist).collect();
    assert_eq!(
        all,
        [json!(["lines", "begun", 0, 1]), json!(["lines", "ended", 0, 1])]
    );
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_handed_out() {
    let rig = Rig::new().await;
    let id = rig.register("a@example.com").await.id().to_owned();
    let mut writer = rig.log.database().writer().await.unwrap();
    let rename = "ALTER TABLE audit_reads RENAME TO elsewhere";
    writer.query(rename).execute().await.unwrap();
    drop(writer);
    for path in [
        format!("/patients/{id}/history"),
        format!("/patients/{id}/history/1"),
        format!("/patients/{id}?at=2026-11-24T00:00:00Z"),
        "/events".to_owned(),
        "/events/stream".to_owned(),
    ] {
        let answer = rig
            .respond(Request::get(&path).body(Body::empty()).unwrap())
            .await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    let now = get(&rig, &format!("/patients/{id}")).await;
    assert_eq!(now.status, StatusCode::OK, "everyday use goes on");
}

#[tokio::test]
async fn the_actor_is_the_holder_of_the_token_and_who_may_not_read_has_read_nothing() {
    let tokens = [Role::Clerk, Role::Auditor].map(|role| (role, Token::generate().unwrap()));
    let lines: Vec<_> = tokens
        .iter()
        .map(|(role, token)| token.line(&format!("the-{role}"), *role))
        .collect();
    let rig = Rig::with(Access::by(Tokens::parse(&lines.join("\n")).unwrap())).await;
    let ask = async |path: &str, token: &Token| {
        let bearer = format!("Bearer {}", token.secret());
        let request = Request::get(path).header("authorization", bearer);
        rig.send(request.body(Body::empty()).unwrap()).await
    };
    let path = "/patients/00000000-0000-7000-8000-000000000000/history";
    let [(_, clerk), (_, auditor)] = &tokens;
    assert_eq!(ask(path, clerk).await.status, StatusCode::FORBIDDEN);
    assert_eq!(ask(path, auditor).await.status, StatusCode::NOT_FOUND);
    let all = ask("/audit/reads", auditor).await.body;
    assert_eq!(all.as_array().unwrap().len(), 1);
    assert_eq!(all[0]["actor"], "the-auditor");
}
