//! The command line.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use crate::access::TokenCommand;
use crate::audit::AuditCommand;
use crate::claims::ClaimsCommand;
use crate::dotenv::{self, DotenvEntry};
use crate::erase::EraseArguments;
use crate::export::ExportArguments;
use crate::health::CheckedRole;
use crate::hold::{HoldArguments, ReleaseArguments};
use crate::import::ImportArguments;
use crate::keys::KeysCommand;
use crate::log::LogCommand;
use crate::mail::MailCommand;
use crate::output::OutputFormat;
use crate::projection::ProjectionCommand;
use crate::retention::RetentionCommand;
use crate::settings::{self, Settings};
use crate::witness::WitnessCommand;

/// The command line, with the settings.
#[derive(Debug, Parser)]
#[command(
    name = "patients",
    about = "Event-sourced patient registration. Without a command, patients runs all roles\n\
             in one process, with an SQLite database, and writes mail to files.",
    version,
    term_width = 80,
    after_help = "Settings are flags, environment variables, or lines of .env in the working\n\
                  directory. List them with: patients settings"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Maximum time that a command tries to reach the database; 0 tries once
    #[arg(long, global = true, value_name = "DURATION", default_value = "10s", value_parser = settings::wait)]
    wait: Duration,
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Warnings for the user.
    #[arg(skip)]
    warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    /// Migrate the schema, and run every role in one process (default)
    Serve,
    /// Run the HTTP API only
    Api,
    /// Run the projector only: it maintains the read tables
    Projector,
    /// Run the mailer only: it sends the confirmation emails
    Mailer,
    /// Create the database if it does not exist, and migrate its schema
    Migrate {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Create access tokens for the API
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Check the health of a role: exit code 0 if healthy, 1 if not
    Health {
        /// Role to check: the API over HTTP, the others through the database
        #[arg(long, value_enum, default_value_t = CheckedRole::Api)]
        role: CheckedRole,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check that the configuration is ready for production
    Check {
        #[command(flatten)]
        format: OutputFormat,
    },
    /// Show, export, verify and prove the contents of the log
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Verify and rebuild the email claims
    Claims {
        #[command(subcommand)]
        command: ClaimsCommand,
    },
    /// Erase the personal data of a patient
    Erase(EraseArguments),
    /// Protect a patient from erasure
    Hold(HoldArguments),
    /// Release the hold of a patient
    Release(ReleaseArguments),
    /// Show how long deleted patients are kept
    Retention {
        #[command(subcommand)]
        command: RetentionCommand,
    },
    /// Show and upgrade the format of the log
    Log {
        #[command(subcommand)]
        command: LogCommand,
    },
    /// Create and change the keyring
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Show, rebuild and verify the read tables
    Projection {
        #[command(subcommand)]
        command: ProjectionCommand,
    },
    /// Cosign the checkpoints of other logs
    Witness {
        #[command(subcommand)]
        command: WitnessCommand,
    },
    /// Register the patients of another service
    Import(Box<ImportArguments>),
    /// Write the active patients in a format for other systems
    Export(ExportArguments),
    /// Print the OpenAPI 3.1 description of the API
    Openapi,
    /// Show, retry, preview and test mail
    Mail {
        #[command(subcommand)]
        command: MailCommand,
    },
    /// List every setting: variable, flag, default and description
    Settings {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the completions for a shell
    Completions {
        /// Shell for which to print the completions
        shell: Shell,
    },
    /// Write the manual pages, for packages
    #[command(hide = true)]
    Man {
        /// Existing folder to write the pages to
        folder: PathBuf,
    },
}

impl Command {
    /// Whether the command runs until it receives a stop signal.
    pub(crate) const fn is_role(&self) -> bool {
        matches!(self, Self::Serve | Self::Api | Self::Projector | Self::Mailer)
    }
}

impl Cli {
    /// Reads `.env`, the command line and the environment. On an error, prints the problem and the expected
    /// value, and exits with code 2.
    pub(crate) fn read() -> Self {
        let dotenv = dotenv::load(Path::new(".env"));
        let parsed = parser().try_get_matches().and_then(|matches| {
            let cli = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut parser()))?;
            Ok((cli, matches))
        });
        if let Err(error) = &parsed
            && !error.use_stderr()
        {
            error.exit();
        }
        let dotenv = dotenv.unwrap_or_else(|error| refuse(error));
        let (mut cli, matches) = match parsed {
            Ok(parsed) => parsed,
            Err(error) if error.kind() == ErrorKind::InvalidUtf8 => refuse(not_utf8()),
            Err(error) => with_line(error, &dotenv).exit(),
        };
        if let Err(message) = cli.settings.check() {
            let lines = lines(&dotenv, &message, |name| {
                let setting = matches.ids().find(|id| id.as_str() == name.to_lowercase());
                setting.and_then(|id| matches.value_source(id.as_str())) == Some(ValueSource::EnvVariable)
            });
            let lines: Vec<_> = lines.iter().map(|line| format!("\n{line}")).collect();
            refuse(format!("{message}{}", lines.concat()));
        }
        if let Some(Command::Import(arguments)) = &cli.command
            && let Err(error) = arguments.check()
        {
            refuse(error);
        }
        let is_role = cli.command.as_ref().is_none_or(Command::is_role);
        if is_role && matches.value_source("wait") == Some(ValueSource::CommandLine) {
            refuse("--wait applies to commands only; a role waits for its database until it is stopped");
        }
        cli.settings.wait = cli.wait;
        let passwords = passwords_in_flags(&matches).into_iter().map(|flag| {
            let setting = flag.to_uppercase().replace('-', "_");
            format!(
                "every local user can read the password in --{flag}: set {setting} in the environment or in .env instead, \
                 and change the password"
            )
        });
        let environment = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        cli.warnings = passwords.chain(misspelt(&dotenv, environment)).collect();
        cli
    }

    /// Logs the warnings.
    pub(crate) fn warn(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }
}

/// Returns the command-line parser. Its help omits the settings, and empty variables count as not set.
pub(crate) fn parser() -> clap::Command {
    Cli::command().mut_args(|arg| match arg.get_env().map(std::env::var_os) {
        Some(Some(value)) if value.is_empty() => arg.env(None::<&'static str>).hide(true),
        Some(_) => arg.hide(true),
        None => arg,
    })
}

/// Prints an error and exits with code 2.
fn refuse(message: impl std::fmt::Display) -> ! {
    parser().error(ErrorKind::ValueValidation, message).exit()
}

/// Adds the line of `.env` that contains the rejected value, if any.
fn with_line(mut error: clap::Error, dotenv: &[DotenvEntry]) -> clap::Error {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let (argument, value) = (
        context(ContextKind::InvalidArg),
        context(ContextKind::InvalidValue),
    );
    let is_rejected = |name: &str| std::env::var(name).is_ok_and(|set| set == value);
    let lines = lines(dotenv, &argument, is_rejected);
    if !lines.is_empty() {
        let lines = lines.into_iter().map(Into::into).collect();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(lines));
    }
    error
}

/// Returns the lines of `.env` that set the variables in `text`, except variables whose value does not come
/// from `.env`.
fn lines(dotenv: &[DotenvEntry], text: &str, is_used: impl Fn(&str) -> bool) -> Vec<String> {
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let set = dotenv.iter().filter(|entry| entry.is_effective);
    set.filter(|entry| words.contains(&entry.name.as_str()) && is_used(&entry.name))
        .map(|DotenvEntry { line, name, .. }| format!(".env, line {line}, sets {name}"))
        .collect()
}

/// Names the variable or argument that is not UTF-8. The value is omitted because it may be a password.
fn not_utf8() -> String {
    let is_wrong = |value: &OsStr| value.to_str().is_none();
    let arguments = settings::arguments();
    let mut variables = arguments.iter().filter_map(Arg::get_env);
    if let Some(name) = variables.find(|name| std::env::var_os(name).is_some_and(|value| is_wrong(&value))) {
        return format!("the value of {} is not UTF-8", name.to_string_lossy());
    }
    let argument = std::env::args_os().position(|argument| is_wrong(&argument));
    format!("argument {} is not UTF-8", argument.unwrap_or_default())
}

/// Returns warnings about names, in `.env` and in the environment, that resemble settings. In the
/// environment, only likely typos are reported, because other programs set variables too.
fn misspelt(dotenv: &[DotenvEntry], environment: impl Iterator<Item = String>) -> Vec<String> {
    let settings = settings::variables();
    let in_file = |name: &str| dotenv.iter().any(|entry| entry.name == name);
    let mut warnings: Vec<String> = Vec::new();
    for (index, DotenvEntry { line, name, .. }) in dotenv.iter().enumerate() {
        if let Some(meant) = settings::close(name, &settings) {
            warnings.push(format!(
                ".env, line {line}: {name} is not a setting; did you mean {meant}?"
            ));
        } else if settings::looks_like_a_setting(name, &settings) {
            warnings.push(format!(
                ".env, line {line}: {name} is not a setting; `patients settings` lists them"
            ));
        }
        if let Some(first) = dotenv[..index].iter().find(|entry| entry.name == *name) {
            warnings.push(format!(
                ".env, line {line}: {name} is ignored, because line {} sets it",
                first.line
            ));
        }
    }
    let mut elsewhere: Vec<String> = environment
        .filter(|name| !in_file(name))
        .filter_map(|name| {
            let meant = settings::close(&name, &settings)?;
            Some(format!(
                "the variable {name} is not a setting; did you mean {meant}?"
            ))
        })
        .collect();
    elsewhere.sort();
    warnings.extend(elsewhere);
    warnings
}

/// Returns the flags, without dashes, whose value contains a password.
fn passwords_in_flags(matches: &ArgMatches) -> Vec<String> {
    [
        "database_url",
        "keys_database_url",
        "redis_url",
        "smtp_url",
        "otel_exporter_otlp_endpoint",
    ]
    .into_iter()
    .filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine))
    .filter(|id| matches.get_one::<String>(id).is_some_and(|url| has_password(url)))
    .map(|id| id.replace('_', "-"))
    .collect()
}

pub(crate) fn has_password(url: &str) -> bool {
    url.split_once("://")
        .and_then(|(_, rest)| rest.rsplit_once('@'))
        .and_then(|(user, _)| user.split_once(':'))
        .is_some_and(|(_, password)| !password.is_empty())
}

#[cfg(test)]
mod tests;
