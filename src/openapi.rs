//! `patients openapi`: the API's description.

use std::io::Write;

/// Prints it.
pub(crate) fn print() -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{}", api::openapi().to_pretty_json()?)?;
    Ok(())
}
