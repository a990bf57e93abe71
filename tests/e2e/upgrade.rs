//! A newer program replaces an older one while patients are registered and deleted. Afterwards, a patient is
//! amended, which the older program cannot do.
//!
//! `scripts/upgrade` builds the older program from the history of this repository, and sets its path in
//! `UPGRADE_FROM`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{HeaderMap, LINK};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use testkit::{Mail, Program, free_port, mysql_servers, wait_until};
use tokio::task::JoinHandle;

use crate::client::{Client, id_of};
use crate::rebuild::run;
use crate::rig::{Production, SOON};

const SENT: &str = "mail_deliveries WHERE state = 'sent'";
const EVERYTHING: [&str; 3] = ["events", "patient_view", SENT];

/// The APIs behind a load balancer.
type Balanced = Arc<Mutex<Vec<Client>>>;

/// Results of the clients.
#[derive(Default)]
struct Seen {
    /// The patient id of each registered email address.
    registered: BTreeMap<String, String>,
    deleted: BTreeSet<String>,
    /// Number of responses with 503, which ask for a retry.
    unavailable: usize,
}

/// A request of a client.
enum Request<'r> {
    Register(&'r str),
    Read(&'r str),
    List,
    Delete(&'r str),
}

impl Request<'_> {
    async fn send(&self, api: &Client) -> reqwest::Result<Response> {
        match self {
            Self::Register(email) => api.register_under(email, email).await,
            Self::Read(id) => api.get(&format!("/patients/{id}")).await,
            Self::List => api.get("/getPatients?limit=5").await,
            Self::Delete(id) => api.delete(id).await,
        }
    }
}

impl Seen {
    /// Sends a request to one API after another until an API responds with an `expected` status, like a
    /// client behind a load balancer. Retries after a refused connection (by a stopped API), after 503, and
    /// while the same request is in progress elsewhere. Panics on any other response.
    async fn ask(&mut self, apis: &Balanced, request: Request<'_>, expected: &[StatusCode]) -> String {
        loop {
            let api = {
                let mut apis = apis.lock().unwrap();
                apis.rotate_left(1);
                apis[0].clone()
            };
            if let Ok(answer) = request.send(&api).await {
                let status = answer.status();
                if let Ok(said) = answer.text().await {
                    match status {
                        status if expected.contains(&status) => return said,
                        StatusCode::SERVICE_UNAVAILABLE => self.unavailable += 1,
                        _ => assert!(said.contains("/problems/request-in-progress"), "{status}: {said}"),
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Registers a patient and reads the patient from any API. Deletes every fourth patient.
    async fn work(&mut self, apis: &Balanced, email: String) {
        const DELETED: [StatusCode; 2] = [StatusCode::NO_CONTENT, StatusCode::GONE];
        let said = self
            .ask(apis, Request::Register(&email), &[StatusCode::CREATED])
            .await;
        let id = id_of(&serde_json::from_str(&said).unwrap()).to_owned();
        let read = self.ask(apis, Request::Read(&id), &[StatusCode::OK]).await;
        assert!(read.contains(&email), "{read}");
        self.ask(apis, Request::List, &[StatusCode::OK]).await;
        if self.registered.len() % 4 == 3 {
            // A deletion may have succeeded although its response was lost. A retry then returns 410.
            self.ask(apis, Request::Delete(&id), &DELETED).await;
            self.ask(apis, Request::Read(&id), &[StatusCode::GONE]).await;
            self.deleted.insert(id.clone());
        }
        let before = self.registered.insert(email, id);
        assert_eq!(before, None);
    }
}

/// Clients that work until they are stopped.
struct Clients {
    stop: Arc<AtomicBool>,
    at_work: Vec<JoinHandle<Seen>>,
}

impl Clients {
    fn start(apis: &Balanced) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let at_work = (0..4).map(|client| {
            let (apis, stop) = (Arc::clone(apis), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut seen = Seen::default();
                while !stop.load(Ordering::SeqCst) {
                    let email = format!("p{}.{client}@example.com", seen.registered.len());
                    seen.work(&apis, email).await;
                }
                seen
            })
        });
        Self {
            at_work: at_work.collect(),
            stop,
        }
    }

    async fn stop(self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Seen::default();
        for client in self.at_work {
            let seen = client.await.unwrap();
            all.registered.extend(seen.registered);
            all.deleted.extend(seen.deleted);
            all.unavailable += seen.unavailable;
        }
        all
    }
}

fn rows(count: usize) -> i64 {
    i64::try_from(count).unwrap()
}

/// The older and the newer program, on the same servers.
struct Upgrade {
    production: Production,
    older: String,
}

impl Upgrade {
    fn older(&self, role: &str) -> Command {
        let newer = self.production.command(role);
        let mut older = Command::new(&self.older);
        older.args(newer.get_args());
        older.envs(newer.get_envs().filter_map(|(name, value)| Some((name, value?))));
        older
    }

    async fn api(mut command: Command) -> (Program, Client) {
        let port = free_port();
        let program = Program::start(command.env("HTTP_ADDR", format!("127.0.0.1:{port}")));
        let client = Client::new(port);
        wait_until(SOON, "the API is ready", async || client.ready().await).await;
        (program, client)
    }

    fn newer(&self, words: &[&str]) -> (bool, String) {
        run(self.production.command("").args(words))
    }

    async fn migration(&self) -> i64 {
        self.production.count("_sqlx_migrations WHERE success").await
    }

    async fn ends(program: Program) {
        program.terminate();
        assert_eq!(program.wait(SOON).await, 0, "{}", program.log());
    }

    async fn rolls(self) {
        let production = &self.production;
        let (migrated, said) = run(&mut self.older("migrate"));
        assert!(migrated, "{said}");
        let before = self.migration().await;
        let (mut old_api, old_client) = Self::api(self.older("api")).await;
        let old_projector = Program::start(&self.older("projector"));
        let old_mailer = Program::start(&self.older("mailer"));
        let apis = Balanced::new(Mutex::new(vec![old_client.clone()]));
        let clients = Clients::start(&apis);
        production.more_in(&EVERYTHING).await;

        // A long read blocks the change of the table. Other transactions must not wait for it.
        let reader = production.barrier("SELECT COUNT(*) FROM patient_view").await;
        let migrating = production.start("migrate");
        wait_until(SOON, "it logs what it waits for", async || {
            migrating.log().contains("waiting for open transactions")
        })
        .await;
        production.more_in(&EVERYTHING).await;
        reader.lift().await;
        assert_eq!(migrating.wait(SOON).await, 0, "{}", migrating.log());
        assert!(self.migration().await > before, "no migration was applied");
        production.more_in(&EVERYTHING).await;
        // An older program can restart without waiting.
        old_api.kill9().await;
        old_api.restart().await;
        production.more_in(&EVERYTHING).await;

        let (new_api, new_client) = Self::api(production.command("api")).await;
        let new_projector = production.start("projector");
        let new_mailer = production.start("mailer");
        apis.lock().unwrap().push(new_client.clone());
        production.more_in(&EVERYTHING).await;
        Self::ends(old_mailer).await;
        production.more_in(&EVERYTHING).await;
        Self::ends(old_projector).await;
        production.more_in(&EVERYTHING).await;
        Self::ends(old_api).await;
        apis.lock().unwrap().retain(|api| api.port() != old_client.port());
        production.more_in(&EVERYTHING).await;
        let seen = clients.stop().await;

        self.nothing_is_lost_or_doubled(&seen, &new_client).await;
        self.names_are_found_without_a_rebuild(&seen, &new_client).await;
        self.a_patient_of_the_older_program_is_amended(&seen, &new_client)
            .await;
        for program in [new_api, new_projector, new_mailer] {
            Self::ends(program).await;
        }
        println!(
            "{} registered, {} deleted; answered 503: {}",
            seen.registered.len(),
            seen.deleted.len(),
            seen.unavailable
        );
    }

    async fn nothing_is_lost_or_doubled(&self, seen: &Seen, client: &Client) {
        let production = &self.production;
        let events = rows(seen.registered.len() + seen.deleted.len());
        assert_eq!(production.count("events").await, events);
        let head = format!("log_head WHERE position = {events}");
        assert_eq!(production.count(&head).await, 1, "positions have gaps");
        let active: BTreeSet<String> = seen
            .registered
            .values()
            .filter(|id| !seen.deleted.contains(*id))
            .cloned()
            .collect();
        wait_until(SOON, "all are projected", async || {
            let listed = client.list().await;
            listed
                .iter()
                .map(|patient| id_of(patient).to_owned())
                .collect::<BTreeSet<_>>()
                == active
        })
        .await;
        // The email is cancelled if the patient is deleted before it is sent.
        let finished = "mail_deliveries WHERE state IN ('sent', 'cancelled')";
        wait_until(2 * SOON, "all mail is finished", async || {
            production.count(finished).await == rows(seen.registered.len())
        })
        .await;
        assert_eq!(
            production.count("mail_deliveries").await,
            rows(seen.registered.len())
        );
        let mails = production.smtp.mails();
        assert_eq!(production.count(SENT).await, rows(mails.len()));
        let recipients: BTreeSet<String> = mails.iter().map(Mail::recipient).collect();
        assert_eq!(recipients.len(), mails.len(), "a mail arrived twice");
        for (email, id) in &seen.registered {
            assert!(
                recipients.contains(email) || seen.deleted.contains(id),
                "{email} has no mail"
            );
        }
        let (sound, said) = self.newer(&["audit", "verify"]);
        assert!(sound, "{said}");
        // The older program can read the events of the newer one.
        let (sound, said) = run(self.older("").args(["audit", "verify"]));
        assert!(sound, "{said}");
    }

    /// The older program does not know amendments.
    async fn a_patient_of_the_older_program_is_amended(&self, seen: &Seen, client: &Client) {
        let is_active = |(_, id): &(&String, &String)| !seen.deleted.contains(*id);
        let (email, id) = seen.registered.iter().find(is_active).unwrap();
        let amended = client.amend(id, &json!({ "email": "new@example.com" })).await;
        assert_eq!(amended.status(), StatusCode::OK);
        wait_until(SOON, "the list has the new email", async || {
            let listed = client.list().await;
            listed.iter().any(|patient| patient["email"] == "new@example.com")
        })
        .await;
        let history = client.get(&format!("/patients/{id}/history")).await.unwrap();
        assert_eq!(history.json::<Vec<Value>>().await.unwrap().len(), 2);
        wait_until(SOON, "both addresses get a notice", async || {
            let mails = self.production.smtp.mails();
            let count = |to: &str| mails.iter().filter(|mail| mail.recipient() == to).count();
            (count("new@example.com"), count(email)) == (1, 2)
        })
        .await;
    }

    async fn names_are_found_without_a_rebuild(&self, seen: &Seen, client: &Client) {
        const SEARCH: &str = "/patients?name=jose-maria&limit=1000";
        wait_until(SOON, "the names are filled", async || {
            client.get(SEARCH).await.unwrap().status() == StatusCode::OK
        })
        .await;
        let (rebuilt, said) = self.newer(&["projection", "rebuild"]);
        assert!(rebuilt, "{said}");
        let (same, said) = self.newer(&["projection", "verify"]);
        assert!(same && said.contains("identical"), "{said}");
        let (mut found, mut next) = (0, Some(SEARCH.to_owned()));
        while let Some(page) = next {
            let response = client.get(&page).await.unwrap();
            next = next_page(response.headers());
            found += response.json::<Vec<Value>>().await.unwrap().len();
        }
        assert_eq!(found, seen.registered.len() - seen.deleted.len());
    }
}

/// Returns the path of the next page.
fn next_page(headers: &HeaderMap) -> Option<String> {
    let links = headers.get(LINK)?.to_str().unwrap();
    let next = links.split(", ").find(|link| link.ends_with("rel=\"next\""))?;
    let (path, _) = next.strip_prefix('<')?.split_once('>')?;
    Some(path.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_program_takes_over_from_an_older_one_and_nothing_is_lost() {
    let Ok(older) = std::env::var("UPGRADE_FROM") else {
        println!("not tested: UPGRADE_FROM is not set; `scripts/upgrade` builds an older program");
        return;
    };
    for server in mysql_servers() {
        println!("on {}", server.flavour.name());
        let upgrade = Upgrade {
            production: Production::without_schema_on(server).await,
            older: older.clone(),
        };
        upgrade.rolls().await;
    }
}
