//! `patients projection status`.

use std::time::Duration;

use eventstore::{
    Clock, Database, Followed, ProjectionStatus, Skip, SubscriptionFailure, SystemClock, overview,
};

use crate::output;

pub(super) async fn run(database: &Database, json: bool) -> anyhow::Result<()> {
    let all = overview(database, SystemClock.now()).await?;
    if json {
        return output::print_json(&serde_json::json!({ "subscriptions": all }));
    }
    output::print(&table(&all).join("\n"))
}

fn table(all: &[Followed]) -> Vec<String> {
    let mut lines = vec![format!(
        "{:<16} {:>14} {:>14} {:>12} {:>12}",
        "subscription", "position", "head", "lag", "waits"
    )];
    for followed in all {
        let waits = Duration::from_secs_f64(followed.lag_seconds.round());
        lines.push(format!(
            "{:<16} {:>14} {:>14} {:>12} {:>12}",
            followed.name,
            followed.position,
            followed.head,
            followed.lag_events,
            output::short(waits),
        ));
        lines.push(format!(
            "  owner: {}",
            followed.owner.as_deref().unwrap_or("none")
        ));
        lines.extend(
            followed
                .failure
                .iter()
                .flat_map(|failure| about_failure("  ", failure)),
        );
        lines.extend(
            followed
                .damage
                .iter()
                .map(|damage| format!("  damaged: {damage}")),
        );
        lines.extend(followed.projection.iter().flat_map(about_projection));
    }
    lines
}

fn about_failure(indent: &str, failure: &SubscriptionFailure) -> [String; 3] {
    let place = failure.position.map_or_else(
        || "failing".to_owned(),
        |position| format!("stopped at position {position}"),
    );
    let SubscriptionFailure {
        since,
        attempts,
        retry_at,
        error,
        ..
    } = failure;
    [
        format!("{indent}{place} since {since}"),
        format!("{indent}  attempts: {attempts}; next at {retry_at}"),
        format!("{indent}  {error}"),
    ]
}

fn about_projection(projection: &ProjectionStatus) -> Vec<String> {
    let mut lines = vec![format!("  generation {} is served", projection.active_generation)];
    if let Some(rebuild) = &projection.rebuild {
        let place = rebuild.position.map_or_else(String::new, |position| {
            format!(" at position {position} of {}", rebuild.head)
        });
        lines.push(format!(
            "  rebuild: generation {}, {}{place}",
            rebuild.generation,
            rebuild.state.name(),
        ));
        lines.push(format!(
            "    owner: {}",
            rebuild.owner.as_deref().unwrap_or("none")
        ));
        lines.extend(
            rebuild
                .failure
                .iter()
                .flat_map(|failure| about_failure("    ", failure)),
        );
    }
    lines.extend(projection.skips.iter().map(|skip| {
        let Skip {
            position,
            reason,
            skipped_by,
            skipped_at,
        } = skip;
        format!("  skips position {position}: {reason}\n    by {skipped_by}, {skipped_at}")
    }));
    lines
}
