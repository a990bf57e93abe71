//! `patients audit reads heads`.

use anyhow::Context;
use api::read_log::heads::{self, ReadHead};
use eventstore::Database;

use crate::exit_code::NoAnswer;
use crate::output::{lines, print, print_json};

pub(super) async fn run(database: &Database, json: bool) -> anyhow::Result<()> {
    let heads = all(database).await.context(NoAnswer)?;
    if json {
        return print_json(&heads);
    }
    if heads.is_empty() {
        return print("no chains were found");
    }
    let heads: Vec<_> = heads.iter().map(described).collect();
    print(&heads.join("\n\n"))
}

/// Returns the heads of all chains.
async fn all(database: &Database) -> eventstore::Result<Vec<ReadHead>> {
    let mut connection = database.reader().await?;
    let mut all: Vec<ReadHead> = Vec::new();
    loop {
        let after = all.last().map(|last| last.chain.clone()).unwrap_or_default();
        let page = heads::page(&mut connection, &after).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

fn described(head: &ReadHead) -> String {
    lines(&[
        ("chain", head.chain.clone()),
        ("link", head.number.to_string()),
        ("hash", head.hash.to_string()),
        ("recorded at", head.recorded_at.to_string()),
    ])
}
