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

/// What operators do with mail.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum MailCommand {
    /// Say how many mails are in each state, how long the oldest has waited, and how the mail servers stand
    Status(Form),
    /// List mails of the ledger, by position
    List {
        /// Only those in this state
        #[arg(long, value_parser = state())]
        state: Option<DeliveryState>,
        /// Only those after this position
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        #[command(flatten)]
        form: Form,
    },
    /// Show one mail with every attempt to send it
    Show {
        /// Its number, as the list shows it
        id: u64,
        #[command(flatten)]
        form: Form,
    },
    /// Try mails again that are dead, or make those due now that wait
    Retry {
        /// Their numbers, as the list shows them
        #[arg(required_unless_present = "dead", conflicts_with = "dead")]
        ids: Vec<u64>,
        /// All that are dead
        #[arg(long)]
        dead: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Write a mail as patients get it, about nobody real, in the form of an .eml file
    Preview {
        /// Which mail
        #[arg(long, value_enum, default_value_t = Kind::Registration)]
        mail: Kind,
        /// The languages, instead of those of the settings: es, en, or both with a comma
        #[arg(long)]
        language: Option<String>,
        /// The file to write; standard output without it
        #[arg(long)]
        output: Option<PathBuf>,
        #[command(flatten)]
        form: Form,
    },
    /// Send one real test mail, and say of each step whether it worked and what to do if not
    Test {
        /// Whom to
        #[arg(long)]
        to: String,
        #[command(flatten)]
        form: Form,
    },
}

/// For people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub(crate) struct Form {
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The states of the ledger, by name.
fn state() -> impl TypedValueParser<Value = DeliveryState> {
    PossibleValuesParser::new(DeliveryState::ALL.map(DeliveryState::name))
        .try_map(|name| DeliveryState::named(&name).ok_or("there is no such state"))
}

/// A kind of mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The confirmation of a registration
    Registration,
    /// The confirmation of a deletion
    Deletion,
}

impl From<Kind> for Template {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Registration => Self::PatientRegistered,
            Kind::Deletion => Self::PatientDeleted,
        }
    }
}

/// Runs one of them.
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
    Position::new(number).context("there is no such number")
}

/// The database, with a schema as new as this program.
pub(super) async fn open(settings: &Settings) -> anyhow::Result<Database> {
    database::open_existing(settings, 2).await
}
