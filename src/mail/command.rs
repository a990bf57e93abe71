//! `patients mail …`.

use std::path::PathBuf;

use anyhow::Context;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use eventstore::{Database, Position};
use mailer::{DeliveryState, Template};

use super::{list, preview, retry, status, test};
use crate::database;
use crate::settings::Settings;

/// Mail commands for operators.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum MailCommand {
    /// Show the number of emails in each state, the waiting time of the oldest email, and the state of the
    /// mail servers
    Status(Form),
    /// List the emails in the ledger, by position
    List {
        /// Only emails in this state
        #[arg(long, value_parser = state())]
        state: Option<DeliveryState>,
        /// Only emails after this position
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// Maximum number of emails
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        #[command(flatten)]
        form: Form,
    },
    /// Show an email and every attempt to send it
    Show {
        /// Email id, as listed
        id: u64,
        #[command(flatten)]
        form: Form,
    },
    /// Retry dead emails, or send waiting emails now
    Retry {
        /// Email ids, as listed
        #[arg(required_unless_present = "dead", conflicts_with = "dead")]
        ids: Vec<u64>,
        /// All dead emails
        #[arg(long)]
        dead: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Write a sample email for a fictitious patient, in .eml format
    Preview {
        /// Kind of email
        #[arg(long, value_enum, default_value_t = Kind::Registration)]
        mail: Kind,
        /// Languages, instead of the configured ones: es, en, or both with a comma
        #[arg(long)]
        language: Option<String>,
        /// Output file; default: standard output
        #[arg(long)]
        output: Option<PathBuf>,
        #[command(flatten)]
        form: Form,
    },
    /// Send a real test email, and report the result of each step with advice on failures
    Test {
        /// Recipient address
        #[arg(long)]
        to: String,
        #[command(flatten)]
        form: Form,
    },
}

/// Output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub(crate) struct Form {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Parses the name of a delivery state.
fn state() -> impl TypedValueParser<Value = DeliveryState> {
    PossibleValuesParser::new(DeliveryState::ALL.map(DeliveryState::name))
        .try_map(|name| DeliveryState::named(&name).ok_or("there is no such state"))
}

/// A kind of email.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Confirmation of a registration
    Registration,
    /// Notice of an amendment
    Amendment,
    /// Notice to the previous address that the email address was changed
    EmailChange,
    /// Confirmation of a deletion
    Deletion,
}

impl From<Kind> for Template {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Registration => Self::PatientRegistered,
            Kind::Amendment => Self::PatientAmended,
            Kind::EmailChange => Self::PatientEmailChanged,
            Kind::Deletion => Self::PatientDeleted,
        }
    }
}

/// Runs a command.
pub(crate) async fn run(settings: &Settings, command: MailCommand) -> anyhow::Result<()> {
    match command {
        MailCommand::Status(form) => status::status(settings, form).await,
        MailCommand::List {
            state,
            after,
            limit,
            form,
        } => list::list(settings, state, position(after)?, limit, form).await,
        MailCommand::Show { id, form } => list::show(settings, position(id)?, form).await,
        MailCommand::Retry { ids, dead, form } => {
            let ids = ids
                .into_iter()
                .map(position)
                .collect::<anyhow::Result<Vec<_>>>()?;
            retry::retry(settings, &ids, dead, form).await
        }
        MailCommand::Preview {
            mail,
            language,
            output,
            form,
        } => preview::preview(
            settings,
            mail.into(),
            language.as_deref(),
            output.as_deref(),
            form,
        ),
        MailCommand::Test { to, form } => test::test(settings, &to, form).await,
    }
}

fn position(number: u64) -> anyhow::Result<Position> {
    Position::new(number).context("the id is too large")
}

/// Opens the database, which must have the schema version of this program.
pub(super) async fn open(settings: &Settings) -> anyhow::Result<Database> {
    database::open_existing(settings, 2).await
}
