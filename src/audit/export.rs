//! `patients audit export`.
//!
//! One task reads pages. Another task checks that the pages continue the chain, and writes them. Memory use
//! therefore does not grow with the log. An export to a file resumes an interrupted export after the last
//! event that the file and the log have in common.

use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Stdout, Write};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use api::FeedEvent;
use api::read_log::{ReadKind, ReadOutcome};
use eventstore::{EventLog, Hash, Mismatch, Position, RecordedEvent, chain, verify};
use tokio::sync::mpsc;

use super::file::PartFile;
use super::format::ExportFormat;
use super::mark::{Marks, Written};
use super::recorder::{ReadRange, Recorder};
use crate::progress::Progress;

/// Number of events read at a time.
const PAGE: u32 = 256;
/// Maximum number of pages that wait to be written.
const AHEAD: usize = 4;
/// Maximum length of a line that is read back from an interrupted export, in bytes. No event is that long.
const LONGEST_LINE: u64 = 4 * 1024 * 1024;

/// An export: the position after which it begins, its format, and whether it is open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Export {
    after: Position,
    format: ExportFormat,
    /// Whether the decrypted personal data is added.
    open: bool,
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LogPlace {
    position: Position,
    hash: Hash,
}

impl LogPlace {
    /// Returns the place of `event`, or `None` if `event` does not follow this place.
    fn next(self, event: &RecordedEvent) -> Option<Self> {
        let follows =
            event.position == self.position.next() && chain::follows(&self.hash, event).unwrap_or(false);
        follows.then_some(Self {
            position: event.position,
            hash: event.hash,
        })
    }
}

impl Export {
    pub(super) fn new(after: u64, format: ExportFormat, open: bool) -> anyhow::Result<Self> {
        let after = Position::new(after).context("the position is too large")?;
        Ok(Self { after, format, open })
    }

    /// Writes all events up to the current head.
    pub(super) async fn run(
        self,
        log: &EventLog,
        recorder: &Recorder,
        output: Option<&Path>,
    ) -> anyhow::Result<()> {
        let head = verify::head(log).await?.map_err(unfit)?;
        if self.after > head.position {
            bail!(
                "there is no position {}: the log ends at {}",
                self.after,
                head.position
            );
        }
        let end = LogPlace {
            position: head.position,
            hash: head.hash,
        };
        let range = ReadRange {
            after: Some(self.after.get()),
            to: Some(end.position.get()),
            ..ReadRange::default()
        };
        let kind = if self.open {
            tracing::warn!("the export contains unencrypted personal data, which an erasure does not reach");
            ReadKind::OpenExport
        } else {
            ReadKind::Export
        };
        recorder.record(kind, ReadOutcome::Begun, range).await?;
        self.write_out(log, end, output).await?;
        recorder.record(kind, ReadOutcome::Ended, range).await
    }

    /// Writes all events up to `end` to the output.
    async fn write_out(self, log: &EventLog, end: LogPlace, output: Option<&Path>) -> anyhow::Result<()> {
        let start = self.start(log).await?;
        let Some(path) = output.filter(|path| *path != Path::new("-")) else {
            return match self.write(log, start, end, &mut std::io::stdout(), true).await {
                // A closed pipe is not an error: the reader needs no more output.
                Err(error) if is_broken_pipe(&error) => Ok(()),
                written => written,
            };
        };
        let mut out = FileSink {
            export: self,
            part: PartFile::open(path)?,
            marks: Marks::open(path)?,
            written: Written::default(),
        };
        let from = out.resume(log, start).await?;
        self.write(log, from, end, &mut out, from == start).await?;
        out.part.finish()?;
        out.marks.remove()?;
        tracing::info!(
            "{} contains the events after {} up to {}:{}",
            path.display(),
            self.after,
            end.position,
            end.hash
        );
        Ok(())
    }

    /// Returns the place after which the export begins.
    async fn start(self, log: &EventLog) -> anyhow::Result<LogPlace> {
        let (position, hash) = (self.after, hash_at(log, self.after).await?);
        let hash = hash.with_context(|| format!("the event at position {position} is missing"))?;
        Ok(LogPlace { position, hash })
    }

    /// Writes the events after `from` up to `end`. Fails at the first event that does not follow its
    /// predecessor.
    async fn write(
        self,
        log: &EventLog,
        from: LogPlace,
        end: LogPlace,
        out: &mut (impl Sink + Send),
        heading: bool,
    ) -> anyhow::Result<()> {
        let count = |position: Position| position.since(self.after);
        let all = count(end.position);
        let mut progress = Progress::start("events", count(from.position), all, false);
        let mut pages = pages(log.clone(), from.position, end.position);
        let mut place = from;
        let mut lines = Vec::new();
        if heading {
            lines.extend_from_slice(self.format.heading(self.open).as_bytes());
        }
        let written = async {
            while let Some(page) = pages.recv().await {
                let page = page?;
                for event in &page {
                    place = place.next(event).with_context(|| broken(event.position))?;
                }
                if self.open {
                    for event in FeedEvent::of(log, page).await? {
                        self.format.write_open(&event, &mut lines)?;
                    }
                } else {
                    for event in &page {
                        self.format.write(event, &mut lines)?;
                    }
                }
                out.write(&lines, place)?;
                lines.clear();
                progress.at(count(place.position), all);
            }
            out.write(&lines, place)?;
            if place.position < end.position {
                bail!(broken(place.position.next()));
            }
            if place != end {
                bail!(
                    "the hash in log_head differs from that of the event at position {}",
                    end.position
                );
            }
            Ok(())
        }
        .await;
        progress.end();
        written
    }
}

/// Destination of an export.
trait Sink {
    /// Writes the lines of some events. `reaches` is the place of the last event.
    fn write(&mut self, lines: &[u8], reaches: LogPlace) -> anyhow::Result<()>;
}

impl Sink for Stdout {
    fn write(&mut self, lines: &[u8], _: LogPlace) -> anyhow::Result<()> {
        self.write_all(lines)?;
        Ok(self.flush()?)
    }
}

/// A file, which may contain the beginning of an interrupted export.
struct FileSink {
    export: Export,
    part: PartFile,
    marks: Marks,
    written: Written,
}

impl Sink for FileSink {
    fn write(&mut self, lines: &[u8], reaches: LogPlace) -> anyhow::Result<()> {
        let Export { after, format, .. } = self.export;
        let file = self.part.file();
        file.write_all(lines)?;
        self.written.add(lines);
        let last = (reaches.position, reaches.hash);
        self.marks.make(file, &self.written, (after, format), last)
    }
}

impl FileSink {
    /// Finds the last place up to which the file matches the log from `start` on, truncates the file there,
    /// and seeks to its end.
    async fn resume(&mut self, log: &EventLog, start: LogPlace) -> anyhow::Result<LogPlace> {
        // Patients whose events were opened earlier may have been erased since, so an open export starts
        // again.
        let mut place = start;
        if !self.export.open {
            let marked = self.marked(log).await?;
            let from = marked.unwrap_or(start);
            place = self.chained(from, start)?;
            if place != from && hash_at(log, place.position).await? != Some(place.hash) {
                place = start;
            }
        }
        if place == start {
            self.written = Written::default();
        }
        let file = self.part.file();
        file.set_len(self.written.length)?;
        file.seek(SeekFrom::End(0))?;
        if place != start {
            tracing::info!("resuming an interrupted export after position {}", place.position);
        }
        Ok(place)
    }

    /// Returns the place of the last mark, if it belongs to this export and matches both the file and the
    /// log.
    async fn marked(&mut self, log: &EventLog) -> anyhow::Result<Option<LogPlace>> {
        let Export { after, format, .. } = self.export;
        let Some((mark, written)) = self.marks.last(self.part.file())? else {
            return Ok(None);
        };
        if (mark.after, mark.format) != (after, format)
            || mark.position <= after
            || hash_at(log, mark.position).await? != Some(mark.hash)
        {
            return Ok(None);
        }
        self.written = written;
        Ok(Some(LogPlace {
            position: mark.position,
            hash: mark.hash,
        }))
    }

    /// Returns the place up to which the lines of the file continue the chain. The lines up to `from` are
    /// already checked.
    fn chained(&mut self, from: LogPlace, start: LogPlace) -> anyhow::Result<LogPlace> {
        let Self {
            export: Export { format, .. },
            part,
            written,
            ..
        } = self;
        let file = part.file();
        file.seek(SeekFrom::Start(written.length))?;
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        let heading = format.heading(false);
        if from == start && !heading.is_empty() {
            reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
            if line != heading.as_bytes() {
                return Ok(start);
            }
            written.add(&line);
        }
        let mut place = from;
        loop {
            line.clear();
            reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
            let event = line.ends_with(b"\n").then(|| format.read(&line)).flatten();
            let Some(next) = event.and_then(|event| place.next(&event)) else {
                return Ok(place);
            };
            written.add(&line);
            place = next;
        }
    }
}

/// Returns the error for an inconsistent log.
fn unfit(mismatch: Mismatch) -> anyhow::Error {
    anyhow!("the log is inconsistent at {mismatch}")
}

/// Returns the error text for a position at which the chain breaks.
fn broken(position: Position) -> String {
    format!("the log is inconsistent at position {position}: run `patients audit verify` for details")
}

/// Returns the hash at a position, or `None` if the log has no event there.
async fn hash_at(log: &EventLog, position: Position) -> eventstore::Result<Option<Hash>> {
    if position == Position::BEGINNING {
        return Ok(Some(Hash::default()));
    }
    Ok(log.at(&[position]).await?.first().map(|event| event.hash))
}

/// Reads ahead the events after `after` up to `end`, page by page. If a read fails, the error is the last
/// item.
fn pages(
    log: EventLog,
    after: Position,
    end: Position,
) -> mpsc::Receiver<eventstore::Result<Vec<RecordedEvent>>> {
    let (sender, pages) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let mut after = after;
        while after < end {
            let limit = end.since(after).min(PAGE.into());
            let page = log.stored_feed(after, u32::try_from(limit).unwrap_or(PAGE)).await;
            let last = page
                .as_ref()
                .ok()
                .and_then(|page| page.last())
                .map(|event| event.position);
            if sender.send(page).await.is_err() {
                return;
            }
            let Some(last) = last else { return };
            after = last;
        }
    });
    pages
}

pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
