//! Registers the patients of rows.

use std::pin::pin;

use anyhow::Context;
use api::commands::{Cause, CommandError, Earlier, Imported};
use domain::{Import, PatientDetails};
use futures::stream::{self, Stream, StreamExt, TryStreamExt};

use super::file::{Batch, Batches};
use super::options::ImportArguments;
use super::report::Report;
use super::row::{Code, Field, Place, Read, Rules, Unfit};
use super::turns::{Turn, Turns};
use crate::commands::{StartedCommands, cause};
use crate::progress::Progress;
use crate::settings::Settings;

/// Numbers of rows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) imported: u64,
    /// Imported by an earlier run, or from an earlier row with the same id.
    pub(super) before: u64,
    pub(super) not_imported: u64,
}

impl Counts {
    const fn all(self) -> u64 {
        self.imported + self.before + self.not_imported
    }
}

pub(super) struct Importer<'i> {
    commands: &'i StartedCommands,
    rules: Rules,
    cause: Cause,
    dry_run: bool,
    json: bool,
    /// Maximum number of rows that are registered at the same time.
    most: usize,
    turns: Turns,
}

/// Outcome of a row.
enum Outcome {
    /// The patient was imported now.
    Now,
    /// The patient was imported before.
    Before,
    Unfit(Vec<Unfit>),
}

impl Outcome {
    /// Outcome of a row whose old id was imported before.
    fn before(place: Place, earlier: Earlier) -> Self {
        match earlier {
            Earlier::SamePatient => Self::Before,
            Earlier::OtherPatient => Self::Unfit(vec![Unfit {
                place,
                field: Some(Field::Id),
                code: Code::Differs,
                reason: "is the id of an imported patient with another name and another email: does --source name the right \
                         service?"
                    .to_owned(),
            }]),
        }
    }
}

impl<'i> Importer<'i> {
    pub(super) fn new(
        commands: &'i StartedCommands,
        settings: &Settings,
        arguments: &ImportArguments,
    ) -> Self {
        let source = arguments.source.as_ref();
        // While a batch is committed, the next batch waits in the queue, which holds this process's appends
        // alone.
        let options = settings.append_options();
        let most = if arguments.dry_run || commands.import_needs_connection() {
            super::CONNECTIONS as usize
        } else {
            (2 * options.largest).min(options.capacity)
        };
        Self {
            commands,
            rules: Rules {
                source: source.unwrap_or(&settings.legacy_source).clone(),
                schemes: settings.document_url_schemes.clone(),
                document_url: arguments.document_url.clone(),
                confirmation: arguments.send_mail,
            },
            cause: cause(),
            dry_run: arguments.dry_run,
            json: arguments.json,
            most,
            turns: Turns::default(),
        }
    }

    /// Registers the patients of all batches. The outcomes are reported in the order of the rows.
    pub(super) async fn run(&self, batches: Batches, report: &mut Report) -> anyhow::Result<Counts> {
        let mut counts = Counts::default();
        let mut progress = Progress::start("rows", 0, 0, self.json);
        let outcomes = self
            .rows(batches)
            .map(|row| {
                // The turn begins here, in the order of the rows.
                let row = row.map(|(row, all)| (self.turn(&row), row, all));
                async move {
                    let (turn, row, all) = row?;
                    let outcome = self.outcome(row, turn.as_ref()).await?;
                    anyhow::Ok((outcome, all))
                }
            })
            // Rows are also registered while the next batch is read and checked. They would otherwise keep
            // their database connections meanwhile.
            .buffered(self.most);
        let mut outcomes = pin!(outcomes);
        let imported = async {
            while let Some((outcome, all)) = outcomes.try_next().await? {
                settle(outcome, &mut counts, report)?;
                progress.at(counts.all(), all);
            }
            Ok(counts)
        }
        .await;
        progress.end();
        imported
    }

    /// Returns the checked rows of all batches, each with the approximate number of all rows.
    fn rows(&self, batches: Batches) -> impl Stream<Item = anyhow::Result<(Checked, u64)>> {
        let batches = stream::try_unfold((batches, 0), async |(mut batches, before)| {
            let Some(batch) = batches.recv().await else {
                return Ok(None);
            };
            let Batch { rows, read } = batch?;
            let rows = self.checked(rows).await?;
            let done = before + rows.len() as u64;
            let all = estimate(done, read);
            let rows = rows.into_iter().map(move |row| Ok((row, all)));
            anyhow::Ok(Some((stream::iter(rows), (batches, done))))
        });
        batches.try_flatten()
    }

    /// Checks the rows of a batch by the rules, and finds the patients who were imported before.
    async fn checked(&self, rows: Vec<Read>) -> anyhow::Result<Vec<Checked>> {
        let mut checked: Vec<Checked> = rows
            .into_iter()
            .map(|read| match read {
                Read::Unfit(unfit) => Checked::Settled(Outcome::Unfit(vec![unfit])),
                Read::Row(row) => {
                    let place = row.place;
                    match row.parse(&self.rules) {
                        Ok(import) => Checked::Fit(place, import),
                        Err(reasons) => Checked::Settled(Outcome::Unfit(reasons)),
                    }
                }
            })
            .collect();
        let imports: Vec<_> = checked
            .iter()
            .filter_map(|row| match row {
                Checked::Fit(_, import) => Some(import),
                Checked::Settled(_) => None,
            })
            .collect();
        let mut earlier = self.commands.imported_before(&imports).await?.into_iter();
        for row in &mut checked {
            if let Checked::Fit(place, _) = row
                && let Some(earlier) = earlier.next().flatten()
            {
                *row = Checked::Settled(Outcome::before(*place, earlier));
            }
        }
        Ok(checked)
    }

    /// Begins the turn of a row. `None` if the row has its outcome.
    fn turn(&self, row: &Checked) -> Option<Turn<'_>> {
        match row {
            Checked::Fit(_, import) => Some(self.turns.begin(import.old_id.clone())),
            Checked::Settled(_) => None,
        }
    }

    async fn outcome(&self, row: Checked, turn: Option<&Turn<'_>>) -> anyhow::Result<Outcome> {
        if let Some(turn) = turn {
            turn.wait().await;
        }
        match row {
            Checked::Settled(outcome) => Ok(outcome),
            Checked::Fit(place, import) => self.import(place, import).await,
        }
    }

    async fn import(&self, place: Place, import: Import) -> anyhow::Result<Outcome> {
        let imported = if self.dry_run {
            let details = PatientDetails::from(import.registration);
            match self.commands.is_taken(&details).await {
                Ok(false) => Ok(Imported::Now),
                Ok(true) => Err(CommandError::EmailTaken),
                Err(error) => Err(error),
            }
        } else {
            self.commands.import(import, &self.cause).await
        };
        match imported {
            Ok(Imported::Now) => Ok(Outcome::Now),
            Ok(Imported::Before(earlier)) => Ok(Outcome::before(place, earlier)),
            Err(CommandError::EmailTaken) => Ok(Outcome::Unfit(vec![Unfit {
                place,
                field: Some(Field::Email),
                code: Code::Taken,
                reason: "is taken by another active patient".to_owned(),
            }])),
            Err(error) => Err(error).context("a patient cannot be registered"),
        }
    }
}

/// A row after the check of its values.
enum Checked {
    Fit(Place, Import),
    Settled(Outcome),
}

fn settle(outcome: Outcome, counts: &mut Counts, report: &mut Report) -> anyhow::Result<()> {
    match outcome {
        Outcome::Now => counts.imported += 1,
        Outcome::Before => counts.before += 1,
        Outcome::Unfit(reasons) => {
            counts.not_imported += 1;
            for reason in &reasons {
                report.add(reason)?;
            }
        }
    }
    Ok(())
}

/// Returns the approximate number of rows, from how much was read.
fn estimate(rows: u64, (read, all): (u64, u64)) -> u64 {
    let estimate = u128::from(rows) * u128::from(all) / u128::from(read.max(1));
    u64::try_from(estimate).unwrap_or(u64::MAX).max(rows)
}
