//! `patients audit reads prune`.

use anyhow::{Context, bail};
use api::read_log::prune::prune;
use eventstore::{Clock, Database, SystemClock, Timestamp};
use serde_json::json;

use crate::actor::actor;
use crate::exit_code::NoAnswer;
use crate::output::{print, print_json};

pub(super) async fn run(database: &Database, before: Timestamp, yes: bool, json: bool) -> anyhow::Result<()> {
    if before > SystemClock.now() {
        bail!("{before} is in the future");
    }
    let actor = actor();
    let pruned = prune(database, &SystemClock, before, yes.then_some(actor.as_str()))
        .await
        .context(NoAnswer)?;
    if json {
        let mut answer = serde_json::to_value(pruned)?;
        answer["deleted"] = json!(yes);
        return print_json(&answer);
    }
    let what = format!(
        "{} entries in {} links of {} chains",
        pruned.entries, pruned.links, pruned.chains
    );
    if yes {
        print(&format!("deleted: {what}"))
    } else {
        print(&format!(
            "to delete: {what}\nnothing was deleted; repeat the command with --yes"
        ))
    }
}
