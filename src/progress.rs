//! Progress of long commands on standard error: a bar on a terminal, lines elsewhere.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanFloatCount, ProgressBar, ProgressState, ProgressStyle};
use serde_json::json;

/// Interval between lines.
const EVERY: Duration = Duration::from_secs(2);

/// The progress of one command.
pub(crate) struct Progress {
    unit: &'static str,
    shown: Shown,
}

enum Shown {
    Bar(ProgressBar),
    Lines {
        json: bool,
        done_before: u64,
        begun: Instant,
        last: Instant,
    },
}

impl Progress {
    /// Starts at `done` of `all`.
    pub(crate) fn start(unit: &'static str, done: u64, all: u64, json: bool) -> Self {
        let begun = Instant::now();
        let shown = if !json && shows_bars() {
            Shown::Bar(bar(unit, done, all))
        } else {
            Shown::Lines {
                json,
                done_before: done,
                begun,
                last: begun,
            }
        };
        Self { unit, shown }
    }

    /// Updates the progress to `done` of `all`.
    pub(crate) fn at(&mut self, done: u64, all: u64) {
        let unit = self.unit;
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_length(all);
                bar.set_position(done);
            }
            Shown::Lines {
                json,
                done_before,
                begun,
                last,
            } if last.elapsed() >= EVERY => {
                *last = Instant::now();
                let rate = per_second(done.saturating_sub(*done_before), begun.elapsed());
                let left = all.saturating_sub(done).checked_div(rate).unwrap_or_default();
                let line = if *json {
                    json!({"done": done, "of": all, "unit": unit, "per_second": rate, "eta_seconds": left})
                        .to_string()
                } else {
                    format!("{done} of {all} {unit}, {rate}/s, {left} s left")
                };
                // The command continues even if standard error is closed.
                drop(writeln!(std::io::stderr().lock(), "{line}"));
            }
            Shown::Lines { .. } => {}
        }
    }

    /// Removes the bar.
    pub(crate) fn end(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

fn bar(unit: &'static str, done: u64, all: u64) -> ProgressBar {
    let bar = ProgressBar::new(all).with_position(done).with_message(unit);
    let template = "{wide_bar} {human_pos} of {human_len} {msg}, {rate}/s, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(
            style.with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
                // A formatting error is ignored: the next redraw corrects it.
                let _ = write!(out, "{}", whole(state.per_sec()));
            }),
        );
    }
    // The rate must cover this run only.
    bar.reset_eta();
    bar
}

/// Whether standard error is a terminal that can draw a bar.
fn shows_bars() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Formats a rate without a fraction, with thousands separators.
fn whole(rate: f64) -> HumanFloatCount {
    HumanFloatCount(rate.round())
}

fn per_second(number: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    number.saturating_mul(1000) / millis
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_no_fraction() {
        for (rate, shown) in [(2551.1306, "2,551"), (0.4, "0"), (999_999.7, "1,000,000")] {
            assert_eq!(whole(rate).to_string(), shown);
        }
    }
}
