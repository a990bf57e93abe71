//! `patients openapi`: the API's description.

use crate::output;

/// Prints it.
pub(crate) fn print() -> anyhow::Result<()> {
    output::print(&api::openapi().to_pretty_json()?)
}
