//! `patients audit reads heads`.

use anyhow::Context;
use api::read_log::heads::{self, ReadHead};
use api::read_log::published::{self, PublishedHead};
use eventstore::Database;
use serde::Serialize;

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

/// The head of a chain.
#[derive(Serialize)]
struct Head {
    #[serde(flatten)]
    head: ReadHead,
    /// The last link of the chain in the published log, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<PublishedHead>,
}

/// Returns the heads of all chains.
async fn all(database: &Database) -> eventstore::Result<Vec<Head>> {
    let mut connection = database.reader().await?;
    let mut all: Vec<Head> = Vec::new();
    loop {
        let after = all.last().map(|last| last.head.chain.clone()).unwrap_or_default();
        let page = heads::page(&mut connection, &after).await?;
        if page.is_empty() {
            return Ok(all);
        }
        for head in page {
            let published = published::last_of(&mut connection, &head.chain).await?;
            all.push(Head { head, published });
        }
    }
}

fn described(Head { head, published }: &Head) -> String {
    let mut values = vec![
        ("chain", head.chain.clone()),
        ("link", head.number.to_string()),
        ("hash", head.hash.to_string()),
        ("recorded at", head.recorded_at.to_string()),
    ];
    values.extend(published.map(|PublishedHead { number, position }| {
        ("published", format!("link {number}, as entry {position}"))
    }));
    lines(&values)
}
