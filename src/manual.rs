//! `patients completions` and `patients man`: completions for shells, and manual pages, for packages.

use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::{self, Cli};
use crate::output;

/// Prints the completions for a shell. Settings are completed before the subcommand only: every command
/// accepts every setting, and a list in each command would make the script slow to load.
pub(crate) fn completions(shell: Shell) -> anyhow::Result<()> {
    output::write(&script(shell))
}

fn script(shell: Shell) -> Vec<u8> {
    let mut command = Cli::command().mut_args(|arg| {
        let is_setting = arg.get_env().is_some();
        arg.global(!is_setting)
    });
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
}

/// Writes a manual page for each command into a folder, which must exist.
pub(crate) fn write(folder: &Path) -> anyhow::Result<()> {
    for (name, page) in pages()? {
        let path = folder.join(name);
        std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Returns the file name and the text of each page. The page of the program lists the settings, and the
/// pages of the subcommands do not.
fn pages() -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let about = "registers patients in an event-sourced log";
    let program = Cli::command()
        .about(about)
        .long_about(Cli::command().get_about().cloned().unwrap_or_default())
        .after_help(None)
        // The usage would repeat every setting.
        .override_usage("patients [OPTIONS] [COMMAND]")
        .disable_help_subcommand(true);
    let mut pages = vec![page(program)?];
    let mut command = cli::parser().disable_help_subcommand(true);
    command.build();
    let mut waiting: Vec<_> = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
        .collect();
    while let Some(command) = waiting.pop() {
        pages.push(page(command.clone())?);
        waiting.extend(command.get_subcommands());
    }
    Ok(pages)
}

fn page(command: clap::Command) -> anyhow::Result<(String, Vec<u8>)> {
    let version = concat!("patients ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command).source(version).manual("Patient registration");
    let mut text = Vec::new();
    man.render(&mut text)?;
    Ok((man.get_filename(), text))
}

#[cfg(test)]
mod tests;
