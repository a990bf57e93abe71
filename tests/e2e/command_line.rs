//! The command line: settings, exit codes, health.

use std::process::{Command, Output};

use sqlx::Connection;
use tempfile::TempDir;
use testkit::{Program, SmtpMode, SmtpServer, free_port, mysql_servers, wait_until};

use crate::client::Client;
use crate::rig::{Production, SOON, patients};

fn run(command: &mut Command) -> (bool, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.env_remove("RUST_BACKTRACE").output().unwrap();
    (
        status.success(),
        [stdout, stderr]
            .concat()
            .iter()
            .map(|byte| char::from(*byte))
            .collect(),
    )
}

#[test]
fn the_description_of_the_api_is_printed_as_it_is_committed() {
    let Output { status, stdout, .. } = patients("openapi").output().unwrap();
    assert!(status.success());
    assert!(stdout == include_bytes!("../../docs/openapi.json"));
}

#[test]
fn a_wrong_setting_is_named_with_what_it_expects() {
    for (setting, value, expected) in [
        ("HTTP_ADDR", "8000", "an address and a port"),
        (
            "DATABASE_URL",
            "postgres://user:hunter2@host/name",
            "mysql://user:password@host/name",
        ),
        ("REDIS_URL", "http://:hunter2@localhost", "redis://host:port"),
        ("SMTP_URL", "mail://user:hunter2@host", "smtp://host:port"),
        ("MAIL_FROM", "nobody", "expected an address"),
        ("MAIL_LANGUAGE", "fr", "es"),
        ("MAIL_TEMPLATES", "nowhere", "MAIL_TEMPLATES"),
        ("MAIL_ON_AMEND", "perhaps", "email"),
        ("MAIL_ON_DELETE", "perhaps", "true"),
        ("MAIL_RATE", "10/week", "such as 10/s"),
        // With a shorter timeout, no email could be sent. With a longer timeout, a killed mailer would keep
        // its emails claimed for too long.
        ("MAIL_SEND_TIMEOUT", "10ms", "expected 1s to 1h"),
        ("MAIL_ANSWER_TIMEOUT", "2h", "expected 1s to 1h"),
        ("MAIL_CONNECT_TIMEOUT", "0s", "expected 1s to 1h"),
        ("OUTCOME_WAIT", "366d", "at most 365 days"),
        ("LOG", "nonsense=nonsense=nonsense", "a level such as info"),
        (
            "ALLOWED_HOSTS",
            "http://clinic.example.com",
            "a host without a scheme or port",
        ),
        ("AUTH_JWT_TYPE", "id_token", "expected at+jwt"),
        (
            "MAIL_DKIM_KEY_FILE",
            "-----BEGIN PRIVATE KEY-----\nhunter2",
            "the path of a file",
        ),
    ] {
        let folder = TempDir::new().unwrap();
        let (succeeded, said) = run(patients("serve").current_dir(folder.path()).env(setting, value));
        assert!(!succeeded, "{setting}={value} was accepted");
        assert!(said.contains(expected), "{setting}: {said}");
        assert!(!said.contains("hunter2"), "a password is repeated: {said}");
        let flag = format!("--{}", setting.to_lowercase().replace('_', "-"));
        assert!(said.contains(setting) || said.contains(&flag), "{said}");
    }
}

#[test]
fn an_unknown_flag_or_command_is_refused() {
    for arguments in [["--nothing"], ["nothing"]] {
        let (succeeded, said) = run(patients("").args(arguments));
        assert!(!succeeded && said.contains("nothing"), "{said}");
    }
}

/// Runs the command until it exits or is ready. Returns whether it is ready, and its output.
async fn listens(command: &mut std::process::Command, port: u16) -> (bool, String) {
    let program = Program::start(command);
    let client = Client::new(port);
    let mut ready = false;
    wait_until(SOON, "it is ready or has ended", async || {
        ready = client.ready().await;
        ready || !program.is_running()
    })
    .await;
    (ready, format!("{}{}", program.stdout(), program.log()))
}

#[tokio::test]
async fn it_serves_other_machines_only_with_tokens_or_when_it_is_told_to() {
    let folder = TempDir::new().unwrap();
    let (_, made) = run(patients("token").args(["new", "--role", "clerk", "--name", "desk"]));
    for name in ["", "#desk", "a,b", "a b", "anonymous"] {
        let (made, said) = run(patients("token").args(["new", "--role", "clerk", "--name", name]));
        assert!(!made && said.contains("--name: expected"), "{name}: {said}");
    }
    let line = made
        .lines()
        .find_map(|line| line.strip_prefix("line   "))
        .unwrap();
    let token = made
        .lines()
        .find_map(|line| line.strip_prefix("token  "))
        .unwrap();
    let port = free_port();
    let serve = |settings: &[(&str, &str)]| {
        let mut command = patients("serve");
        command
            .current_dir(folder.path())
            .env("HTTP_ADDR", format!("0.0.0.0:{port}"))
            .envs(settings.iter().copied());
        command
    };
    for (settings, expected) in [
        (&[][..], "AUTH=off"),
        (&[("AUTH", ""), ("AUTH_TOKENS", "")], "AUTH=off"),
        (&[("AUTH", "on")], "expected off"),
        (&[("AUTH_TOKENS", token)], "line 1: expected a name, a role"),
        (&[("AUTH_TOKENS", "# nobody, yet")], "contains no token"),
        (&[("AUTH", "off"), ("AUTH_TOKENS", line)], "use one or the other"),
        (&[("AUTH_TOKENS_FILE", "missing")], "AUTH_TOKENS_FILE missing"),
        (
            &[("AUTH_TOKENS", &format!("{line},{line}"))],
            "line 1: the hash is also on line 1",
        ),
        (
            &[("AUTH_TOKENS", &line.replace("desk", "anonymous"))],
            "line 1: the name anonymous is reserved",
        ),
    ] {
        let (ready, said) = listens(&mut serve(settings), port).await;
        assert!(!ready && said.contains(expected), "{settings:?}: {said}");
        assert!(!said.contains(token), "{said}");
    }
    let (ready, said) = listens(&mut serve(&[("AUTH", "off")]), port).await;
    assert!(ready && said.contains("no authentication (AUTH=off)"), "{said}");
    assert!(said.contains("list other hosts in ALLOWED_HOSTS"), "{said}");
    let every = [("AUTH", "off"), ("ALLOWED_HOSTS", "*")];
    let (ready, said) = listens(&mut serve(&every), port).await;
    assert!(
        ready && said.contains("ALLOWED_HOSTS=* without authentication"),
        "{said}"
    );
    let (ready, said) = listens(&mut serve(&[("AUTH_TOKENS", line)]), port).await;
    assert!(ready && said.contains("by access token (tokens: 1)"), "{said}");
    assert!(!said.contains(token), "{said}");
}

#[tokio::test]
async fn the_file_of_tokens_is_read_again_when_it_changes() {
    let folder = TempDir::new().unwrap();
    let new = || {
        let (_, made) = run(patients("token").args(["new", "--role", "clerk"]));
        let of = |prefix: &str| {
            let line = made.lines().find_map(|line| line.strip_prefix(prefix));
            line.unwrap().to_owned()
        };
        (of("token  "), of("line   "))
    };
    let ((first, first_line), (second, second_line)) = (new(), new());
    let (port, file) = (free_port(), folder.path().join("tokens"));
    std::fs::write(&file, &first_line).unwrap();
    let program = Program::start(
        patients("serve")
            .current_dir(folder.path())
            .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
            .env("AUTH_TOKENS_FILE", &file),
    );
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    let http = testkit::http_client().build().unwrap();
    let may = async |token: &str| {
        let answer = http
            .get(client.url("/patients"))
            .bearer_auth(token)
            .send()
            .await
            .unwrap();
        answer.status() == 200
    };
    assert!(may(&first).await && !may(&second).await);
    std::fs::write(&file, format!("# a note\n{second_line}\n")).unwrap();
    wait_until(SOON, "the second is known", async || may(&second).await).await;
    assert!(!may(&first).await);
    // An invalid file changes nothing.
    std::fs::write(&file, &second).unwrap();
    wait_until(SOON, "the error is logged", async || {
        program.log().contains("the previous content stays in use")
    })
    .await;
    assert!(may(&second).await);
    assert!(!program.log().contains(&second), "{}", program.log());
    // The last token can be revoked too.
    std::fs::write(&file, "# nobody any more, for now\n").unwrap();
    wait_until(SOON, "no token is accepted", async || !may(&second).await).await;
}

#[tokio::test]
async fn a_dotenv_file_is_read_and_the_environment_wins_over_it() {
    let folder = TempDir::new().unwrap();
    let (port, other) = (free_port(), free_port());
    std::fs::write(
        folder.path().join(".env"),
        format!("HTTP_ADDR=127.0.0.1:{port}\nMAIL_OUTBOX=elsewhere\nREDIS_URL=\nSMTP_URL=\n"),
    )
    .unwrap();
    let program = Program::start(patients("serve").current_dir(folder.path()));
    wait_until(SOON, "it listens where .env says", async || {
        Client::new(port).ready().await
    })
    .await;
    assert!(program.stdout().contains("elsewhere"), "{}", program.stdout());
    drop(program);
    let _program = Program::start(
        patients("serve")
            .current_dir(folder.path())
            .env("HTTP_ADDR", format!("127.0.0.1:{other}")),
    );
    wait_until(SOON, "it listens where the environment says", async || {
        Client::new(other).ready().await
    })
    .await;
}

#[tokio::test]
async fn health_tells_by_its_exit_code() {
    let production = Production::on(&mysql_servers()[0]).await;
    let port = free_port();
    let health = |role: &str| {
        run(production
            .command("health")
            .args(["--role", role])
            // In a container, the API listens on all addresses.
            .env("HTTP_ADDR", format!("0.0.0.0:{port}")))
    };
    for role in ["api", "projector", "mailer"] {
        assert!(!health(role).0, "{role} is healthy before it runs");
    }
    let _api = Program::start(
        production
            .command("api")
            .env("HTTP_ADDR", format!("127.0.0.1:{port}")),
    );
    let _projector = production.start("projector");
    let _mailer = production.start("mailer");
    for role in ["api", "projector", "mailer"] {
        wait_until(SOON, "it is healthy", async || health(role).0).await;
    }
}

#[tokio::test]
async fn migrate_makes_the_database_if_there_is_none_and_may_be_run_again() {
    let database = mysql_servers()[0].create_database().await;
    let missing = format!("{}_too", database.url);
    for _ in 0..2 {
        let (succeeded, said) = run(patients("migrate").env("DATABASE_URL", &missing));
        assert!(succeeded && said.contains("up to date"), "{said}");
    }
    let mut connection = sqlx::MySqlConnection::connect(&missing).await.unwrap();
    sqlx::query(&format!("DROP DATABASE {}_too", database.name))
        .execute(&mut connection)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_and_ends_the_process() {
    let folder = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let program = Program::start(
        patients("serve")
            .current_dir(folder.path())
            .env("HTTP_ADDR", &address),
    );
    assert_eq!(program.wait(SOON).await, 1);
    assert!(
        program.log().contains("HTTP_ADDR") && program.log().contains(&address),
        "{}",
        program.log()
    );
}

/// The mailer trusts the machine's certificate authorities. The test adds its own authority with
/// `SSL_CERT_FILE`.
#[tokio::test]
async fn mail_goes_out_over_tls_and_over_starttls() {
    for mode in [SmtpMode::Tls, SmtpMode::StartTls] {
        let folder = TempDir::new().unwrap();
        let smtp = SmtpServer::start(mode).await;
        let port = free_port();
        let _program = Program::start(
            patients("serve")
                .current_dir(folder.path())
                .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
                .env("SMTP_URL", smtp.url())
                .env("SSL_CERT_FILE", smtp.ca_file().unwrap()),
        );
        let client = Client::new(port);
        wait_until(SOON, "it is ready", async || client.ready().await).await;
        client.register("a@example.com").await.unwrap();
        wait_until(SOON, "the mail has arrived", async || smtp.mails().len() == 1).await;
    }
}
