//! How far a long command is: a bar on a terminal, lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::time::Instant;

/// How often a line is written.
const EVERY: Duration = Duration::from_secs(2);

pub(super) struct Progress {
    what: &'static str,
    show: Show,
    begun_at: u64,
    begun: Instant,
}

enum Show {
    Bar(ProgressBar),
    Lines { json: bool, last: Instant },
}

impl Progress {
    /// Begins at `done` of `all`.
    pub(super) fn start(what: &'static str, done: u64, all: u64, json: bool) -> Self {
        let begun = Instant::now();
        let show = if std::io::stderr().is_terminal() && !json {
            Show::Bar(bar(what, done, all))
        } else {
            Show::Lines { json, last: begun }
        };
        Self {
            what,
            show,
            begun_at: done,
            begun,
        }
    }

    /// Is at `done` of `all` now.
    pub(super) fn at(&mut self, done: u64, all: u64) {
        match &mut self.show {
            Show::Bar(bar) => {
                bar.set_length(all);
                bar.set_position(done);
            }
            Show::Lines { last, .. } if last.elapsed() < EVERY => {}
            Show::Lines { json, last } => {
                *last = Instant::now();
                let rate = rate(done.saturating_sub(self.begun_at), self.begun.elapsed());
                let left = all.saturating_sub(done).checked_div(rate).unwrap_or_default();
                let what = self.what;
                let line = if *json {
                    json!({ "done": done, "of": all, "unit": what, "per_second": rate, "eta_seconds": left })
                        .to_string()
                } else {
                    format!("{done} of {all} {what}, {rate}/s, {left} s left")
                };
                // The work goes on, whether anybody reads how far it is or not.
                let _ = writeln!(std::io::stderr().lock(), "{line}");
            }
        }
    }

    /// Is over, or interrupted: takes the bar away; how many a second there were.
    pub(super) fn end(&self) {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &str, done: u64, all: u64) -> ProgressBar {
    let bar = ProgressBar::new(all)
        .with_position(done)
        .with_message(what.to_owned());
    let template =
        ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len} {msg}, {per_sec}, {eta} left");
    if let Ok(style) = template {
        bar.set_style(style);
    }
    // So that the rate is that of this run.
    bar.reset_eta();
    bar
}

/// A number of things in a time, for each second.
pub(super) fn rate(number: u64, time: Duration) -> u64 {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    number.saturating_mul(1_000_000) / micros
}
