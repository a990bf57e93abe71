//! `patients export`: writes the active patients in a format of other systems.

use std::io::{Stdout, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use api::read_log::{ReadKind, ReadOutcome};
use clap::Args;
use eventstore::EventLog;
use futures::future::try_join_all;
use projector::reads::{Found, PageRequest, PageSource, PatientReads};
use serde::Deserialize;
use uuid::Uuid;

use crate::audit::{PartFile, ReadRange, Recorder, is_broken_pipe};
use crate::database;
use crate::fhir::Patient;
use crate::progress::Progress;
use crate::settings::Settings;

/// Database connections of the command. Reads of patients reserve up to ten.
const CONNECTIONS: u32 = 16;
/// Number of patients that are read at a time.
const PAGE: u32 = 256;

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct ExportArguments {
    /// Write a FHIR R4 Patient resource on each line
    #[arg(long, required = true)]
    fhir: bool,
    /// Output file, which gets its final name when it is complete; - for standard output (default)
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the command.
pub(crate) async fn run(settings: &Settings, arguments: ExportArguments) -> anyhow::Result<()> {
    let database = database::open_with_keyring(settings, CONNECTIONS).await?;
    let log = EventLog::new(database.clone());
    let recorder = Recorder::start(&database);
    let exported = export(&log, &recorder, settings.wait, arguments.output.as_deref()).await;
    recorder.finish().await;
    database.close().await;
    exported
}

/// Writes the export. Waits for at most `wait` until the read table includes the whole log.
async fn export(
    log: &EventLog,
    recorder: &Recorder,
    wait: Duration,
    output: Option<&Path>,
) -> anyhow::Result<()> {
    let reads = PatientReads::start(log);
    let head = log.head().await?.position;
    if let Err(reached) = reads.wait_for(head, PageSource::Patients, wait).await? {
        bail!("the read table has reached position {reached} of {head}: is the projector running?");
    }
    tracing::warn!("the export contains unencrypted personal data, which an erasure does not reach");
    let range = ReadRange {
        after: Some(0),
        to: Some(head.get()),
        ..ReadRange::default()
    };
    recorder
        .record(ReadKind::OpenExport, ReadOutcome::Begun, range)
        .await?;
    let patients = match output.filter(|path| *path != Path::new("-")) {
        None => match write(&reads, &mut std::io::stdout()).await {
            // A closed pipe is not an error: the reader needs no more output.
            Err(error) if is_broken_pipe(&error) => None,
            written => Some(written?),
        },
        Some(path) => {
            let mut part = PartFile::open(path)?;
            let emptied = part.file().set_len(0);
            emptied.with_context(|| format!("{} cannot be written", path.display()))?;
            let patients = write(&reads, part.file()).await?;
            part.finish()?;
            Some(patients)
        }
    };
    if let Some(patients) = patients {
        tracing::info!("exported {patients} patients");
    }
    reads.shutdown().await;
    recorder
        .record(ReadKind::OpenExport, ReadOutcome::Ended, range)
        .await
}

/// Where an export is written.
trait Sink: Write + Send {}
impl Sink for Stdout {}
impl Sink for std::fs::File {}

/// Writes all active patients, and returns their number.
async fn write(reads: &PatientReads, out: &mut impl Sink) -> anyhow::Result<u64> {
    let mut progress = Progress::start("patients", 0, 0, false);
    let (mut after, mut patients, mut lines) = (None, 0, Vec::new());
    loop {
        let request = PageRequest {
            after,
            limit: PAGE,
            name: None,
        };
        let page = reads.page(request).await?;
        let ids = ids(&page.json)?;
        // The table may be older than the patients: a read by id is always current.
        let found = try_join_all(ids.iter().map(|id| reads.by_id(*id))).await?;
        for (id, found) in ids.iter().zip(found) {
            if let Found::Active(details, _) = found {
                serde_json::to_writer(&mut lines, &Patient::of(id.to_string(), &details))?;
                lines.push(b'\n');
                patients += 1;
            }
        }
        out.write_all(&lines).context("the output cannot be written")?;
        lines.clear();
        progress.at(patients, patients);
        let Some(next) = page.next else { break };
        after = Some(Uuid::try_parse(&next).context("a row of the read table has a malformed id")?);
    }
    out.flush().context("the output cannot be written")?;
    progress.end();
    Ok(patients)
}

/// Returns the ids of the patients on a page.
fn ids(json: &[u8]) -> anyhow::Result<Vec<Uuid>> {
    #[derive(Deserialize)]
    struct OnPage {
        id: Uuid,
    }
    let page: Vec<OnPage> =
        serde_json::from_slice(json).map_err(|_| anyhow::anyhow!("a page of the read table is malformed"))?;
    Ok(page.into_iter().map(|patient| patient.id).collect())
}
