//! Commands of operators and auditors: without a database, with `--json`, with a closed pipe, with colors,
//! and their recorded actor.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{PrivateMysql, Program, free_port, installed_flavours, wait_until};

use crate::client::Client;
use crate::rig::{SOON, os_user, patients};
use crate::settings::ended;

const NOBODY: &str = "01900000-0000-7000-8000-000000000000";

/// Every command that needs the database, with its exit code when there is no database.
const COMMANDS: [(&str, i32); 35] = [
    ("migrate", 1),
    ("health --role projector", 1),
    ("health --role mailer", 1),
    ("projection status", 1),
    ("projection rebuild", 1),
    ("projection cancel", 1),
    ("projection verify", 2),
    ("projection skip 1 --reason test", 1),
    ("mail status", 1),
    ("mail list", 1),
    ("mail show 1", 1),
    ("mail retry --dead", 1),
    ("audit head", 2),
    ("audit verify", 2),
    ("audit history 01900000-0000-7000-8000-000000000000", 2),
    ("audit state 01900000-0000-7000-8000-000000000000", 2),
    ("audit export", 2),
    ("audit prove 1", 2),
    ("audit reads", 2),
    ("audit reads heads", 2),
    ("audit reads prune --before 2026-01-01T00:00:00Z", 2),
    ("claims verify", 2),
    ("claims unique", 2),
    ("claims rebuild", 2),
    ("erase 01900000-0000-7000-8000-000000000000 --reason request", 1),
    ("erase --due", 1),
    ("erase --replay", 1),
    (
        "hold 01900000-0000-7000-8000-000000000000 --until 2999-12-31 --reason research",
        1,
    ),
    ("release 01900000-0000-7000-8000-000000000000", 1),
    ("retention status", 1),
    ("log format", 1),
    ("log upgrade --no-earlier-programs", 1),
    ("keys check", 2),
    ("keys rotate", 1),
    ("export --fhir", 1),
];

fn command(words: &str, database_url: &str) -> Command {
    let mut command = patients("");
    command.args(words.split(' ')).env("DATABASE_URL", database_url);
    command
}

/// Asserts that a command prints its error on one line, with the place and the reason once.
fn one_error(words: &str, stderr: &str, place: &str, reason: &str) {
    let errors: Vec<&str> = stderr.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{words}: {stderr}");
    let error = errors[0];
    assert_eq!(error.matches(place).count(), 1, "{words}: {error}");
    assert_eq!(error.matches(reason).count(), 1, "{words}: {error}");
    assert_eq!(stderr.matches(reason).count(), 1, "{words}: {stderr}");
    assert!(!stderr.contains("hunter2"), "{words}: {stderr}");
}

#[test]
fn without_a_database_every_command_ends_with_its_exit_code_and_one_error() {
    let place = format!("mysql://127.0.0.1:{}/patients", free_port());
    let url = place.replace("mysql://", "mysql://root:hunter2@");
    for (words, expected) in COMMANDS {
        let (code, _, stderr) = ended(command(words, &url).args(["--wait", "0"]));
        assert_eq!(code, expected, "{words}: {stderr}");
        one_error(words, &stderr, &place, "Connection refused");
    }
    let (code, _, stderr) = ended(command("projection status", &url).args(["--wait", "1s"]));
    assert_eq!(code, 1, "{stderr}");
    one_error("projection status", &stderr, &place, "Connection refused");
}

#[test]
fn a_wrong_path_of_the_database_is_named_and_nothing_is_created() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    for (path, reason) in [
        ("missing/patients.db", "does not exist"),
        ("folder", "folder"),
        ("file/patients.db", "Not a directory"),
    ] {
        for (words, expected) in COMMANDS.into_iter().filter(|(words, _)| *words != "migrate") {
            let url = format!("sqlite://{path}");
            let (code, _, stderr) = ended(command(words, &url).current_dir(folder.path()));
            assert_eq!(code, expected, "{words}: {stderr}");
            let errors = stderr.lines().filter(|line| line.contains("ERROR")).count();
            assert_eq!(errors, 1, "{words}: {stderr}");
            assert!(
                stderr.contains(path) && stderr.contains(reason),
                "{words}: {stderr}"
            );
        }
    }
    assert!(!Path::new(&folder.path().join("missing")).exists());
}

/// The server accepts connections but never responds, like a server that hangs.
#[test]
fn a_command_gives_up_on_a_database_that_is_silent() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("mysql://{}/patients", silent.local_addr().unwrap());
    let (code, _, stderr) = ended(command("mail status", &place).args(["--wait", "1s"]));
    assert_eq!(code, 1, "{stderr}");
    one_error("mail status", &stderr, &place, "no answer within 1s");
}

#[tokio::test]
async fn a_command_waits_for_a_database_that_comes() {
    let mut server = PrivateMysql::start(installed_flavours()[0]).await;
    let url = format!("{}/patients", server.server().url);
    server.terminate().await;
    let program = Program::start(command("migrate", &url).args(["--wait", "2m"]));
    wait_until(SOON, "it waits", async || {
        program.log().contains("waiting for the database")
    })
    .await;
    server.restart().await;
    assert_eq!(program.wait(SOON).await, 0, "{}", program.log());
    assert!(!program.log().contains("ERROR"), "{}", program.log());
}

#[test]
fn a_role_takes_no_time_to_wait_since_it_waits_for_ever() {
    for role in ["", "serve", "api", "projector", "mailer"] {
        let (code, _, stderr) = ended(patients(role).args(["--wait", "1s"]));
        assert_eq!(code, 2, "{role}: {stderr}");
        assert!(stderr.contains("--wait applies to commands only"), "{stderr}");
    }
}

/// Creates a folder with a database in which one patient is registered and one email is sent.
async fn embedded() -> TempDir {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    let program = Program::start(
        patients("serve")
            .current_dir(folder.path())
            .env("HTTP_ADDR", format!("127.0.0.1:{port}")),
    );
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    client.register("a@example.com").await.unwrap();
    let outbox = folder.path().join("data/outbox");
    wait_until(SOON, "the mail is sent", async || {
        std::fs::read_dir(&outbox).is_ok_and(|mails| mails.count() > 0)
    })
    .await;
    wait_until(SOON, "the patient is listed", async || {
        client.list().await.len() == 1
    })
    .await;
    program.terminate();
    program.wait(SOON).await;
    folder
}

#[tokio::test]
async fn every_command_prints_json_when_it_is_asked_to() {
    let folder = embedded().await;
    let at = |words: &str| {
        let mut command = patients("");
        command.args(words.split(' ')).current_dir(folder.path());
        command
    };
    let (code, proof, stderr) = ended(at("audit prove 1 --output -").arg("--wait=0"));
    assert_eq!(code, 0, "{stderr}");
    std::fs::write(folder.path().join("proof"), proof).unwrap();
    for words in [
        "migrate",
        "settings",
        "token new --role clerk",
        "projection status",
        "projection verify",
        "projection rebuild",
        "mail status",
        "mail list",
        "mail show 1",
        "mail retry --dead",
        "mail preview",
        "mail test --to a@example.com",
        "audit head",
        "audit verify",
        "audit reads",
        "audit reads heads",
        "audit reads prune --before 2026-01-01T00:00:00Z",
        "audit check proof",
        "health",
        "health --role projector",
        "health --role mailer",
    ] {
        let (_, stdout, stderr) = ended(at(words).arg("--json"));
        let values = serde_json::Deserializer::from_str(&stdout).into_iter::<Value>();
        let values: Result<Vec<Value>, _> = values.collect();
        // A command that concerns both projections prints one value for each of them.
        let expected = match words {
            "projection verify" | "projection rebuild" => 2,
            _ => 1,
        };
        assert_eq!(
            values.map_or(0, |values| values.len()),
            expected,
            "{words}: {stdout}{stderr}"
        );
    }
    let (code, stdout, _) = ended(at("health --role mailer").arg("--json"));
    let answer: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (code, &answer["role"], &answer["healthy"]),
        (1, &json!("mailer"), &json!(false))
    );
    assert!(answer["reason"].as_str().unwrap().contains("mailer"), "{answer}");
}

#[tokio::test]
async fn what_commands_show_fits_80_columns() {
    let folder = embedded().await;
    let projector = Program::start(patients("projector").current_dir(folder.path()));
    let at = |words: &str| {
        let mut command = patients("");
        command.args(words.split(' ')).current_dir(folder.path());
        command
    };
    wait_until(SOON, "the projector has an owner", async || {
        ended(&mut at("projection status")).1.contains("projector@")
    })
    .await;
    ended(&mut at(&format!("audit state {NOBODY}")));
    for words in [
        "projection status",
        "projection verify",
        "mail status",
        "audit head --root",
        "audit verify",
        "audit reads",
        "audit reads heads",
        "audit reads prune --before 2026-01-01T00:00:00Z",
        "settings",
    ] {
        let (code, stdout, stderr) = ended(&mut at(words));
        assert_eq!(code, 0, "{words}: {stderr}");
        let widest = stdout.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{words}: {widest:?} columns\n{stdout}");
    }
    drop(projector);
}

/// A process that is killed at the end of the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn a_closed_pipe_ends_a_command_without_a_word() {
    let folder = embedded().await;
    for words in [
        "openapi",
        "settings",
        "settings --json",
        "--help",
        "token new --role clerk",
        "projection status",
        "projection verify",
        "mail status",
        "mail list",
        "mail preview",
        "audit head",
        "audit export",
        "audit reads",
    ] {
        let mut child = patients("")
            .args(words.split(' '))
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{words}");
    }
}

#[tokio::test]
async fn a_role_goes_on_when_nobody_reads_what_it_says() {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    let mut child = patients("serve")
        .current_dir(folder.path())
        .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
        .env("LOG", "debug")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    let _killed = Killed(child);
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    client.register("a@example.com").await.unwrap();
    wait_until(SOON, "the patient is listed", async || {
        client.list().await.len() == 1
    })
    .await;
}

#[test]
fn colours_are_as_the_environment_asks_for() {
    let folder = TempDir::new().unwrap();
    for words in ["audit head", "--nothing"] {
        let coloured = |variables: &[(&str, &str)]| {
            let mut command = patients("");
            command
                .args(words.split(' '))
                .current_dir(folder.path())
                .envs(variables.iter().copied());
            ended(&mut command).2.contains('\u{1b}')
        };
        assert!(!coloured(&[]), "{words}: it is no terminal");
        assert!(coloured(&[("CLICOLOR_FORCE", "1")]), "{words}");
        assert!(
            !coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]),
            "{words}"
        );
    }
}

#[test]
fn text_that_is_not_utf8_is_refused_and_named() {
    let wrong = OsStr::from_bytes(b"\xff");
    let (_, list, _) = ended(patients("settings").arg("--json"));
    let list: Vec<Value> = serde_json::from_str(&list).unwrap();
    for setting in list {
        let name = setting["variable"].as_str().unwrap();
        let (code, _, stderr) = ended(
            patients("token")
                .args(["new", "--role", "clerk"])
                .env(name, wrong),
        );
        assert!(
            !stderr.contains("panicked") && !stderr.contains("hunter2"),
            "{stderr}"
        );
        // A path may contain any bytes.
        assert!(
            code == 0 || code == 2 && stderr.contains(name),
            "{name}: {stderr}"
        );
    }
    for arguments in [["audit", "state"], ["mail", "test"], ["--http-addr", "x"]] {
        let (code, _, stderr) = ended(patients("").args(arguments).arg(wrong));
        assert_eq!(code, 2, "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
    let (code, _, stderr) = ended(patients("health").arg("--database-url").arg(wrong));
    assert_eq!(code, 2);
    assert!(stderr.contains("argument 3 is not UTF-8"), "{stderr}");
}

#[tokio::test]
async fn the_record_of_reads_names_the_user_of_the_operating_system() {
    let folder = TempDir::new().unwrap();
    let at = |words: &str| {
        let mut command = patients("");
        command
            .args(words.split(' '))
            .current_dir(folder.path())
            .envs(["USER", "LOGNAME", "SUDO_USER"].map(|name| (name, "eve")));
        command
    };
    assert_eq!(ended(&mut at("migrate")).0, 0);
    assert_eq!(ended(&mut at(&format!("audit state {NOBODY}"))).0, 1);
    let (code, reads, stderr) = ended(&mut at("audit reads --json"));
    assert_eq!(code, 0, "{stderr}");
    let reads: Value = serde_json::from_str(&reads).unwrap();
    let actor = reads[0]["actor"].as_str().unwrap();
    assert!(actor.starts_with(&os_user()) && !actor.contains("eve"), "{actor}");
}

/// The status shows a killed owner until its lease of 5 s has expired, as described in docs/operations.md.
#[tokio::test]
async fn after_a_kill_the_owner_is_named_until_its_lease_has_run_out() {
    let folder = TempDir::new().unwrap();
    let owner = || {
        let mut status = patients("projection");
        let (_, stdout, _) = ended(status.args(["status", "--json"]).current_dir(folder.path()));
        let status: Value = serde_json::from_str(&stdout).unwrap_or_default();
        let all = status["subscriptions"].as_array().cloned().unwrap_or_default();
        let view = all.into_iter().find(|one| one["name"] == "patient_view");
        view.and_then(|view| Some(view["owner"].as_str()?.to_owned()))
    };
    assert_eq!(ended(patients("migrate").current_dir(folder.path())).0, 0);
    let projector = Program::start(patients("projector").current_dir(folder.path()));
    wait_until(SOON, "it owns the subscription", async || owner().is_some()).await;
    projector.kill9().await;
    wait_until(SOON, "nobody does", async || owner().is_none()).await;
}
