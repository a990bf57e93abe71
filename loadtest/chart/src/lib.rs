//! Line charts as SVG, with colors for light and dark pages.

use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 120.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 28.0;

/// Smallest distance between the names of two lines, in pixels.
const NAME_HEIGHT: f64 = 15.0;

/// Styles of a chart, for the page that shows it. The page may set its own fonts.
pub const STYLE: &str = "
:root { color-scheme: light dark; --ink: light-dark(#1d2430, #e4e8ef); --soft: light-dark(#5b6675, #9aa5b4);
  --rule: light-dark(#d9dee6, #333c49); --a: light-dark(#1f6feb, #6cb0ff); --b: light-dark(#9a5b00, #f0a640);
  --c: light-dark(#b3261e, #ff8a80); --d: light-dark(#6b7685, #8b96a5); }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 12px; }
.grid { stroke: var(--rule); } polyline { fill: none; stroke-width: 2; }
polyline.a { stroke: var(--a); } polyline.b { stroke: var(--b); } polyline.c { stroke: var(--c); } polyline.d { stroke: var(--d); }
svg text.a { fill: var(--a); } svg text.b { fill: var(--b); } svg text.c { fill: var(--c); } svg text.d { fill: var(--d); }
";

/// How values are placed on the vertical axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From 0.
    Linear,
    /// In powers of ten.
    Logarithmic,
}

/// A line.
#[derive(Debug, Clone)]
pub struct Line {
    /// Name, shown at the end of the line.
    pub name: &'static str,
    /// CSS class, which sets the color: `a`, `b`, `c` or `d`.
    pub class: &'static str,
    /// Points, from left to right. The line has a gap where a point is missing.
    pub points: Vec<Option<(f64, f64)>>,
}

/// A chart. Both axes begin at 0, except the vertical axis of [`Scale::Logarithmic`].
#[derive(Debug, Clone)]
pub struct Chart {
    /// Description for screen readers.
    pub title: &'static str,
    /// Vertical axis.
    pub scale: Scale,
    /// End of the horizontal axis.
    pub width: f64,
    /// Unit of the horizontal axis.
    pub unit: &'static str,
    /// Lines.
    pub lines: Vec<Line>,
}

impl Chart {
    /// Returns the chart as an element for a page with [`STYLE`].
    #[must_use]
    pub fn svg(&self) -> String {
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            self.title
        );
        self.draw(&mut svg);
        svg
    }

    /// Returns the chart as a file.
    #[must_use]
    pub fn file(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" role=\"img\" \
             aria-label=\"{}\">\n<style>{STYLE}</style>\n",
            self.title
        );
        self.draw(&mut svg);
        svg
    }

    fn draw(&self, svg: &mut String) {
        let axis = self.axis();
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
        for mark in steps(self.width, 6) {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{mark} {}</text>",
                self.x(mark),
                HEIGHT - 6.0,
                self.unit,
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
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * value / self.width.max(f64::MIN_POSITIVE)
    }

    /// Returns the points of each part of a line without a gap.
    fn parts(&self, line: &Line, axis: &Axis) -> Vec<String> {
        let mut parts = vec![String::new()];
        for point in &line.points {
            if let (Some((x, y)), Some(part)) = (point, parts.last_mut()) {
                let x = self.x(x.min(self.width));
                let _ = write!(part, "{x:.1},{:.1} ", axis.y(*y));
            } else {
                parts.push(String::new());
            }
        }
        parts.retain(|part| !part.is_empty());
        parts
    }

    /// Returns the lines with the vertical positions of their names, which do not overlap.
    fn names(&self, axis: &Axis) -> Vec<(&Line, f64)> {
        let mut names: Vec<_> = self
            .lines
            .iter()
            .filter_map(|line| Some((line, axis.y(line.points.iter().flatten().next_back()?.1))))
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
                .flat_map(|line| line.points.iter().flatten().map(|(_, y)| *y))
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
