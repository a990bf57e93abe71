//! Tests of values that a database, a shell, a template, a browser or a spreadsheet might interpret as code.
//! They are stored and returned byte for byte, over real sockets, on each kind of database.

use domain::NameQuery;
use serde_json::{Value, json};
use url::form_urlencoded;
use web::Listening;

use crate::refusals::{Answer, exchange};
use crate::rig::{Rig, Served};

/// Names. Each contains a letter or a digit, as the rules for names require.
const NAMES: &[&str] = &[
    "Robert'); DROP TABLE events;--",
    "\" OR \"\"=\"\" --",
    "' UNION SELECT payload FROM events #",
    "a' AND SLEEP(5)='1",
    "/*!50000 DROP TABLE patient_view */",
    "`patient_view`; COMMIT; a",
    "a\\",
    "\\' OR 1=1 --",
    "\\0 \\x00 \\u0000 %00 &#0; \\n",
    "100% a_b%%",
    "?1 :name @name $1 {0} %s %n",
    "NULL",
    "true",
    "0x41",
    "1e309",
    "-0",
    "{\"name\":\"a\",\"$ne\":null}",
    "[1,2",
    "../../../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "file:///etc/passwd",
    "$(id) `id` ; id | id && id > id",
    "${jndi:ldap://a} {{7*7}} <%= 7*7 %> #{7*7}",
    "<script>alert(1)</script>&amp;<!--",
    "]]><a/>",
    "=1+1",
    "@SUM(A1)",
    "+1+a",
    "-1+a",
    "a  b   c",
    "a\u{feff}b",
    "a\u{200b}\u{200d}\u{ad}b",
    "a\u{a0}b\u{3000}c",
    "Zo\u{eb} q\u{308}",
    "\u{fb01} \u{2460} \u{216b} \u{c5} \u{1e9e} \u{df} \u{17f}",
    "\u{130} \u{131} I i",
    "\u{e1}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
    "\u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{645}\u{631}\u{62d}\u{628}\u{627}",
    "\u{674e}\u{5c0f}\u{9f8d} \u{20bb7}",
    "\u{1f469}\u{1f3fd}\u{200d}\u{2695}\u{fe0f} a",
    "\u{d7ff}\u{e000}\u{fffd}\u{ffff}\u{10ffff}a",
];

const EMAILS: &[&str] = &[
    "o'brien@example.com",
    "a'or'1'='1'--@example.com",
    "a%_{n}@example.com",
    "a/.b/c@example.com",
    "!#$%&'*+-/=?^_`{|}~@example.com",
    "=1+1@example.com",
    "null@example.com",
    "zo\u{eb}@example.com",
    "\u{674e}@\u{4f8b}\u{5b50}.example",
];

const PHONES: &[&str] = &[
    "+34 600 123 456",
    "(+1)555/0100 ext. 12",
    "555--0100#1",
    "./..//(112)",
    "'; DROP TABLE events;-- 12",
    "000",
];

const URLS: &[&str] = &[
    "https://example.com/a?q=';DROP%20TABLE%20events;--&b='",
    "https://example.com/../../etc/passwd",
    "https://example.com/..%2f..%2fetc%2fpasswd%00.jpg",
    "https://example.com/%ff%fe%F0%9F%98%80",
    "HTTPS://EXAMPLE.com:0443/%7euser/./a//b?#",
    "http://[::1]/$(id)`id`",
    "https://\u{4f8b}\u{5b50}.example/\u{1f600}|^{}[]",
    "https://example.com/=cmd|'/C%20calc'!A0",
];

/// Returns one patient for each name. The other values are used repeatedly.
fn patients() -> Vec<Value> {
    let of = |all: &'static [&'static str], number: usize| all[number % all.len()];
    (0..NAMES.len())
        .map(|number| {
            let email = of(EMAILS, number);
            // No two patients have the same email.
            let email = format!("{}{email}", "a.".repeat(number / EMAILS.len()));
            json!({
                "name": NAMES[number],
                "email": email,
                "phone": of(PHONES, number),
                "document_url": of(URLS, number),
            })
        })
        .collect()
}

struct Client<'a>(&'a Served);

impl Client<'_> {
    async fn ask(&self, line: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
        );
        let mut answers = exchange(self.0.address, line, request.as_bytes()).await;
        assert_eq!(answers.len(), 1, "{line}");
        answers.remove(0)
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.ask(&format!("GET {path}"), "", "").await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }
}

/// Returns a value encoded for a query string.
fn query(value: &Value) -> String {
    form_urlencoded::byte_serialize(value.as_str().unwrap().as_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_values_come_back_byte_for_byte() {
    Rig::on_each(async |rig| {
        let served = Served::start(&rig, Listening::default()).await;
        let client = Client(&served);
        let mut expected = Vec::new();
        for mut patient in patients() {
            let headers = "content-type: application/json\r\n";
            let answer = client.ask("POST /register", headers, &patient.to_string()).await;
            assert_eq!(answer.status, 201, "{patient}: {answer:?}");
            let registered: Value = serde_json::from_str(&answer.body).unwrap();
            let id = registered["id"].as_str().unwrap().to_owned();
            patient["id"] = json!(id);
            assert_eq!(registered, patient);
            // These reads use the log, because nothing is projected yet.
            assert_eq!(client.get(&format!("/patients/{id}")).await, patient);
            let mut payload = patient.clone();
            payload.as_object_mut().unwrap().remove("id");
            payload["type"] = json!("PatientRegistered");
            let event = client.get(&format!("/patients/{id}/history")).await[0].clone();
            assert_eq!(event["payload"], payload);
            let fed = client.get(&format!("/events?aggregate_id={id}")).await[0].clone();
            assert_eq!((&fed["opened"], &fed["hash"]), (&payload, &event["hash"]));
            expected.push(patient);
        }
        rig.project().await;
        // These reads use the read table.
        let shown = |patient: &Value| json!({"id": patient["id"], "name": patient["name"], "email": patient["email"]});
        for patient in &expected {
            let id = patient["id"].as_str().unwrap();
            assert_eq!(client.get(&format!("/patients/{id}")).await, *patient);
            let found = client.get(&format!("/patients?email={}", query(&patient["email"]))).await;
            assert_eq!(found, json!([shown(patient)]));
            let name = patient["name"].as_str().unwrap();
            // Decoders use U+FFFD for malformed UTF-8, so a query with this character is rejected.
            if !name.contains(char::REPLACEMENT_CHARACTER)
                && let Ok(query_of_name) = NameQuery::parse(name)
            {
                let found = client.get(&format!("/patients?limit=1000&name={}", query(&patient["name"]))).await;
                // A search that interprets a part of the value as a pattern or as code would find other
                // patients.
                let named = expected.iter().filter(|one| query_of_name.matches_name(one["name"].as_str().unwrap()));
                assert_eq!(found, named.map(shown).collect::<Value>(), "{name}");
            }
        }
        let all: Vec<_> = expected.iter().map(shown).collect();
        assert_eq!(client.get("/getPatients?limit=1000").await, Value::from(all));
        served.stop().await;
    })
    .await;
}
