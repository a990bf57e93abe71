//! `patients openapi`: the OpenAPI description of the API.

use crate::output;

/// Prints the description.
pub(crate) fn print() -> anyhow::Result<()> {
    output::print(&api::openapi().to_pretty_json()?)
}
