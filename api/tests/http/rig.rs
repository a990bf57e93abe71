//! An API over a separate database, with a projector that runs only on demand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::checks::{Checks, Finding};
use api::commands::ClaimScheme;
use api::{Api, ApiOptions, ApiParts, PatientData, router, serve};
use axum::Router;
use axum::body::Body;
use axum::http::header::HOST;
use axum::http::response::Parts;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::Response;
use eventstore::projection::Follower;
use eventstore::sealing::Keyring;
use eventstore::{
    AppendQueue, Clock, Database, DatabaseOptions, Dialect, EventLog, LogFormat, Position, Projection,
    Sealing, Session, Signal, Subscription, SystemClock, Transaction,
};
use futures::FutureExt;
use mailer::{Composer, Languages, SampleMailer, SmtpOptions, Templates, Timeouts, Transport};
use projector::{PatientNames, PatientView};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{link_target, mysql_servers};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use web::access::Access;
use web::{HttpOptions, Listening, Metrics};

/// Maximum number of waiting appends.
pub(crate) const QUEUE: usize = 100;

/// Poll interval. It is longer than any test, so a result that arrives earlier was triggered by a signal.
const POLL: Duration = Duration::from_mins(10);

pub(crate) struct Rig {
    pub(crate) api: Api,
    router: Router,
    pub(crate) appends: AppendQueue,
    pub(crate) log: EventLog,
    signal: Signal,
    folder: Option<TempDir>,
}

/// Returns the options of an API that accepts every host.
pub(crate) fn every_host() -> HttpOptions {
    HttpOptions {
        allowed_hosts: vec!["*".parse().unwrap()],
        ..HttpOptions::default()
    }
}

async fn migrated(url: &str) -> Database {
    let database = Database::connect(url, DatabaseOptions::default()).await.unwrap();
    migrations::migrate(&database, SystemClock::shared(), "test")
        .await
        .unwrap();
    database
}

/// Seals the log, unless it has unencrypted events, with a new keyring.
async fn seal(database: &Database) {
    let keyring = Keyring::generate(SystemClock.now()).unwrap();
    let claims = ClaimScheme::default().version();
    let format = LogFormat::seal_if_empty(database, &keyring, claims, None)
        .await
        .unwrap();
    if let Some(log) = format.log_id() {
        database.seal_with(Sealing::new(
            keyring,
            log,
            ClaimScheme::default().version(),
            PatientData,
        ));
    }
}

/// Creates a mailer whose server cannot be reached.
fn sample_mailer() -> SampleMailer {
    let sender = "Clinic <clinic@example.com>".parse().unwrap();
    let composer = Composer::new(Templates::built_in().unwrap(), Languages::default(), sender);
    let transport = Transport::smtp("smtp://127.0.0.1:1", &SmtpOptions::default()).unwrap();
    SampleMailer::new(Arc::new(composer), transport, Timeouts::default())
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Returns the target of the link with this relation.
    pub(crate) fn link(&self, relation: &str) -> Option<String> {
        link_target(self.header("link"), relation)
    }

    pub(crate) fn id(&self) -> &str {
        self.body["id"].as_str().unwrap()
    }
}

impl Rig {
    /// Creates an open API on SQLite.
    pub(crate) async fn new() -> Self {
        Self::with(Access::open()).await
    }

    /// Creates an API on SQLite with this access control.
    pub(crate) async fn with(access: Access) -> Self {
        Self::with_timeout(access, HttpOptions::default().request_timeout).await
    }

    /// Creates an API on SQLite with this request timeout.
    pub(crate) async fn with_timeout(access: Access, request_timeout: Duration) -> Self {
        let options = HttpOptions {
            request_timeout,
            ..HttpOptions::default()
        };
        Self::with_options(access, options).await
    }

    /// Creates an API on SQLite with these options, except that it uses the waiting times of the tests and
    /// accepts every host.
    pub(crate) async fn with_options(access: Access, options: impl Into<ApiOptions>) -> Self {
        let mut options = options.into();
        options.http.allowed_hosts = every_host().allowed_hosts;
        Self::on_sqlite(access, options).await
    }

    /// Creates an API on SQLite with these options, except that it uses the waiting times of the tests.
    pub(crate) async fn on_sqlite(access: Access, options: impl Into<ApiOptions>) -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}", folder.path().join("patients.db").display());
        Self::over(&url, access, options, Some(folder)).await
    }

    /// Serves the API until the test ends, and returns its address.
    pub(crate) async fn listen(&self, listening: Listening) -> SocketAddr {
        Served::start(self, listening).await.address
    }

    /// Runs `test` on SQLite and on every available MySQL and MariaDB server.
    pub(crate) async fn on_each(test: impl AsyncFn(Self)) {
        test(Self::new().await).await;
        for server in mysql_servers() {
            println!("on {}", server.flavour.name());
            let database = server.create_database().await;
            test(Self::over(&database.url, Access::open(), every_host(), None).await).await;
        }
    }

    pub(crate) async fn over(
        url: &str,
        access: Access,
        options: impl Into<ApiOptions>,
        folder: Option<TempDir>,
    ) -> Self {
        Self::by_clock(url, access, options, folder, SystemClock::shared()).await
    }

    /// Creates an open API on SQLite over an unencrypted log, to which a test can append its own events.
    pub(crate) async fn in_clear() -> Self {
        Self::in_clear_with(Access::open()).await
    }

    /// Like [`Rig::in_clear`], with this access control.
    pub(crate) async fn in_clear_with(access: Access) -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}", folder.path().join("patients.db").display());
        Self::in_clear_over(&url, access, Some(folder)).await
    }

    /// Runs `test` over an unencrypted log, on SQLite and on every available MySQL and MariaDB server.
    pub(crate) async fn on_each_in_clear(test: impl AsyncFn(Self)) {
        test(Self::in_clear().await).await;
        for server in mysql_servers() {
            println!("on {}", server.flavour.name());
            let database = server.create_database().await;
            test(Self::in_clear_over(&database.url, Access::open(), None).await).await;
        }
    }

    async fn in_clear_over(url: &str, access: Access, folder: Option<TempDir>) -> Self {
        let database = migrated(url).await;
        Self::on(
            database,
            access,
            every_host().into(),
            folder,
            SystemClock::shared(),
        )
    }

    /// Creates an API that uses this clock, also for its appends.
    pub(crate) async fn by_clock(
        url: &str,
        access: Access,
        options: impl Into<ApiOptions>,
        folder: Option<TempDir>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let database = migrated(url).await;
        seal(&database).await;
        Self::on(database, access, options.into(), folder, clock)
    }

    /// Replaces the process with another, which has these options and this clock.
    pub(crate) fn restart(self, options: impl Into<ApiOptions>, clock: Arc<dyn Clock>) -> Self {
        let database = self.log.database().clone();
        Self::on(database, Access::open(), options.into(), self.folder, clock)
    }

    fn on(
        database: Database,
        access: Access,
        options: ApiOptions,
        folder: Option<TempDir>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let log = EventLog::new(database.clone());
        let signal = Signal::in_process();
        let appends = AppendQueue::start(database, signal.clone(), Arc::clone(&clock), QUEUE, QUEUE);
        let options = ApiOptions {
            read_wait: Duration::from_millis(200),
            poll: POLL,
            ..options
        };
        let metrics = Metrics::new(|| async { "# EOF\n".to_owned() }.boxed());
        let api = Api::new(ApiParts {
            log: log.clone(),
            appends: appends.clone(),
            signal: signal.clone(),
            clock,
            access,
            metrics,
            sample_mailer: Ok(sample_mailer()),
            checks: Checks::new(|| async { vec![Finding::ok("schema", "up to date")] }),
            options,
        });
        Self {
            router: router(api.clone()),
            appends,
            api,
            log,
            signal,
            folder,
        }
    }

    /// Creates another API on the same database, with an append queue and locks of its own.
    pub(crate) fn another_api(&self) -> Self {
        let database = self.log.database().clone();
        let options = every_host().into();
        Self::on(database, Access::open(), options, None, SystemClock::shared())
    }

    /// Returns the last position of the log.
    pub(crate) async fn head(&self) -> u64 {
        self.log.head().await.unwrap().position.get()
    }

    /// Returns the actor of the event at a position.
    pub(crate) async fn actor_of(&self, position: u64) -> String {
        let before = Position::new(position - 1).unwrap();
        let events = self.log.feed(before, 1).await.unwrap();
        events[0].metadata["actor"].as_str().unwrap().to_owned()
    }

    /// On SQLite, blocks all appends until the returned transaction is dropped.
    pub(crate) async fn hold_the_database(&self) -> Transaction<'_> {
        self.log.database().begin().await.unwrap()
    }

    /// Projects all events, and then stops the projector.
    pub(crate) async fn project(&self) {
        self.project_view().await;
        self.project_names().await;
    }

    /// Projects all events into `patient_view`.
    pub(crate) async fn project_view(&self) {
        self.follow::<PatientView>("/patients").await;
    }

    /// Projects all events into `patient_names`. `patient_view` must already include them.
    pub(crate) async fn project_names(&self) {
        self.follow::<PatientNames>("/patients?name=nobody").await;
    }

    /// Runs a projection until `path` includes all events.
    async fn follow<P: Projection>(&self, path: &str) {
        let stop = CancellationToken::new();
        let subscription = Subscription::new(
            P::NAME,
            "test",
            self.log.clone(),
            &self.signal,
            SystemClock::shared(),
            Follower::<P>::default(),
        );
        let running = tokio::spawn(subscription.run(stop.clone()));
        let head = self.log.head().await.unwrap().position.to_string();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while self.get_at(path, &head).await.status != StatusCode::OK {
            assert!(
                tokio::time::Instant::now() < deadline,
                "the projection does not keep up"
            );
        }
        stop.cancel();
        running.await.unwrap();
    }

    /// Reads a list that includes all events up to a position.
    pub(crate) async fn get_at(&self, path: &str, position: &str) -> Answer {
        let request = Request::get(path).header("min-position", position);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn respond(&self, mut request: Request<Body>) -> Response {
        // Every client sends this header.
        request
            .headers_mut()
            .entry(HOST)
            .or_insert(HeaderValue::from_static("test"));
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn text(&self, request: Request<Body>) -> (Parts, String) {
        let (parts, body) = self.respond(request).await.into_parts();
        let bytes = axum::body::to_bytes(body, 10_000_000).await.unwrap();
        (parts, String::from_utf8(bytes.into()).unwrap())
    }

    /// Runs a statement.
    pub(crate) async fn execute(&self, sql: &str) {
        let mut connection = self.log.database().writer().await.unwrap();
        connection.query(sql).execute().await.unwrap();
    }

    /// Returns the database's plan for a query.
    pub(crate) async fn plan(&self, sql: &str) -> String {
        let (explain, column) = match self.log.database().dialect() {
            Dialect::MySql => ("EXPLAIN FORMAT=JSON", 0),
            Dialect::Sqlite => ("EXPLAIN QUERY PLAN", 3),
        };
        let mut connection = self.log.database().reader().await.unwrap();
        let sql = format!("{explain} {sql}");
        let rows = connection.query(&sql).fetch_all().await.unwrap();
        let lines: Vec<String> = rows.iter().map(|row| row.get(column).unwrap()).collect();
        lines.join("\n")
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, text) = self.text(request).await;
        let kind = parts.headers.get("content-type");
        let body = if !text.is_empty() && kind.is_some_and(|kind| kind.to_str().unwrap().contains("json")) {
            serde_json::from_str(&text).unwrap()
        } else {
            Value::Null
        };
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn delete(&self, id: &str) -> Answer {
        self.send(
            Request::delete(format!("/patients/{id}"))
                .body(Body::empty())
                .unwrap(),
        )
        .await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(post(path, body.to_string())).await
    }

    pub(crate) async fn register(&self, email: &str) -> Answer {
        let answer = self.post("/register", &patient(email)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer
    }
}

pub(crate) fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap()
}

pub(crate) fn patient(email: &str) -> Value {
    json!({
        "name": "John Doe",
        "email": email,
        "phone": "+1234567890",
        "document_url": "https://example.com/photos/john.jpg",
    })
}

/// Runs all requests concurrently, and returns their responses in order.
pub(crate) async fn at_once<F: Future<Output = Answer>>(all: impl Iterator<Item = F>) -> Vec<Answer> {
    let mut running: Vec<_> = all.map(Box::pin).collect();
    let mut answers: Vec<Option<Answer>> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, answer) in running.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *answer = Some(ready);
            }
        }
        if answers.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    answers.into_iter().flatten().collect()
}

/// An API that listens on a port until it is stopped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Served {
    pub(crate) async fn start(rig: &Rig, listening: Listening) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, rig.api.clone(), listening, stop.clone()));
        Self {
            address,
            stop,
            serving,
        }
    }

    /// Stops the API, and returns the time that this took.
    pub(crate) async fn stop(self) -> Duration {
        let asked = Instant::now();
        self.stop.cancel();
        timeout(Duration::from_secs(30), self.serving)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        asked.elapsed()
    }
}
