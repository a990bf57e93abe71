//! Which patients may share an email, by the rule of the log.

use api::commands::ClaimScheme;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use domain::EmailUniqueness;
use eventstore::LogFormat;
use serde_json::{Value, json};

use crate::rig::{Answer, Rig};

/// Changes the rule of the log in the database, without the API and without changing claims.
async fn set_rule(rig: &Rig, rule: EmailUniqueness) {
    let database = rig.log.database();
    let (from, to) = (
        LogFormat::claims(database).await.unwrap(),
        ClaimScheme::Rule(rule).version(),
    );
    if from == to {
        return;
    }
    let replaced = LogFormat::replace_claims(database, from, to).await;
    assert!(replaced.unwrap());
}

async fn register(rig: &Rig, name: &str, email: &str) -> Answer {
    let body = json!({ "name": name, "email": email, "phone": "+34600000000", "document_url": "https://example.com/a.jpg" });
    rig.post("/register", &body).await
}

async fn amend(rig: &Rig, id: &str, changes: &Value) -> Answer {
    let request = Request::patch(format!("/patients/{id}"))
        .header("content-type", "application/merge-patch+json")
        .body(Body::from(changes.to_string()));
    rig.send(request.unwrap()).await
}

fn is_taken(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.body);
    assert_eq!(answer.body["type"], "/problems/email-taken");
}

fn names(list: &Value) -> Vec<&str> {
    let patients = list.as_array().unwrap().iter();
    let mut names: Vec<_> = patients
        .map(|patient| patient["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_family_shares_an_email_and_the_same_person_twice_is_refused() {
    Rig::on_each(async |rig| {
        set_rule(&rig, EmailUniqueness::EmailAndName).await;
        let ana = register(&rig, "Ana Pérez", "perez@example.com").await;
        assert_eq!(ana.status, StatusCode::CREATED, "{}", ana.body);
        let eva = register(&rig, "Eva Pérez", "Perez@Example.com").await;
        assert_eq!(eva.status, StatusCode::CREATED, "{}", eva.body);
        for again in ["Ana Pérez", "ANA PEREZ", "Pérez, Ana"] {
            is_taken(&register(&rig, again, "PEREZ@example.com").await);
        }
        // An amendment moves the claim, and a deletion frees it.
        is_taken(&amend(&rig, eva.id(), &json!({ "name": "ana perez" })).await);
        assert_eq!(
            amend(&rig, ana.id(), &json!({ "name": "Anna Pérez" }))
                .await
                .status,
            StatusCode::OK
        );
        assert_eq!(
            amend(&rig, eva.id(), &json!({ "name": "Ana Perez" }))
                .await
                .status,
            StatusCode::OK
        );
        assert_eq!(rig.delete(eva.id()).await.status, StatusCode::NO_CONTENT);
        let last = register(&rig, "Ana Pérez", "perez@example.com").await;
        assert_eq!(last.status, StatusCode::CREATED);

        // The search finds all of them, as far as they are projected.
        let search = "/patients?email=PEREZ%40example.com";
        let behind = rig.get_at(search, last.header("event-position")).await;
        assert_eq!(
            behind.body["type"], "/problems/not-projected-yet",
            "{}",
            behind.body
        );
        rig.project().await;
        let found = rig.get_at(search, last.header("event-position")).await;
        assert_eq!(names(&found.body), ["Ana Pérez", "Anna Pérez"]);
        let one = rig.get(&format!("{search}&name=anna")).await;
        assert_eq!(names(&one.body), ["Anna Pérez"]);
        assert_eq!(rig.get("/patients?email=p%40example.com").await.body, json!([]));
        // A row that is older than the last event is not shown by its old email.
        assert_eq!(
            amend(&rig, ana.id(), &json!({ "email": "anna@example.com" }))
                .await
                .status,
            StatusCode::OK
        );
        assert_eq!(names(&rig.get(search).await.body), ["Ana Pérez"]);
    })
    .await;
}

#[tokio::test]
async fn without_a_rule_everybody_may_share_an_email_and_the_search_has_pages() {
    Rig::on_each(async |rig| {
        set_rule(&rig, EmailUniqueness::Off).await;
        for _ in 0..5 {
            let registered = register(&rig, "Ana Pérez", "perez@example.com").await;
            assert_eq!(registered.status, StatusCode::CREATED, "{}", registered.body);
        }
        register(&rig, "Eva", "eva@example.com").await;
        rig.project().await;
        let (mut path, mut found) = (
            "/patients?email=perez%40example.com&limit=2".to_owned(),
            Vec::new(),
        );
        loop {
            let page = rig.get(&path).await;
            assert!(names(&page.body).len() <= 2);
            let ids = page.body.as_array().unwrap().iter();
            found.extend(ids.map(|patient| patient["id"].as_str().unwrap().to_owned()));
            match page.link("next") {
                Some(next) => path = next,
                None => break,
            }
        }
        assert!(found.is_sorted_by(|a, b| a < b));
        assert_eq!(found.len(), 5);
    })
    .await;
}

/// While the rule changes, both rules apply to new values.
#[tokio::test]
async fn during_a_change_both_rules_apply_to_new_values() {
    Rig::on_each(async |rig| {
        let change = |from, to| ClaimScheme::Changing { from, to }.version();
        let (email, off) = (EmailUniqueness::Email, EmailUniqueness::Off);
        set_rule(&rig, off).await;
        let database = rig.log.database();
        let rule = |rule| ClaimScheme::Rule(rule).version();
        let replace = async |from, to| LogFormat::replace_claims(database, from, to).await.unwrap();
        for _ in 0..2 {
            assert_eq!(
                register(&rig, "Ana", "a@example.com").await.status,
                StatusCode::CREATED
            );
        }
        assert!(replace(rule(off), change(off, email)).await);
        // A change is rejected if it does not begin with the current state of the log.
        assert!(!replace(rule(off), rule(email)).await);
        let eva = register(&rig, "Eva", "b@example.com").await;
        is_taken(&register(&rig, "Eva", "b@example.com").await);
        // The patients from before have no claims yet: the command that changes the rule reports them.
        let pat = register(&rig, "Pat", "c@example.com").await;
        assert_eq!(
            amend(&rig, pat.id(), &json!({ "email": "a@example.com" }))
                .await
                .status,
            StatusCode::OK
        );
        is_taken(&amend(&rig, pat.id(), &json!({ "email": "b@example.com" })).await);
        assert_eq!(rig.delete(eva.id()).await.status, StatusCode::NO_CONTENT);
        assert_eq!(
            amend(&rig, pat.id(), &json!({ "email": "b@example.com" }))
                .await
                .status,
            StatusCode::OK
        );
        assert!(replace(change(off, email), rule(email)).await);
        is_taken(&register(&rig, "Eva", "b@example.com").await);
        assert_eq!(
            amend(&rig, pat.id(), &json!({ "email": "d@example.com" }))
                .await
                .status,
            StatusCode::OK
        );
        assert_eq!(
            register(&rig, "Eva", "b@example.com").await.status,
            StatusCode::CREATED
        );
    })
    .await;
}

/// A process that appends nothing learns of a change too.
#[tokio::test]
async fn a_search_follows_the_rule_of_the_log() {
    let rig = Rig::new().await;
    let search = "/patients?email=a%40example.com";
    let ana = register(&rig, "Ana", "a@example.com").await;
    // Each patient has an email of its own, so the search does not wait for the read table.
    let found = rig.get_at(search, ana.header("event-position")).await;
    assert_eq!(names(&found.body), ["Ana"]);
    set_rule(&rig, EmailUniqueness::EmailAndName).await;
    let behind = rig.get_at(search, ana.header("event-position")).await;
    assert_eq!(behind.body["type"], "/problems/not-projected-yet");
}

#[tokio::test]
async fn a_search_by_email_needs_the_read_table_only_if_patients_may_share_an_email() {
    Rig::on_each(async |rig| {
        register(&rig, "Ana", "a@example.com").await;
        rig.project().await;
        for (generation, problem) in [(0, "read-table-not-filled"), (77, "read-table-damaged")] {
            let lose = format!("UPDATE projections SET active_generation = {generation}");
            rig.execute(&lose).await;
            set_rule(&rig, EmailUniqueness::Email).await;
            let found = rig.get("/patients?email=a@example.com").await;
            assert_eq!(names(&found.body), ["Ana"]);
            let nobody = rig.get("/patients?email=b@example.com").await;
            assert_eq!((nobody.status, nobody.body), (StatusCode::OK, json!([])));
            for rule in [EmailUniqueness::EmailAndName, EmailUniqueness::Off] {
                set_rule(&rig, rule).await;
                for email in ["a@example.com", "b@example.com"] {
                    let answer = rig.get(&format!("/patients?email={email}")).await;
                    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
                    assert_eq!(answer.body["type"], format!("/problems/{problem}"));
                }
            }
        }
    })
    .await;
}
