//! `patients mail preview`.

use std::path::Path;

use anyhow::Context;
use eventstore::{Clock, SystemClock};
use mailer::{Languages, Template};
use serde_json::json;

use super::configured::composer;
use crate::output::{self, OutputFormat};
use crate::settings::Settings;

pub(super) fn preview(
    settings: &Settings,
    template: Template,
    language: Option<&str>,
    output: Option<&Path>,
    format: OutputFormat,
) -> anyhow::Result<()> {
    let languages: Option<Languages> = language.map(str::parse).transpose().context("--language")?;
    let mail = composer(settings)?.preview(template, languages.as_ref(), SystemClock.now())?;
    if let Some(file) = output {
        std::fs::write(file, mail.content())
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    match output {
        _ if format.json => output::print_json(&json!({ "file": output, "mail": mail.content() }))?,
        Some(_) => {}
        None => output::write(mail.content().as_bytes())?,
    }
    Ok(())
}
