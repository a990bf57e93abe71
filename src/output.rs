//! Output of commands on standard output, and formatting of errors.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

/// Standard output cannot be written to.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}")]
struct NotPrinted(#[source] std::io::Error);

/// Output format of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub(crate) struct OutputFormat {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints a value as JSON on one line.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string(value)?)
}

/// Prints a value as indented JSON.
pub(crate) fn print_pretty_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string_pretty(value)?)
}

/// Prints a text. The output ends with exactly one line break, regardless of how many the text ends with.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let text = text.trim_end_matches('\n');
    write(format!("{text}\n").as_bytes())
}

/// Writes bytes unchanged. A closed pipe is not an error: the reader needs no more output.
pub(crate) fn write(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written.map_err(NotPrinted)?),
    }
}

/// Formats names and values in two columns.
pub(crate) fn lines(values: &[(&str, String)]) -> String {
    let width = values.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = values
        .iter()
        .map(|(name, value)| format!("{name:<width$}  {value}"))
        .collect();
    lines.join("\n")
}

/// Formats a duration in its two largest units, such as `3days 4h`, to fit a column.
pub(crate) fn short(duration: Duration) -> String {
    let text = humantime::format_duration(duration).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Formats an error and its causes on one line. Many errors end with the text of their cause, which is not
/// repeated.
pub(crate) fn causes(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use eventstore::{Database, DatabaseOptions};

    use super::*;

    #[tokio::test]
    async fn every_cause_appears_once() {
        // Nothing listens on port 1.
        let error = Database::connect("mysql://127.0.0.1:1/name", DatabaseOptions::default())
            .await
            .context("mysql://host/name cannot be opened")
            .unwrap_err();
        assert_eq!(
            causes(&error),
            "mysql://host/name cannot be opened: database: error communicating with database: \
             Connection refused (os error 111)"
        );
        let error = anyhow::anyhow!("c").context("b").context("a");
        assert_eq!(causes(&error), "a: b: c");
    }
}
