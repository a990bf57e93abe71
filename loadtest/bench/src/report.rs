//! The table and the JSON file.

use serde::Serialize;

use crate::stats::Stats;

/// A line of the table: a measurement and its yardstick.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    pub(crate) what: String,
    /// The result of the program.
    pub(crate) ours: f64,
    pub(crate) unit: &'static str,
    /// The yardstick and its result.
    pub(crate) yardstick: Option<(String, f64)>,
    /// The goal, as a ratio to the yardstick or as a value.
    pub(crate) goal: Option<Goal>,
    /// The median run, if the measurement consists of requests.
    pub(crate) stats: Option<Stats>,
    /// Additional figures.
    pub(crate) notes: String,
}

/// A goal.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) enum Goal {
    RatioAtLeast(f64),
    RatioAtMost(f64),
    AtMost(f64),
    AtLeast(f64),
}

impl Line {
    fn ratio(&self) -> Option<f64> {
        self.yardstick
            .as_ref()
            .map(|(_, yardstick)| self.ours / yardstick)
    }

    fn reached(&self) -> Option<bool> {
        Some(match self.goal? {
            Goal::RatioAtLeast(goal) => self.ratio()? >= goal,
            Goal::RatioAtMost(goal) => self.ratio()? <= goal,
            Goal::AtMost(goal) => self.ours <= goal,
            Goal::AtLeast(goal) => self.ours >= goal,
        })
    }
}

/// All lines so far. Each line is printed immediately.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) server: String,
    pub(crate) lines: Vec<Line>,
}

impl Report {
    pub(crate) fn begin(machine: String, server: String) -> Self {
        println!("{machine}; {server}\n");
        println!("| measurement | result | yardstick | ratio | goal | reached | details |");
        println!("|---|---|---|---|---|---|---|");
        Self {
            machine,
            server,
            lines: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, line: Line) {
        let yardstick = line
            .yardstick
            .as_ref()
            .map(|(name, value)| format!("{name}: {}", figure(*value)))
            .unwrap_or_default();
        let ratio = line
            .ratio()
            .map(|ratio| format!("{ratio:.2}"))
            .unwrap_or_default();
        let goal = match line.goal {
            Some(Goal::RatioAtLeast(goal)) => format!("≥ {goal} ×"),
            Some(Goal::RatioAtMost(goal)) => format!("≤ {goal} ×"),
            Some(Goal::AtMost(goal)) => format!("≤ {}", figure(goal)),
            Some(Goal::AtLeast(goal)) => format!("≥ {}", figure(goal)),
            None => String::new(),
        };
        let reached = line
            .reached()
            .map_or("", |reached| if reached { "✓" } else { "✗" });
        println!(
            "| {} | {} {} | {yardstick} | {ratio} | {goal} | {reached} | {} |",
            line.what,
            figure(line.ours),
            line.unit,
            line.notes
        );
        self.lines.push(line);
    }
}

fn figure(value: f64) -> String {
    if value >= 1000.0 {
        let whole = format!("{value:.0}");
        let (head, tail) = whole.split_at(whole.len() - 3);
        if head.len() > 3 {
            let (head, middle) = head.split_at(head.len() - 3);
            return format!("{head},{middle},{tail}");
        }
        format!("{head},{tail}")
    } else if value >= 10.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}
