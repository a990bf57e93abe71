//! `patients mail …`.

use std::path::PathBuf;

use anyhow::Context;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Subcommand, ValueEnum};
use eventstore::Position;
use mailer::{DeliveriesWanted, DeliveryState, Template};
use uuid::Uuid;

use super::{list, preview, retry, status, test};
use crate::output::OutputFormat;
use crate::settings::Settings;

/// Mail commands for operators.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum MailCommand {
    /// Show the number of emails in each state, the waiting time of the oldest email, and the state of the
    /// mail servers
    Status(OutputFormat),
    /// List the emails in the ledger, by position
    List {
        /// Only emails in this state
        #[arg(long, value_parser = state())]
        state: Option<DeliveryState>,
        /// Only emails to this patient
        #[arg(long, value_name = "ID")]
        patient: Option<Uuid>,
        /// Only emails after this position
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// Number of emails to list; more if the last event has further emails
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        #[command(flatten)]
        format: OutputFormat,
    },
    /// Show the emails with this id, which are about one event, and every attempt to send them
    Show {
        /// Email id, as listed
        id: u64,
        #[command(flatten)]
        format: OutputFormat,
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
        format: OutputFormat,
    },
    /// Write a sample email for a fictitious patient, in .eml format
    Preview {
        /// Kind of email
        #[arg(long, value_enum, default_value_t = EmailKind::Registration)]
        mail: EmailKind,
        /// Languages, instead of the configured ones: es, en, or both with a comma
        #[arg(long)]
        language: Option<String>,
        /// Output file; default: standard output
        #[arg(long)]
        output: Option<PathBuf>,
        #[command(flatten)]
        format: OutputFormat,
    },
    /// Send a real test email, and report the result of each step with advice on failures
    Test {
        /// Recipient address
        #[arg(long)]
        to: String,
        #[command(flatten)]
        format: OutputFormat,
    },
}

/// Parses the name of a delivery state.
fn state() -> impl TypedValueParser<Value = DeliveryState> {
    PossibleValuesParser::new(DeliveryState::ALL.map(DeliveryState::name))
        .try_map(|name| DeliveryState::named(&name).ok_or("there is no such state"))
}

/// A kind of email.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EmailKind {
    /// Confirmation of a registration
    Registration,
    /// Notice of an amendment
    Amendment,
    /// Notice to the previous address that the email address was changed
    EmailChange,
    /// Confirmation of a deletion
    Deletion,
}

impl From<EmailKind> for Template {
    fn from(kind: EmailKind) -> Self {
        match kind {
            EmailKind::Registration => Self::PatientRegistered,
            EmailKind::Amendment => Self::PatientAmended,
            EmailKind::EmailChange => Self::PatientEmailChanged,
            EmailKind::Deletion => Self::PatientDeleted,
        }
    }
}

/// Runs a command.
pub(crate) async fn run(settings: &Settings, command: MailCommand) -> anyhow::Result<()> {
    match command {
        MailCommand::Status(format) => status::status(settings, format).await,
        MailCommand::List {
            state,
            patient,
            after,
            limit,
            format,
        } => {
            let patient = patient.map(|id| id.to_string());
            let wanted = DeliveriesWanted { state, patient };
            list::list(settings, &wanted, position(after)?, limit, format).await
        }
        MailCommand::Show { id, format } => list::show(settings, position(id)?, format).await,
        MailCommand::Retry { ids, dead, format } => {
            let ids = ids
                .into_iter()
                .map(position)
                .collect::<anyhow::Result<Vec<_>>>()?;
            retry::retry(settings, &ids, dead, format).await
        }
        MailCommand::Preview {
            mail,
            language,
            output,
            format,
        } => preview::preview(
            settings,
            mail.into(),
            language.as_deref(),
            output.as_deref(),
            format,
        ),
        MailCommand::Test { to, format } => test::test(settings, &to, format).await,
    }
}

fn position(number: u64) -> anyhow::Result<Position> {
    Position::new(number).context("the id is too large")
}
