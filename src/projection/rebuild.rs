//! `patients projection rebuild` and `cancel`. This process does the work itself, whether or not a projector
//! runs.

use std::time::Duration;

use anyhow::{Context, bail};
use eventstore::projection::{Outcome, Requested, Step};
use eventstore::{
    Clock, Database, EventLog, Position, Rebuild, RebuildState, Registered, Runner, SystemClock, lease,
};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::database::owner;
use crate::output;
use crate::progress::Progress;
use crate::shutdown::StopSignals;

/// Time without progress after which an owner counts as dead: its lease, plus a margin for a busy machine.
const SILENCE: Duration = lease::DEFAULT_DURATION.saturating_add(Duration::from_secs(1));
const LOOK: Duration = Duration::from_millis(100);

pub(super) async fn run(
    database: &Database,
    projections: &[&'static dyn Registered],
    json: bool,
) -> anyhow::Result<()> {
    let stop = stop_when_asked()?;
    for projection in projections {
        rebuild(database, *projection, &stop, json).await?;
    }
    Ok(())
}

async fn rebuild(
    database: &Database,
    projection: &dyn Registered,
    stop: &CancellationToken,
    json: bool,
) -> anyhow::Result<()> {
    let (owner, name) = (owner("rebuild"), projection.name());
    loop {
        let now = SystemClock.now();
        let requested = Rebuild::request(database, name, Runner::Command, &owner, now).await?;
        let (rebuild, found) = match requested {
            Requested::New(rebuild) => (rebuild, false),
            Requested::Unfinished(rebuild) => (free(database, rebuild).await?, true),
            Requested::NoProjection => {
                bail!("projections has no row for {name}; run `patients migrate`")
            }
        };
        if !json {
            announce(&rebuild, found)?;
        }
        let outcome = carry_out(database, projection, &rebuild, owner.clone(), stop, json).await?;
        // The previously cancelled rebuild is now cleaned up, so the next iteration requests the new one.
        if outcome != Outcome::Cancelled || rebuild.state != RebuildState::Cancelling {
            return report_outcome(database, &rebuild, outcome).await;
        }
    }
}

pub(super) async fn cancel(
    database: &Database,
    projections: &[&'static dyn Registered],
    json: bool,
) -> anyhow::Result<()> {
    let stop = stop_when_asked()?;
    let mut none = true;
    for projection in projections {
        let found = Rebuild::unfinished(database, projection.name(), SystemClock.now()).await?;
        if let Some(rebuild) = found {
            none = false;
            cancel_rebuild(database, *projection, &rebuild, &stop, json).await?;
        }
    }
    if none {
        bail!("no rebuild is in progress");
    }
    Ok(())
}

async fn cancel_rebuild(
    database: &Database,
    projection: &dyn Registered,
    rebuild: &Rebuild,
    stop: &CancellationToken,
    json: bool,
) -> anyhow::Result<()> {
    if !rebuild.cancel(database).await? {
        bail!("generation {} is already served", rebuild.generation);
    }
    // The owner of the rebuild stops and deletes the rebuild's rows. Without an owner, this process deletes
    // them.
    let until = Instant::now() + SILENCE * 5;
    loop {
        let outcome = carry_out(database, projection, rebuild, owner("cancel"), stop, json).await?;
        match outcome {
            Outcome::Cancelled if json => {
                let over = Rebuild::of(
                    database,
                    &rebuild.projection,
                    rebuild.generation,
                    SystemClock.now(),
                )
                .await?;
                return output::print_json(&over);
            }
            Outcome::Cancelled => {
                return output::print(&format!(
                    "generation {} was cancelled, and its rows were deleted",
                    rebuild.generation
                ));
            }
            Outcome::Taken if Instant::now() < until => tokio::time::sleep(LOOK).await,
            outcome => return report_outcome(database, rebuild, outcome).await,
        }
    }
}

fn stop_when_asked() -> anyhow::Result<CancellationToken> {
    let (mut signals, stop) = (StopSignals::listen()?, CancellationToken::new());
    let stop_token = stop.clone();
    tokio::spawn(async move {
        signals.asked().await;
        stop_token.cancel();
    });
    Ok(stop)
}

/// Waits until a rebuild has no owner. If the owner was killed, its lease expires. Fails if the owner makes
/// progress, or keeps the rebuild for [`SILENCE`].
async fn free(database: &Database, found: Rebuild) -> anyhow::Result<Rebuild> {
    let until = Instant::now() + SILENCE;
    let mut rebuild = found.clone();
    while let Some(owner) = &rebuild.owner {
        if rebuild.position != found.position || Instant::now() > until {
            let (state, position) = (rebuild.state.name(), rebuild.position.unwrap_or(rebuild.head));
            bail!(
                "a rebuild of {} is in progress: generation {}, {state}, at position {position} of {}, by {owner}",
                rebuild.projection,
                rebuild.generation,
                rebuild.head
            );
        }
        tokio::time::sleep(LOOK).await;
        rebuild = Rebuild::of(database, &found.projection, found.generation, SystemClock.now())
            .await?
            .context("the rebuild no longer exists")?;
    }
    Ok(rebuild)
}

fn announce(rebuild: &Rebuild, found: bool) -> anyhow::Result<()> {
    let (projection, generation) = (&rebuild.projection, rebuild.generation);
    output::print(&match (found, rebuild.position) {
        (false, _) => format!(
            "{projection}: filling generation {generation} with {} events",
            rebuild.head
        ),
        (true, Some(position)) => {
            format!(
                "{projection}: resuming generation {generation} from position {position} of {}",
                rebuild.head
            )
        }
        (true, None) => format!("{projection}: resuming generation {generation}: cleaning up"),
    })
}

async fn carry_out(
    database: &Database,
    projection: &dyn Registered,
    rebuild: &Rebuild,
    owner: String,
    stop: &CancellationToken,
    json: bool,
) -> anyhow::Result<Outcome> {
    let (log, clock) = (EventLog::new(database.clone()), SystemClock::shared());
    let mut account = Account::begin(rebuild, json);
    let outcome = projection
        .rebuild(log, clock, owner, rebuild, stop, &mut |step| account.note(step))
        .await;
    account.progress.end();
    let outcome = outcome?;
    if outcome == Outcome::Done {
        account.close()?;
    }
    Ok(outcome)
}

/// Output of a rebuild: progress and result.
struct Account {
    projection: String,
    generation: i64,
    json: bool,
    from: Position,
    began: Instant,
    progress: Progress,
    switched: Option<FilledGeneration>,
    cleaned: u64,
}

/// The content of the new generation when it was first served.
#[derive(Clone, Copy)]
struct FilledGeneration {
    position: Position,
    events: u64,
    took: Duration,
}

impl Account {
    fn begin(rebuild: &Rebuild, json: bool) -> Self {
        let from = rebuild.position.unwrap_or(rebuild.head);
        Self {
            projection: rebuild.projection.clone(),
            generation: rebuild.generation,
            json,
            from,
            began: Instant::now(),
            progress: Progress::start("events", from.get(), rebuild.head.get(), json),
            switched: None,
            cleaned: 0,
        }
    }

    fn note(&mut self, step: Step) {
        match step {
            Step::Filled { position, head } => self.progress.at(position.get(), head.get()),
            Step::Switched { position } => {
                let filled = FilledGeneration {
                    position,
                    events: position.since(self.from),
                    took: self.began.elapsed(),
                };
                self.switched = Some(filled);
                self.progress.end();
                if !self.json {
                    // The rebuild continues even if standard output is closed.
                    drop(self.is_served(filled));
                }
            }
            Step::Cleaned { rows } => self.cleaned = rows,
        }
    }

    /// Reports the switch immediately, because deleting the previous generation takes longer than filling
    /// this one.
    fn is_served(&self, filled: FilledGeneration) -> anyhow::Result<()> {
        output::print(&format!(
            "generation {} is served: {} events up to position {} in {:.1} s, {}/s",
            self.generation,
            filled.events,
            filled.position,
            filled.took.as_secs_f64(),
            rate(filled.events, filled.took)
        ))
    }

    /// Reports the result.
    fn close(&self) -> anyhow::Result<()> {
        if !self.json {
            return output::print(&format!(
                "done; {} rows of the previous generation were deleted",
                self.cleaned
            ));
        }
        let filled = self.switched;
        output::print_json(&json!({
            "projection": self.projection,
            "generation": self.generation,
            "state": RebuildState::Done,
            "position": filled.map(|filled| filled.position),
            "events": filled.map(|filled| filled.events),
            "seconds": filled.map(|filled| filled.took.as_secs_f64()),
            "events_per_second": filled.map(|filled| rate(filled.events, filled.took)),
            "rows_deleted": self.cleaned,
        }))
    }
}

/// Fails with an explanation for the operator, unless the rebuild is done.
async fn report_outcome(database: &Database, rebuild: &Rebuild, outcome: Outcome) -> anyhow::Result<()> {
    let generation = rebuild.generation;
    match outcome {
        Outcome::Done => Ok(()),
        Outcome::Cancelled => bail!("generation {generation} was cancelled, and its rows were deleted"),
        Outcome::Taken => bail!("another process is working on generation {generation}"),
        Outcome::Stopped => {
            let now = Rebuild::of(database, &rebuild.projection, generation, SystemClock.now()).await?;
            let position = now.and_then(|rebuild| rebuild.position);
            let place = position.map_or_else(String::new, |position| format!(" at position {position}"));
            bail!("stopped{place}; run `patients projection rebuild` again to resume")
        }
    }
}

/// Returns a rate per second.
fn rate(number: u64, time: Duration) -> u64 {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    number.saturating_mul(1_000_000) / micros
}
