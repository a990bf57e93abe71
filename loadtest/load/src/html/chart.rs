//! Line charts over time, as SVG.

use std::fmt::Write as _;
use std::time::Duration;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 28.0;

/// Smallest distance between the names of two lines, in pixels.
const NAME_HEIGHT: f64 = 15.0;

/// How values are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// From 0.
    Linear,
    /// In powers of ten.
    Logarithmic,
}

/// A line, with one value for each interval. Without a value, the line has a gap.
pub(super) struct Line {
    pub(super) name: &'static str,
    /// CSS class, which sets the color.
    pub(super) class: &'static str,
    pub(super) values: Vec<Option<f64>>,
}

/// A chart. The horizontal axis is the time since the start of the measurement.
pub(super) struct Chart {
    /// Description for screen readers.
    pub(super) title: &'static str,
    pub(super) scale: Scale,
    pub(super) length: Duration,
    pub(super) interval: Duration,
    pub(super) lines: Vec<Line>,
}

impl Chart {
    pub(super) fn svg(&self) -> String {
        let axis = self.axis();
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            self.title
        );
        for mark in &axis.marks {
            let y = axis.y(*mark);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{mark}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                y + 4.0,
            );
        }
        for seconds in steps(self.length.as_secs_f64(), 6) {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{seconds} s</text>",
                self.x(seconds),
                HEIGHT - 6.0,
            );
        }
        for line in &self.lines {
            for part in self.parts(line, &axis) {
                let _ = writeln!(svg, "<polyline class=\"{}\" points=\"{part}\"/>", line.class);
            }
        }
        for (line, y) in self.names(&axis) {
            let _ = writeln!(
                svg,
                "<text class=\"{}\" x=\"{}\" y=\"{:.1}\">{}</text>",
                line.class,
                WIDTH - RIGHT + 8.0,
                y + 4.0,
                line.name,
            );
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * seconds / self.length.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Returns the points of each part of a line without a gap. Each value is at the middle of its interval.
    fn parts(&self, line: &Line, axis: &Axis) -> Vec<String> {
        let mut parts = vec![String::new()];
        let mut middle = self.interval.as_secs_f64() / 2.0;
        for value in &line.values {
            if let (Some(value), Some(part)) = (value, parts.last_mut()) {
                let x = self.x(middle.min(self.length.as_secs_f64()));
                let _ = write!(part, "{x:.1},{:.1} ", axis.y(*value));
            } else {
                parts.push(String::new());
            }
            middle += self.interval.as_secs_f64();
        }
        parts.retain(|part| !part.is_empty());
        parts
    }

    /// Returns the lines with the heights of their names, which do not overlap.
    fn names(&self, axis: &Axis) -> Vec<(&Line, f64)> {
        let mut names: Vec<_> = self
            .lines
            .iter()
            .filter_map(|line| Some((line, axis.y(*line.values.iter().flatten().next_back()?))))
            .collect();
        names.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut above = f64::INFINITY;
        for (_, y) in &mut names {
            *y = y.min(above - NAME_HEIGHT);
            above = *y;
        }
        names
    }

    fn axis(&self) -> Axis {
        let values = || {
            self.lines
                .iter()
                .flat_map(|line| line.values.iter().flatten().copied())
        };
        let highest = values().fold(f64::MIN_POSITIVE, f64::max);
        match self.scale {
            Scale::Linear => {
                let marks = steps(highest * 1.05, 5);
                Axis {
                    scale: self.scale,
                    low: 0.0,
                    high: highest * 1.05,
                    marks,
                }
            }
            Scale::Logarithmic => {
                let lowest = values().fold(highest, f64::min).max(0.001);
                let (low, high) = (lowest.log10().floor(), highest.log10().ceil());
                let high = if high > low { high } else { low + 1.0 };
                let mut marks = Vec::new();
                let mut power = low;
                while power <= high {
                    marks.push(10.0_f64.powf(power));
                    power += 1.0;
                }
                Axis {
                    scale: self.scale,
                    low,
                    high,
                    marks,
                }
            }
        }
    }
}

struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    marks: Vec<f64>,
}

impl Axis {
    fn y(&self, value: f64) -> f64 {
        let value = match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.max(0.001).log10(),
        };
        TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - (value - self.low) / (self.high - self.low))
    }
}

/// Returns about `count` round numbers from 0 to `end`.
fn steps(end: f64, count: u32) -> Vec<f64> {
    let rough = end.max(f64::MIN_POSITIVE) / f64::from(count);
    let power = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough)
        .unwrap_or(10.0 * power);
    let mut steps = Vec::new();
    let mut number = 0_u32;
    while f64::from(number) * step <= end && number <= 2 * count {
        // Rounds away the error of the multiplication, such as in 0.30000000000000004.
        steps.push((f64::from(number) * step * 1e6).round() / 1e6);
        number += 1;
    }
    steps
}
