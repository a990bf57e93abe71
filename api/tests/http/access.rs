//! Tests of authorization: every route with every role.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use web::access::{Access, Role, Token, Tokens};

use crate::openapi::methods;
use crate::rig::{Rig, patient};
use crate::streams::Blocks;

const NOBODY: &str = "00000000-0000-7000-8000-000000000000";

struct Door {
    rig: Rig,
    access: Access,
    tokens: Vec<(Role, Token)>,
}

impl Door {
    async fn new() -> Self {
        let tokens: Vec<_> = [Role::Clerk, Role::Auditor, Role::Operator, Role::Privacy]
            .map(|role| (role, Token::generate().unwrap()))
            .into();
        let access = Access::by(lines(&tokens));
        Self {
            rig: Rig::with(access.clone()).await,
            access,
            tokens,
        }
    }

    fn of(&self, wanted: Role) -> String {
        let (_, token) = self.tokens.iter().find(|(role, _)| *role == wanted).unwrap();
        format!("Bearer {}", token.secret())
    }
}

fn lines(tokens: &[(Role, Token)]) -> Tokens {
    let lines: Vec<_> = tokens
        .iter()
        .map(|(role, token)| token.line(&format!("the-{role}"), *role))
        .collect();
    Tokens::parse(&lines.join("\n")).unwrap()
}

/// Returns a request that is valid except, possibly, for its authorization.
fn request(method: &str, path: &str, authorization: Option<&str>) -> Request<Body> {
    let mut request = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap())
        .uri(path)
        .header("content-type", "application/json");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let body = if method == "POST" {
        Body::from(patient("new@example.com").to_string())
    } else {
        Body::empty()
    };
    request.body(body).unwrap()
}

/// Returns the template of the path, as it appears in the OpenAPI document.
fn template(path: &str) -> String {
    let path = path.split('?').next().unwrap();
    path.replace(NOBODY, "{id}")
        .replace("/history/1", "/history/{sequence}")
        .replace("/projections/patient_view", "/projections/{projection}")
        .replace("/deliveries/1", "/deliveries/{id}")
        .replace("/docs.js", "/{file}")
        .replace("/app.js", "/{file}")
        .replace("/checkpoints/1", "/checkpoints/{size}")
        .replace("/proof/1", "/proof/{position}")
        .replace("/tile/0/000", "/tile/{tile}")
        .replace("/email-taken", "/{slug}")
        .replace("/rebuilds/2", "/rebuilds/{generation}")
        .replace("/skips/7", "/skips/{position}")
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "the function is a table of routes")]
async fn every_route_is_for_its_roles_and_for_no_other() {
    use Role::{Auditor, Clerk, Operator, Privacy};
    let id = format!("/patients/{NOBODY}");
    let rebuild = "/projections/patient_view/rebuilds/2";
    let everybody = &[Clerk, Auditor, Operator, Privacy][..];
    let routes = [
        ("POST", "/register", &[Clerk][..], false),
        ("POST", "/patients/register", &[Clerk], false),
        ("POST", "/patients", &[Clerk], false),
        ("GET", "/patients", &[Clerk, Auditor], false),
        ("HEAD", "/patients", &[Clerk, Auditor], false),
        ("GET", "/getPatients", &[Clerk, Auditor], false),
        ("GET", &id, &[Clerk, Auditor], false),
        ("PATCH", &id, &[Clerk], false),
        ("DELETE", &id, &[Clerk], false),
        ("GET", &format!("{id}?at=2026-01-01T00:00:00Z"), &[Auditor], false),
        ("GET", &format!("{id}/history"), &[Auditor], false),
        ("GET", &format!("{id}/history/1"), &[Auditor], false),
        ("POST", &format!("{id}/erasure"), &[Privacy], false),
        ("GET", &format!("{id}/erasure"), &[Privacy], false),
        ("PUT", &format!("{id}/hold"), &[Privacy], false),
        ("GET", &format!("{id}/hold"), &[Privacy], false),
        ("DELETE", &format!("{id}/hold"), &[Privacy], false),
        ("GET", &format!("{id}/erasure/certificate"), &[Privacy], false),
        ("GET", "/erasures/due", &[Privacy], false),
        ("GET", "/holds", &[Privacy], false),
        ("GET", "/events", &[Auditor], false),
        ("GET", "/events/stream?after=x", &[Auditor], false),
        ("GET", "/audit/reads", &[Auditor], false),
        ("GET", &format!("{id}/reads"), &[Auditor], false),
        ("GET", &format!("{id}/receipt"), &[Clerk, Auditor], false),
        ("GET", "/log/checkpoint", everybody, true),
        ("GET", "/log/checkpoints/1", everybody, true),
        ("GET", "/log/tile/0/000", everybody, true),
        ("GET", "/log/proof/1", everybody, true),
        ("GET", "/reads-log/checkpoint", everybody, true),
        ("GET", "/reads-log/checkpoints/1", everybody, true),
        ("GET", "/reads-log/tile/0/000", everybody, true),
        ("GET", "/reads-log/proof/1", everybody, true),
        ("GET", "/projections", &[Operator], false),
        ("POST", "/projections/patient_view/rebuild", &[Operator], false),
        ("GET", rebuild, &[Operator], false),
        ("DELETE", rebuild, &[Operator], false),
        ("POST", "/projections/patient_view/verify", &[Operator], false),
        ("PUT", "/projections/patient_view/skips/7", &[Operator], false),
        ("GET", "/checks", &[Operator], false),
        ("GET", "/metrics", &[Operator], false),
        ("GET", "/mail", &[Operator], false),
        ("GET", "/mail/deliveries", &[Operator], false),
        ("GET", "/mail/deliveries/1", &[Operator], false),
        ("POST", "/mail/deliveries/1/retry", &[Operator], false),
        ("POST", "/mail/dead/retry", &[Operator], false),
        ("GET", "/mail/preview", &[Operator], false),
        ("POST", "/mail/test", &[Operator], false),
        ("GET", "/health/live", everybody, true),
        ("GET", "/health/ready", everybody, true),
        ("GET", "/", everybody, true),
        ("GET", "/README.md", everybody, true),
        ("GET", "/README.es.md", everybody, true),
        ("GET", "/openapi.json", everybody, true),
        ("GET", "/docs", everybody, true),
        ("GET", "/redoc", everybody, true),
        ("GET", "/docs/assets/docs.js", everybody, true),
        ("GET", "/console", everybody, true),
        ("GET", "/console/app.js", everybody, true),
        ("GET", "/console/config.json", everybody, true),
        ("GET", "/problems", everybody, true),
        ("GET", "/problems/email-taken", everybody, true),
    ];
    let tried: BTreeSet<_> = routes
        .iter()
        .filter(|(method, ..)| *method != "HEAD")
        .map(|(method, path, ..)| (template(path), (*method).to_owned()))
        .collect();
    let documented: BTreeSet<_> = methods()
        .into_iter()
        .flat_map(|(path, methods)| methods.into_iter().map(move |method| (path.clone(), method)))
        .collect();
    assert_eq!(tried, documented, "this table, and the OpenAPI document");
    for (method, path, roles, open) in routes {
        let door = Door::new().await;
        for role in everybody {
            let answer = door
                .rig
                .respond(request(method, path, Some(&door.of(*role))))
                .await;
            let forbidden = answer.status() == StatusCode::FORBIDDEN;
            let challenge = answer.headers().get("www-authenticate");
            let insufficient = challenge.is_some_and(|value| value == "Bearer error=\"insufficient_scope\"");
            assert_eq!(insufficient, forbidden, "{challenge:?}");
            assert_eq!(forbidden, !roles.contains(role), "{method} {path} by {role}");
            assert_ne!(
                answer.status(),
                StatusCode::UNAUTHORIZED,
                "{method} {path} by {role}"
            );
        }
        let unknown = format!("Bearer {}", Token::generate().unwrap().secret());
        for nobodys in [None, Some(unknown.as_str())] {
            let answer = door.rig.respond(request(method, path, nobodys)).await;
            assert_eq!(
                answer.status() == StatusCode::UNAUTHORIZED,
                !open,
                "{method} {path} without a token that is known"
            );
        }
    }
}

#[tokio::test]
async fn without_a_known_token_nothing_is_said_and_nothing_done() {
    let door = Door::new().await;
    let good = door.of(Role::Clerk);
    let unknown = format!("Bearer {}", Token::generate().unwrap().secret());
    let (none, refused) = ("Bearer", "Bearer error=\"invalid_token\"");
    for (authorization, challenge) in [
        ("Bearer", none),
        ("Bearer ", none),
        ("Basic dXNlcjpwYXNz", none),
        (good.strip_prefix("Bearer ").unwrap(), none),
        (&unknown, refused),
        (&format!("{good}, {good}"), refused),
    ] {
        let answer = door
            .rig
            .send(request("POST", "/register", Some(authorization)))
            .await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{authorization}");
        assert_eq!(answer.header("www-authenticate"), challenge, "{authorization}");
        assert_eq!(answer.body["type"], "/problems/unauthorized");
        assert!(!answer.body.to_string().contains("pat_"), "{}", answer.body);
    }
    let mut twice = request("POST", "/register", Some(&good));
    twice.headers_mut().append("authorization", good.parse().unwrap());
    assert_eq!(door.rig.send(twice).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(door.rig.head().await, 0, "nothing was appended");

    let lower = good.replace("Bearer", "bearer");
    let answer = door.rig.send(request("POST", "/register", Some(&lower))).await;
    assert_eq!(answer.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_token_can_be_replaced_while_both_are_good() {
    let door = Door::new().await;
    let next = Token::generate().unwrap();
    let (old, new) = (door.of(Role::Clerk), format!("Bearer {}", next.secret()));
    let get = async |authorization: &str| {
        let list = request("GET", "/patients", Some(authorization));
        door.rig.send(list).await.status
    };
    assert_eq!(get(&new).await, StatusCode::UNAUTHORIZED);
    let (_, present) = &door.tokens[0];
    let both = format!(
        "{}\n{}",
        present.line("desk", Role::Clerk),
        next.line("desk", Role::Clerk)
    );
    door.access.replace(Tokens::parse(&both).unwrap());
    assert_eq!(
        (get(&old).await, get(&new).await),
        (StatusCode::OK, StatusCode::OK)
    );
    door.access
        .replace(Tokens::parse(&next.line("desk", Role::Clerk)).unwrap());
    assert_eq!(
        (get(&old).await, get(&new).await),
        (StatusCode::UNAUTHORIZED, StatusCode::OK)
    );
}

#[tokio::test]
async fn no_token_lets_nobody_in() {
    let door = Door::new().await;
    door.access.replace(Tokens::parse("# nobody\n").unwrap());
    for (role, token) in &door.tokens {
        let authorization = format!("Bearer {}", token.secret());
        let answer = door
            .rig
            .send(request("GET", "/patients", Some(&authorization)))
            .await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{role}");
    }
    let health = door.rig.send(request("GET", "/health/live", None)).await;
    assert_eq!(health.status, StatusCode::OK);
}

#[tokio::test]
async fn the_actor_of_an_event_is_the_holder_of_the_token() {
    let door = Door::new().await;
    let clerk = door.of(Role::Clerk);
    let registered = door.rig.send(request("POST", "/register", Some(&clerk))).await;
    assert_eq!(registered.status, StatusCode::CREATED);
    assert_eq!(door.rig.actor_of(1).await, "the-clerk");
    let open = Rig::new().await;
    open.register("a@example.com").await;
    assert_eq!(open.actor_of(1).await, "anonymous");
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_taken_back() {
    let door = Door::new().await;
    let (clerk, auditor) = (door.of(Role::Clerk), door.of(Role::Auditor));
    let register = async |email: &str| {
        let mut request = request("POST", "/register", Some(&clerk));
        *request.body_mut() = Body::from(patient(email).to_string());
        assert_eq!(door.rig.send(request).await.status, StatusCode::CREATED);
    };
    let stream = request("GET", "/events/stream", Some(&auditor));
    let mut stream = Blocks::of(door.rig.respond(stream).await).await;
    register("a@example.com").await;
    assert_eq!(stream.events(1).await, [1]);
    let left = door.tokens.iter().filter(|(role, _)| *role == Role::Clerk);
    let left = left.map(|(role, token)| token.line("desk", *role));
    door.access
        .replace(Tokens::parse(&left.collect::<String>()).unwrap());
    register("b@example.com").await;
    assert_eq!(stream.block().await, None);
}
