//! `patients audit verify`.

use anyhow::{Context, bail};
use eventstore::{Error, EventLog, Trusted, verify};
use serde_json::json;

use super::NoAnswer;
use crate::output::{lines, print, print_json};
use crate::progress::Progress;

pub(super) async fn run(log: &EventLog, trusted: Vec<Trusted>, json: bool) -> anyhow::Result<()> {
    let all = match log.head().await {
        Ok(head) => head.position.get(),
        // The schema is up to date, so somebody has removed it; `verify` says so.
        Err(Error::NoHead) => 0,
        Err(error) => return Err(error).context(NoAnswer),
    };
    let heads = trusted.len();
    let mut progress = Progress::start("events", 0, all, json);
    let checked = verify(log, trusted, move |position| {
        progress.at(position.get(), all);
        if position.get() >= all {
            progress.end();
        }
    })
    .await
    .context(NoAnswer)?;
    match checked {
        Ok(verified) if json => {
            let mut answer = serde_json::to_value(verified)?;
            answer["fits"] = true.into();
            print_json(&answer)
        }
        Ok(verified) => {
            let trusted = match heads {
                0 => String::new(),
                1 => ", and the trusted head".to_owned(),
                heads => format!(", and the {heads} trusted heads"),
            };
            print(&lines(&[
                ("fits", format!("all {} events{trusted}", verified.position)),
                ("hash", verified.hash.to_string()),
                ("root", verified.root.to_string()),
                ("recorded at", verified.recorded_at.to_string()),
            ]))
        }
        Err(misfit) => {
            if json {
                let mut answer = serde_json::to_value(misfit)?;
                answer["fits"] = false.into();
                answer["message"] = json!(misfit.problem.to_string());
                print_json(&answer)?;
            } else {
                print(&format!("does not fit: {misfit}"))?;
            }
            bail!("the log does not fit at position {}", misfit.position)
        }
    }
}
