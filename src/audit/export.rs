//! `patients audit export`.
//!
//! One task reads pages, another writes them, so memory does not grow with the log. An export into a file goes on from
//! what an interrupted one has left, as far as that is a chain that the log has too.

use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Context;
use eventstore::{EventLog, Hash, Position, RecordedEvent, chain};
use tokio::sync::mpsc;

use super::file::PartFile;
use super::format::Format;
use crate::progress::Progress;

/// Events that are read at a time.
const PAGE: u32 = 256;
/// Pages that may wait to be written.
const AHEAD: usize = 4;
/// The longest line that an interrupted export is read back from: more than any event takes.
const LONGEST_LINE: u64 = 4 * 1024 * 1024;

/// An export: which events, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Export {
    after: Position,
    format: Format,
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    position: Position,
    hash: Hash,
}

impl Export {
    pub(super) fn new(after: u64, format: Format) -> anyhow::Result<Self> {
        let after = Position::new(after).context("there is no such position")?;
        Ok(Self { after, format })
    }

    /// Writes all events up to the head of this moment.
    pub(super) async fn run(self, log: &EventLog, output: Option<&Path>) -> anyhow::Result<()> {
        let head = log.head().await?;
        let Some(path) = output else {
            let mut out = std::io::stdout();
            return match self.write(log, self.after, head.position, &mut out, true).await {
                // A reader that has gone away has read enough.
                Err(error) if is_broken_pipe(&error) => Ok(()),
                written => written,
            };
        };
        let mut part = PartFile::open(path)?;
        let from = self.resume(log, part.file()).await?;
        self.write(
            log,
            from.position,
            head.position,
            part.file(),
            from.position == self.after,
        )
        .await?;
        part.finish()?;
        tracing::info!(
            "{} holds the events after {} up to {}:{}",
            path.display(),
            self.after,
            head.position.max(self.after),
            head.hash
        );
        Ok(())
    }

    /// Finds how far the file holds what the log does, cuts off the rest, and goes to its end.
    async fn resume(self, log: &EventLog, file: &mut std::fs::File) -> anyhow::Result<Place> {
        let hash_at = async |position| match position {
            Position::BEGINNING => Ok(Some(Hash::default())),
            position => anyhow::Ok(log.at(&[position]).await?.first().map(|event| event.hash)),
        };
        let start = Place {
            position: self.after,
            hash: hash_at(self.after).await?.unwrap_or_default(),
        };
        let (place, length) = self.chained(file, start)?;
        let kept = place != start && hash_at(place.position).await? == Some(place.hash);
        let (place, length) = if kept { (place, length) } else { (start, 0) };
        file.set_len(length)?;
        file.seek(SeekFrom::End(0))?;
        if kept {
            tracing::info!(
                "going on after {}, where an export was interrupted",
                place.position
            );
        }
        Ok(place)
    }

    /// How far the lines of a file are a chain from `start`, and how long they are.
    fn chained(self, file: &mut std::fs::File, start: Place) -> anyhow::Result<(Place, u64)> {
        file.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::new(file);
        let (mut place, mut length) = (start, 0);
        let mut line = Vec::new();
        let heading = self.format.heading();
        if !heading.is_empty() {
            reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
            if line != heading.as_bytes() {
                return Ok((start, 0));
            }
            length += line.len() as u64;
        }
        loop {
            line.clear();
            reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
            let event = line.ends_with(b"\n").then(|| self.format.read(&line)).flatten();
            let Some(event) = event.filter(|event| {
                event.position == place.position.next() && chain::follows(&place.hash, event).unwrap_or(false)
            }) else {
                return Ok((place, length));
            };
            length += line.len() as u64;
            place = Place {
                position: event.position,
                hash: event.hash,
            };
        }
    }

    async fn write(
        self,
        log: &EventLog,
        after: Position,
        end: Position,
        out: &mut (impl Write + Send),
        heading: bool,
    ) -> anyhow::Result<()> {
        let (done, all) = (after.since(self.after), end.since(self.after));
        let mut progress = Progress::start("events", done, all, false);
        let mut pages = pages(log.clone(), after, end);
        let mut lines = Vec::new();
        if heading {
            lines.extend_from_slice(self.format.heading().as_bytes());
        }
        let written = async {
            while let Some(page) = pages.recv().await {
                let page = page?;
                for event in &page {
                    self.format.write(event, &mut lines)?;
                }
                out.write_all(&lines)?;
                lines.clear();
                if let Some(last) = page.last() {
                    progress.at(last.position.since(self.after), all);
                }
            }
            out.write_all(&lines)?;
            anyhow::Ok(out.flush()?)
        }
        .await;
        progress.end();
        written
    }
}

/// The events after `after` up to `end`, page by page, read ahead. An error is the last item.
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
            let page = log.feed(after, u32::try_from(limit).unwrap_or(PAGE)).await;
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

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
