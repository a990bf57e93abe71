//! `patients mail preview`.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use eventstore::{Clock, SystemClock};
use mailer::{Languages, Template};

use super::composer;
use crate::settings::Settings;

pub(super) fn preview(
    settings: &Settings,
    template: Template,
    language: Option<&str>,
    output: Option<&Path>,
) -> anyhow::Result<()> {
    let languages: Option<Languages> = language.map(str::parse).transpose().context("--language")?;
    let mail = composer(settings)?.preview(template, languages.as_ref(), SystemClock.now())?;
    match output {
        Some(file) => std::fs::write(file, mail.content())
            .with_context(|| format!("{} cannot be written", file.display()))?,
        None => std::io::stdout().lock().write_all(mail.content().as_bytes())?,
    }
    Ok(())
}
