//! The report: one HTML page that needs nothing from elsewhere.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::time::Duration;

use chart::{Chart, Line, Scale};

use crate::mix::{Mix, Operation};
use crate::record::{Interval, Results, Totals, milliseconds};

/// What the report is about.
pub(crate) struct Subject<'a> {
    pub(crate) target: &'a str,
    pub(crate) rate: u32,
    pub(crate) mix: &'a Mix,
    pub(crate) results: &'a Results,
    /// Descriptions of the missed thresholds.
    pub(crate) missed: &'a [String],
}

const STYLE: &str = "
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: light-dark(#fff, #12161c);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child { text-align: left; } th { color: var(--soft); font-weight: 500; }
.good { color: light-dark(#17692f, #6fd58d); } .bad { color: var(--c); }
";

/// Returns the page.
pub(crate) fn page(subject: &Subject<'_>) -> String {
    let results = subject.results;
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Load test of {target}</title>\
         <style>{}{STYLE}</style></head><body>\n<h1>Load test of {target}</h1>\n\
         <p>{rate} requests per second for {duration}, in the mix {mix}. \
         {good:.1} requests per second were successful, and {failed} of {requests} have failed.</p>\n",
        chart::STYLE,
        target = escaped(subject.target),
        rate = subject.rate,
        duration = humantime::format_duration(results.duration),
        mix = subject.mix,
        good = results.rate(),
        failed = results.all.failed(),
        requests = results.all.requests(),
    );
    if subject.missed.is_empty() {
        page.push_str("<p class=\"good\">Every threshold was met.</p>\n");
    } else {
        page.push_str("<ul class=\"bad\">\n");
        for missed in subject.missed {
            let _ = writeln!(page, "<li>Missed: {}</li>", escaped(missed));
        }
        page.push_str("</ul>\n");
    }
    page.push_str("<h2>Latency over time, in milliseconds</h2>\n");
    page.push_str(&latencies(results));
    page.push_str("<h2>Requests per second</h2>\n");
    page.push_str(&rates(results));
    page.push_str(&table(results));
    let _ = write!(
        page,
        "<p>A latency begins at the scheduled time of the request, also if the request was sent later because \
         the load generator or the server was slow. The load generator sent 99% of the requests within {delay} \
         ms of their scheduled time. If this figure is not small compared with the latencies, use a faster \
         machine or a lower rate.</p>\n</body></html>\n",
        delay = milliseconds(results.delays.percentile(99.0)),
    );
    page
}

fn latencies(results: &Results) -> String {
    let line = |name, class, percent| Line {
        name,
        class,
        points: middles(results)
            .zip(&results.intervals)
            .map(|(x, interval)| {
                let latency = interval.latencies.percentile(percent)?;
                Some((x, latency.as_secs_f64() * 1000.0))
            })
            .collect(),
    };
    Chart {
        title: "Percentiles of the latency over time",
        scale: Scale::Logarithmic,
        width: results.duration.as_secs_f64(),
        unit: "s",
        lines: vec![
            line("p50", "a", 50.0),
            line("p95", "b", 95.0),
            line("p99", "c", 99.0),
            line("max", "d", 100.0),
        ],
    }
    .svg()
}

/// Returns the middle of each interval, in seconds since the start.
fn middles(results: &Results) -> impl Iterator<Item = f64> {
    let interval = results.interval.as_secs_f64();
    std::iter::successors(Some(interval / 2.0), move |middle| Some(middle + interval))
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn rates(results: &Results) -> String {
    let last = results.intervals.len().saturating_sub(1);
    let seconds = |index: usize| {
        let before = results.interval * u32::try_from(index).unwrap_or(u32::MAX);
        let whole = results.duration.saturating_sub(before);
        let length = if index == last { whole } else { results.interval };
        length.max(Duration::from_millis(1)).as_secs_f64()
    };
    let line = |name, class, count: fn(&Interval) -> u64| Line {
        name,
        class,
        points: middles(results)
            .zip(results.intervals.iter().enumerate())
            .map(|(x, (n, interval))| Some((x, count(interval) as f64 / seconds(n))))
            .collect(),
    };
    Chart {
        title: "Successful and failed requests per second over time",
        scale: Scale::Linear,
        width: results.duration.as_secs_f64(),
        unit: "s",
        lines: vec![
            line("successful", "a", |interval| interval.latencies.count()),
            line("failed", "c", |interval| interval.failed),
        ],
    }
    .svg()
}

fn table(results: &Results) -> String {
    let mut table = String::from(
        "<h2>All requests</h2>\n<div class=\"scroll\"><table><tr><th>Operation</th><th>Requests</th>\
         <th>Failed</th><th>p50 (ms)</th><th>p95</th><th>p99</th><th>p99.9</th><th>max</th></tr>\n",
    );
    let rows = Operation::ALL.iter().map(|operation| operation.name());
    let rows = rows.zip(&results.operations).chain([("all", &results.all)]);
    for (name, totals) in rows.filter(|(_, totals)| totals.requests() > 0) {
        table.push_str(&row(name, totals));
    }
    table.push_str("</table></div>\n");
    if !results.all.failures.is_empty() {
        table.push_str("<h2>Failed requests</h2>\n<ul>\n");
        for (failure, count) in &results.all.failures {
            let _ = writeln!(table, "<li>{count} × {failure}</li>");
        }
        table.push_str("</ul>\n");
    }
    table
}

fn row(name: &str, totals: &Totals) -> String {
    let mut row = format!(
        "<tr><td>{name}</td><td>{}</td><td>{}</td>",
        totals.requests(),
        totals.failed()
    );
    for percent in [50.0, 95.0, 99.0, 99.9, 100.0] {
        let _ = write!(
            row,
            "<td>{}</td>",
            milliseconds(totals.latencies.percentile(percent))
        );
    }
    row.push_str("</tr>\n");
    row
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
