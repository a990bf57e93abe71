//! Tests that no process or folder outlives the test process, no matter why the test process ends.
#![expect(clippy::unwrap_used, reason = "a failed check must fail the test")]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testkit::{PrivateMysql, Program, RedisServer, SmtpMode, SmtpServer, installed_flavours, wait_until};

/// Environment variable that is set only in the process that the test kills.
const VICTIM: &str = "TESTKIT_VICTIM";

/// This function is not a test. It runs in the process that is killed.
#[tokio::test]
#[ignore = "started by the tests below in a separate process"]
async fn victim() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let redis = RedisServer::start().await;
    let smtp = SmtpServer::start(SmtpMode::Tls).await;
    let program = Program::start(Command::new("/bin/sh").args(["-c", "pwd; exec sleep 1000"]));
    wait_until(
        Duration::from_secs(10),
        "the program has printed its folder",
        async || !program.stdout().is_empty(),
    )
    .await;
    let mut mysql = Vec::new();
    for flavour in installed_flavours() {
        mysql.push(PrivateMysql::start(flavour).await);
    }
    for url in mysql
        .iter()
        .map(|server| server.server().url.clone())
        .chain([redis.url().to_owned(), smtp.url()])
    {
        println!("\nport {}", url.rsplit(':').next().unwrap());
    }
    println!("\nfolder {}", program.stdout().trim());
    println!("\nfolder {}", smtp.ca_file().unwrap().parent().unwrap().display());
    println!("\nready");
    std::future::pending::<()>().await;
}

/// Starts the process, and returns it with the lines it printed.
fn start_victim() -> (Child, Vec<String>) {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let lines: Vec<_> = lines.take_while(|line| line != "ready").collect();
    assert!(
        lines.iter().any(|line| line.starts_with("folder")),
        "the victim failed: {lines:?}"
    );
    (victim, lines)
}

async fn leaves_nothing_after(signal: &str) {
    let (mut victim, lines) = start_victim();
    let of = |kind: &str| {
        lines
            .iter()
            .filter_map(|line| line.strip_prefix(kind))
            .collect::<Vec<_>>()
    };
    let open = |port: &str| TcpStream::connect(("127.0.0.1", port.parse().unwrap())).is_ok();
    let (ports, folders) = (of("port "), of("folder "));
    assert_eq!(ports.len(), 2 + installed_flavours().len());
    assert!(ports.iter().all(|port| open(port)));
    assert!(folders.iter().all(|folder| Path::new(folder).exists()));

    let kill = format!("kill -s {signal} {}", victim.id());
    assert!(
        Command::new("/bin/sh")
            .args(["-c", &kill])
            .status()
            .unwrap()
            .success()
    );
    victim.wait().unwrap();
    let gone = async || {
        !ports.iter().any(|port| open(port)) && !folders.iter().any(|folder| Path::new(folder).exists())
    };
    wait_until(
        Duration::from_secs(20),
        "every port is closed and every folder is removed",
        gone,
    )
    .await;
}

#[tokio::test]
async fn kill_9_of_the_test_process_leaves_nothing() {
    leaves_nothing_after("KILL").await;
}

#[tokio::test]
async fn an_interrupted_test_process_leaves_nothing() {
    leaves_nothing_after("INT").await;
}
