//! Database servers that become unavailable and recover.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventstore::{
    AppendError, AppendQueue, Database, DatabaseOptions, Position, Session, Signal, SystemClock,
};
use futures::future::join_all;
use testkit::{PrivateMysql, installed_flavours, wait_until};
use tokio::time::Instant;

use crate::backend::{Backend, SOON, on_mysql, on_server, position};
use crate::follower::Follower;
use crate::sample::append;

const WRITERS: usize = 8;

/// Tests a contract on a separate server of each flavor, which the test may kill.
async fn on_private_servers(contract: impl AsyncFn(Arc<Backend>, &mut PrivateMysql)) {
    // These tests kill their servers, so they do not use TEST_MYSQL_URL.
    for mut own in join_all(installed_flavours().into_iter().map(PrivateMysql::start)).await {
        let server = own.server().clone();
        on_server(&server, async |backend| contract(backend, &mut own).await).await;
    }
}

/// The result of each append, by aggregate. Each aggregate has one event.
type Answers = Arc<Mutex<HashMap<String, Result<Position, AppendError>>>>;

/// Appends without a pause until `stop` is set.
async fn write(
    queue: AppendQueue,
    writer: usize,
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    answers: Answers,
) {
    for n in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let id = format!("{writer}-{n}");
        let answer = queue.append(append(&id, 1)).await.map(|appended| appended.first);
        if answer.is_ok() {
            made.fetch_add(1, Ordering::SeqCst);
        }
        answers.lock().unwrap().insert(id, answer);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_appends_keeps_what_was_acknowledged_and_doubles_nothing() {
    on_private_servers(async |backend, server| {
        backend.migrate().await;
        backend.create_followed().await;
        let deaf = Signal::in_process();
        let often = Duration::from_millis(20);
        backend.run(
            Follower::default()
                .subscribe(&backend, "follower", "test", &deaf)
                .with_poll(often),
        );
        let (stop, made, answers) = (Arc::default(), Arc::<AtomicU64>::default(), Answers::default());
        let queue = backend.queue();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (stop, made, answers) = (Arc::clone(&stop), Arc::clone(&made), Arc::clone(&answers));
                tokio::spawn(write(queue.clone(), writer, stop, made, answers))
            })
            .collect();
        let more_are_made = async || {
            let before = made.load(Ordering::SeqCst);
            wait_until(SOON * 2, "appends are made", async || {
                made.load(Ordering::SeqCst) > before + 50
            })
            .await;
        };
        for _ in 0..2 {
            more_are_made().await;
            server.kill().await;
            server.restart().await;
        }
        more_are_made().await;
        stop.store(true, Ordering::SeqCst);
        join_all(writers).await;

        let head = backend.head().await;
        let stored: HashMap<String, Vec<Position>> = {
            let mut stored = HashMap::<_, Vec<_>>::new();
            let mut after = Position::BEGINNING;
            while after < head {
                for event in backend.log.feed(after, 1000).await.unwrap() {
                    after = event.position;
                    stored.entry(event.aggregate_id).or_default().push(event.position);
                }
            }
            stored
        };
        let answers = std::mem::take(&mut *answers.lock().unwrap());
        for (id, answer) in &answers {
            let stored = stored.get(id).map_or(&[][..], Vec::as_slice);
            match answer {
                Ok(position) => assert_eq!(stored, [*position], "{id} was acknowledged"),
                Err(AppendError::Unavailable(_)) => assert_eq!(stored, [], "{id} was said not to be written"),
                // The server was unavailable for longer than the queue retries.
                Err(AppendError::InDoubt(_)) => {
                    assert!(stored.len() <= 1, "{id} is there {} times", stored.len());
                }
                Err(other) => panic!("{id}: {other}"),
            }
        }
        assert!(stored.keys().all(|id| answers.contains_key(id)));
        backend.followed_up_to("follower", head).await;
        assert!(
            backend
                .followed()
                .await
                .into_iter()
                .eq(1..=i64::try_from(head.get()).unwrap())
        );
    })
    .await;
}

#[tokio::test]
async fn connections_that_idled_over_a_restart_fail_nobody() {
    on_private_servers(async |backend, server| {
        backend.migrate().await;
        backend.create_followed().await;
        let queue = backend.queue();
        queue.append(append("before", 1)).await.unwrap();
        let deaf = Signal::in_process();
        let poll = Duration::from_secs(1);
        backend.run(
            Follower::default()
                .subscribe(&backend, "follower", "test", &deaf)
                .with_poll(poll),
        );
        backend.followed_up_to("follower", position(1)).await;
        let readers = join_all((0..6).map(|_| backend.database.reader())).await;
        assert!(readers.iter().all(Result::is_ok));
        drop(readers);

        server.restart().await;
        queue.append(append("after", 1)).await.unwrap();
        let restarted = Instant::now();
        backend.followed_up_to("follower", position(2)).await;
        assert!(
            restarted.elapsed() < Duration::from_secs(10),
            "{:?}",
            restarted.elapsed()
        );
    })
    .await;
}

const SOON_SILENT: DatabaseOptions = DatabaseOptions {
    connections: 5,
    acquire_timeout: Duration::from_secs(5),
    idle_timeout: Duration::from_secs(1),
    max_age: Duration::from_mins(5),
    create: true,
    is_replica: false,
};

/// A client that sends nothing more while it holds the lock of the log, such as a machine without power.
#[tokio::test]
async fn one_that_falls_silent_in_an_append_holds_the_others_up_for_a_while_only() {
    on_mysql(async |backend: Arc<Backend>| {
        backend.migrate().await;
        let silent = Database::connect(&backend.url, SOON_SILENT).await.unwrap();
        let mut transaction = silent.begin().await.unwrap();
        transaction
            .query("SELECT position FROM log_head FOR UPDATE")
            .fetch_all()
            .await
            .unwrap();
        backend.queue().append(append("other", 1)).await.unwrap();
        assert_eq!(backend.head().await, position(1));
        drop(transaction);
    })
    .await;
}

#[tokio::test]
async fn connections_that_the_server_ended_for_idleness_fail_nobody() {
    on_private_servers(async |backend, server| {
        let observer = Database::connect(&server.server().url, DatabaseOptions::default())
            .await
            .unwrap();
        let mut observer = observer.writer().await.unwrap();
        backend.migrate().await;
        let database = Database::connect(&backend.url, SOON_SILENT).await.unwrap();
        backend.database.close().await;
        let queue = AppendQueue::start(
            database.clone(),
            Signal::in_process(),
            SystemClock::shared(),
            10,
            10,
        );
        let log = eventstore::EventLog::new(database);
        queue.append(append("before", 1)).await.unwrap();
        log.head().await.unwrap();
        wait_until(SOON, "the server has closed the connections", async || {
            let others = "SELECT COUNT(*) FROM information_schema.processlist WHERE db LIKE 'test_%'";
            let row = observer.query(others).fetch_optional().await.unwrap().unwrap();
            row.get::<i64, _>(0).unwrap() == 0
        })
        .await;
        queue.append(append("after", 1)).await.unwrap();
        assert_eq!(log.head().await.unwrap().position, position(2));
    })
    .await;
}

#[tokio::test]
async fn connections_that_are_killed_under_appends_fail_nobody() {
    on_mysql(async |backend: Arc<Backend>| {
        backend.migrate().await;
        let database = backend.open().await;
        let queue = AppendQueue::start(database, Signal::in_process(), SystemClock::shared(), 1024, 16);
        let appends = join_all((0..WRITERS).map(|writer| {
            let queue = &queue;
            async move {
                for n in 0..60 {
                    let appended = queue.append(append(&format!("{writer}-{n}"), 1)).await;
                    assert!(appended.is_ok(), "{appended:?}");
                }
            }
        }));
        let mut killer = backend.database.writer().await.unwrap();
        let mut kills = 0;
        let kill = async {
            loop {
                let others = "SELECT CAST(id AS SIGNED) FROM information_schema.processlist \
                              WHERE db = DATABASE() AND id <> CONNECTION_ID()";
                for row in killer.query(others).fetch_all().await.unwrap_or_default() {
                    let kill = format!("KILL {}", row.get::<i64, _>(0).unwrap());
                    // The connection may have ended by itself.
                    kills += u32::from(killer.query(&kill).execute().await.is_ok());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            _ = appends => {}
            () = kill => {}
        }
        assert!(kills >= 2, "{kills}");
        assert_eq!(backend.head().await.get(), WRITERS as u64 * 60);
    })
    .await;
}
