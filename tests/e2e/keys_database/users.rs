//! A database user for each role in the database of the keys, created with `migrations/users/keys-*.sql`.

use std::collections::BTreeSet;
use std::process::Command;

use reqwest::StatusCode;
use sqlx::{Connection, MySqlConnection};
use testkit::{Program, SmtpMode, SmtpServer, TestDatabase, free_port, installed_flavours, wait_until};

use super::{SETTING, erase};
use crate::client::{Client, id_of};
use crate::database_users::{PASSWORD, USERS, Users, allowed};
use crate::rebuild::{json, run};
use crate::rig::SOON;

const CREATE: &str = include_str!("../../../migrations/users/keys-create.sql");
const GRANT: &str = include_str!("../../../migrations/users/keys-grant.sql");
const DOCS: &str = include_str!("../../../docs/operations.md");

async fn administrate(keys: &TestDatabase, sql: &str) {
    let mut connection = MySqlConnection::connect(&keys.url).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

fn url(keys: &TestDatabase, user: &str) -> String {
    let login = format!("//patients_{user}:{PASSWORD}@");
    keys.url.replacen("//root@", &login, 1)
}

fn command(users: &Users, keys: &TestDatabase, user: &str, words: &[&str]) -> Command {
    let mut command = users.command(user, words);
    command.env(SETTING, url(keys, user));
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_and_command_works_with_its_user_of_the_keys_database() {
    for flavour in installed_flavours() {
        println!("on {flavour}");
        let users = Users::new_server(flavour, SmtpServer::start(SmtpMode::Plain).await).await;
        let keys = users.server.server().create_database().await;
        administrate(&keys, CREATE).await;
        for _ in 0..2 {
            let (migrated, said) = run(&mut command(&users, &keys, "migrate", &["migrate"]));
            assert!(migrated, "{said}");
            users.grant().await;
            administrate(&keys, GRANT).await;
        }
        let port = free_port();
        let programs = ["api", "projector", "mailer"].map(|role| {
            let mut command = command(&users, &keys, role, &[role]);
            Program::start(command.env("HTTP_ADDR", format!("127.0.0.1:{port}")))
        });
        let client = Client::new(port);
        wait_until(SOON, "the API is ready", async || client.ready().await).await;
        let first = client.register_for_sure("a@example.com").await;
        client.register_for_sure("b@example.com").await;
        wait_until(SOON, "each has an email", async || {
            users.production.smtp.mails().len() == 2
        })
        .await;
        erase(&client, id_of(&first)).await;
        for (user, words) in [
            ("auditor", &["audit", "verify"][..]),
            ("auditor", &["audit", "history", id_of(&first)]),
            ("operator", &["keys", "check"]),
            ("operator", &["keys", "rotate"]),
            ("operator", &["log", "format"]),
            ("operator", &["erase", "--replay"]),
            ("operator", &["projection", "verify"]),
        ] {
            let (succeeded, said) = run(&mut command(&users, &keys, user, words));
            assert!(succeeded, "{words:?}: {said}");
        }
        let replayed = json(&mut command(&users, &keys, "operator", &["erase", "--replay"]));
        assert_eq!(replayed["erased"], 1);
        let gone = client.get(&format!("/patients/{}", id_of(&first))).await.unwrap();
        assert_eq!(gone.status(), StatusCode::GONE);
        for program in &programs {
            program.terminate();
            assert_eq!(program.wait(SOON).await, 0);
            assert!(!program.log().contains("denied"), "{}", program.log());
        }
        assert_eq!(rights(&keys).await, documented());
    }
}

/// Returns the rights that the server grants.
async fn rights(keys: &TestDatabase) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for user in USERS {
        let mut connection = MySqlConnection::connect(&url(keys, user)).await.unwrap();
        for (table, column) in [
            ("subject_keys", "created_at"),
            ("key_store", "id"),
            ("leases", "name"),
            ("_sqlx_migrations", "version"),
        ] {
            for (right, sql) in [
                ("S", format!("SELECT {column} FROM {table} WHERE FALSE")),
                (
                    "I",
                    format!("INSERT IGNORE INTO {table} ({column}) SELECT 1 FROM DUAL WHERE FALSE"),
                ),
                ("U", format!("UPDATE {table} SET {column} = 1 WHERE FALSE")),
                ("D", format!("DELETE FROM {table} WHERE FALSE")),
            ] {
                if allowed(&mut connection, &sql).await {
                    found.insert(format!("{table}: {user} {right}"));
                }
            }
        }
        for sql in ["DROP TABLE subject_keys", "TRUNCATE TABLE subject_keys"] {
            assert!(!allowed(&mut connection, sql).await, "{user}: {sql}");
        }
    }
    found
}

/// Returns the rights in the second table of docs/operations.md.
fn documented() -> BTreeSet<String> {
    let head = format!("| table of the keys | `{}` |\n", USERS.join("` | `"));
    let (_, table) = DOCS.split_once(&head).unwrap();
    crate::database_users::rights_in(table)
}
