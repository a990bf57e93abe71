//! The command line.

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::access::TokenCommand;
use crate::audit::AuditCommand;
use crate::health::Role;
use crate::mail::MailCommand;
use crate::projection::ProjectionCommand;
use crate::settings::Settings;

/// Event-sourced patient registration.
///
/// Without a command it serves: the API, the projector and the mailer in one process, on SQLite, with mail into files.
/// Every setting is a flag and an environment variable; a file .env in the working directory is read first.
#[derive(Debug, Parser)]
#[command(name = "patients", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    /// Run every role in one process, after bringing the schema up to date (the default)
    Serve,
    /// Run the HTTP API only
    Api,
    /// Run the projector only: it keeps the read table
    Projector,
    /// Run the mailer only: it sends the confirmation emails
    Mailer,
    /// Make the database if it is not there, and bring its schema up to date
    Migrate,
    /// Access tokens of the API
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Say by the exit code whether a role is healthy: 0 if it is, 1 if it is not
    Health {
        /// The role; the API is asked over HTTP, the others by what the database says of them
        #[arg(long, value_enum, default_value_t = Role::Api)]
        role: Role,
    },
    /// Show, export, verify and prove what the log holds
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Watch, rebuild and verify the read table
    Projection {
        #[command(subcommand)]
        command: ProjectionCommand,
    },
    /// Print the API's description, in OpenAPI 3.1
    Openapi,
    /// Look after the mail: how it stands, what is in the ledger, try again, preview, test
    Mail {
        #[command(subcommand)]
        command: MailCommand,
    },
}

impl Cli {
    /// Reads the command line and the environment; on an error says which setting and what it expects, and exits.
    pub(crate) fn read() -> Self {
        let cli = Self::parse();
        if let Err(message) = cli.settings.check() {
            Self::command().error(ErrorKind::ValueValidation, message).exit();
        }
        cli
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serving_is_the_default_and_settings_may_follow_the_command() {
        assert_eq!(Cli::try_parse_from(["patients"]).unwrap().command, None);
        let cli = Cli::try_parse_from(["patients", "api", "--http-addr", "127.0.0.1:9"]).unwrap();
        assert_eq!(cli.command, Some(Command::Api));
        assert_eq!(cli.settings.http_addr.port(), 9);
    }

    #[test]
    fn a_wrong_setting_is_named_with_what_it_expects() {
        for (flag, value, expected) in [
            (
                "--http-addr",
                "8000",
                "an address and a port, such as 127.0.0.1:8000",
            ),
            ("--shutdown-timeout", "ten", "a duration, such as 10s or 500ms"),
            ("--append-batch", "0", "1..=1000"),
        ] {
            let error = Cli::try_parse_from(["patients", flag, value])
                .unwrap_err()
                .to_string();
            assert!(error.contains(flag) && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_wrong_url_is_named_and_not_repeated_because_it_may_hold_a_password() {
        for (flag, setting, expected) in [
            (
                "--database-url",
                "DATABASE_URL",
                "mysql://user:password@host/name or sqlite://path",
            ),
            (
                "--redis-url",
                "REDIS_URL",
                "redis://host:port or rediss://host:port",
            ),
            (
                "--smtp-url",
                "SMTP_URL",
                "smtp://host:port or smtps://user:password@host:port",
            ),
        ] {
            let cli = Cli::try_parse_from(["patients", flag, "postgres://user:hunter2@host"]).unwrap();
            let error = cli.settings.check().unwrap_err();
            assert!(
                error.contains(flag) && error.contains(setting) && error.contains(expected),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn secrets_in_the_environment_are_not_shown_in_help() {
        let help = Cli::command().render_long_help().to_string();
        for setting in ["DATABASE_URL", "REDIS_URL", "SMTP_URL"] {
            assert!(
                help.contains(&format!("[env: {setting}]")),
                "{setting} is shown with its value"
            );
        }
    }
}
