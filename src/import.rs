//! `patients import`: registers the patients of another service.
//!
//! A task reads batches of rows. Each row is checked with the rules of `POST /register`. The patients who
//! were imported before are found with one statement for each batch, and all others are registered through
//! the append queue, many at a time. Memory use therefore does not grow with the number of rows.
//!
//! The id of a patient is derived from the source and the old id, so an import can be killed at any moment
//! and repeated, and several processes can import the same patients.

mod csv_file;
mod fhir;
mod file;
pub(crate) mod hint;
mod importer;
mod lines;
mod options;
mod report;
mod row;
mod table;
mod turns;

use anyhow::Context;
use eventstore::{Clock, EventLog, SystemClock};
use serde_json::json;

use crate::commands::StartedCommands;
use crate::database;
use crate::exit_code::NotImported;
use crate::output::{lines, print, print_json};
use crate::settings::Settings;
use importer::{Counts, Importer};
pub(crate) use options::ImportArguments;
use options::Origin;
use report::Report;

/// Database connections of the command.
const CONNECTIONS: u32 = 8;

/// Runs the command.
pub(crate) async fn run(settings: &Settings, arguments: ImportArguments) -> anyhow::Result<()> {
    arguments.warn_of_password();
    let origin = arguments.origin()?;
    let mut report = Report::open(arguments.report.as_deref())?;
    let batches = match &origin {
        Origin::Csv(path) => file::read(csv_file::CsvRows::open(path, &arguments)?),
        Origin::Fhir(path) => file::read(fhir::FhirRows::open(path, SystemClock.now())?),
        Origin::Table(url) => table::read(url, &arguments).await?,
    };
    let database = database::open_with_keyring(settings, CONNECTIONS).await?;
    let log = EventLog::new(database.clone());
    let commands = StartedCommands::new(settings, &log);
    let importer = Importer::new(&commands, settings, &arguments);
    let outcome = importer.run(batches, &mut report).await;
    commands.shutdown().await;
    database.close().await;
    match outcome {
        Ok(counts) => {
            report.finish()?;
            show(&counts, &arguments)
        }
        Err(error) => {
            if let Err(unwritten) = report.flush() {
                tracing::warn!("{unwritten:#}");
            }
            Err(error).context("the import is incomplete: run the same command again to continue")
        }
    }
}

fn show(counts: &Counts, arguments: &ImportArguments) -> anyhow::Result<()> {
    let Counts {
        imported,
        before,
        not_imported,
    } = *counts;
    if arguments.json {
        print_json(&json!({
            "imported": imported,
            "already_imported": before,
            "not_imported": not_imported,
            "dry_run": arguments.dry_run,
        }))?;
    } else {
        let now = if arguments.dry_run {
            "would be imported"
        } else {
            "imported"
        };
        print(&lines(&[
            (now, imported.to_string()),
            ("already imported", before.to_string()),
            ("not imported", not_imported.to_string()),
        ]))?;
    }
    if not_imported > 0 {
        return Err(NotImported(not_imported).into());
    }
    Ok(())
}
