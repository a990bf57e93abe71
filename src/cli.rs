//! The command line.

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

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
    /// The flags that hold a password.
    #[arg(skip)]
    pub(crate) passwords_in_flags: Vec<String>,
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
        let matches = Self::command().get_matches();
        let cli = match Self::from_arg_matches(&matches) {
            Ok(cli) => cli,
            Err(error) => error.format(&mut Self::command()).exit(),
        };
        if let Err(message) = cli.settings.check() {
            Self::command().error(ErrorKind::ValueValidation, message).exit();
        }
        Self {
            passwords_in_flags: passwords_in_flags(&matches),
            ..cli
        }
    }

    /// Says which flags should not have been used. They cannot be taken back: whoever lists processes sees them.
    pub(crate) fn warn(&self) {
        for flag in &self.passwords_in_flags {
            let setting = flag.to_uppercase().replace('-', "_");
            tracing::warn!(
                "every user of this machine can read the password in --{flag}: put it into {setting}, in the environment \
                 or in .env, and use another password from now on"
            );
        }
    }
}

/// The flags, without the dashes, whose value has a password in it.
fn passwords_in_flags(matches: &ArgMatches) -> Vec<String> {
    [
        "database_url",
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

fn has_password(url: &str) -> bool {
    url.split_once("://")
        .and_then(|(_, rest)| rest.rsplit_once('@'))
        .and_then(|(user, _)| user.split_once(':'))
        .is_some_and(|(_, password)| !password.is_empty())
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
        let named_for_secrets = ["URL", "ENDPOINT", "TOKEN", "KEY_FILE", "PASSWORD", "SECRET"];
        let command = Cli::command();
        let secret: Vec<_> = command
            .get_arguments()
            .filter(|arg| {
                let setting = arg.get_env().unwrap_or_default().to_string_lossy();
                named_for_secrets.iter().any(|part| setting.contains(part))
            })
            .collect();
        assert!(secret.len() >= 9, "{secret:?}");
        for arg in secret {
            assert!(
                arg.is_hide_env_values_set(),
                "{} is shown with its value",
                arg.get_id()
            );
        }
    }

    #[test]
    fn a_password_in_a_flag_is_noticed_before_and_after_the_command_and_one_in_the_environment_is_fine() {
        let noticed = |arguments: &[&str]| {
            let arguments = ["patients"].iter().chain(arguments);
            passwords_in_flags(&Cli::command().try_get_matches_from(arguments).unwrap())
        };
        let url = "mysql://user:hunter2@host/name";
        assert_eq!(noticed(&["--database-url", url, "api"]), ["database-url"]);
        assert_eq!(noticed(&["mailer", "--smtp-url=smtps://u:p@h"]), ["smtp-url"]);
        assert_eq!(noticed(&["api", "--redis-url", "redis://:p@h:1"]), ["redis-url"]);
        for harmless in [
            "mysql://root@host/name",
            "sqlite://a:b",
            "mysql://root:@host/name",
        ] {
            assert!(
                noticed(&["api", "--database-url", harmless]).is_empty(),
                "{harmless}"
            );
        }
    }
}
