//! A stream without an end: what is there, then what comes.

use std::time::Duration;

use eventstore::{Error, EventPage, RecordedEvent, Wake};
use futures::{Stream, StreamExt, stream};

use super::{CHUNK, Reader};

/// The pause after a read that was not full: under load it lets events gather, so that a stream reads 20
/// times a second at most.
const GATHER: Duration = Duration::from_millis(50);
/// The pause after a read that failed; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

struct Live {
    reader: Reader,
    wake: Wake,
    gather: bool,
    /// The pause before the next try, if the last one failed.
    failing: Option<Duration>,
}

impl Reader {
    /// Every event from where the reader is, each as soon as it is recorded, until the feed is closed or the
    /// client may not read on. While the database is away the stream waits, and nothing is passed over.
    pub(crate) fn live(self) -> impl Stream<Item = RecordedEvent> {
        let wake = self.feed.signal.subscribe();
        let live = Live {
            reader: self,
            wake,
            gather: false,
            failing: None,
        };
        stream::unfold(live, |mut live| async move {
            let stop = live.reader.feed.stop.clone();
            let events = stop.run_until_cancelled(live.next()).await??;
            Some((stream::iter(events), live))
        })
        .flatten()
    }
}

impl Live {
    /// The next events; at least one. Nothing if the client may not read on.
    async fn next(&mut self) -> Option<Vec<RecordedEvent>> {
        while (self.reader.allowed)() {
            if std::mem::take(&mut self.gather) {
                tokio::time::sleep(GATHER).await;
            }
            self.wake.clear();
            match self.step().await {
                Ok((page, more)) => {
                    if self.failing.take().is_some() {
                        tracing::info!("a live stream reads the log again");
                    }
                    if !page.events.is_empty() {
                        self.gather = !more;
                        return Some(page.events);
                    }
                    if !more {
                        self.wake.wait(self.reader.feed.poll).await;
                    }
                }
                Err(error) => {
                    if self.failing.is_none() {
                        tracing::warn!(
                            feed.after = self.reader.after.get(),
                            %error,
                            "a live stream cannot read the log; trying again"
                        );
                    }
                    let pause = self.failing.unwrap_or(FIRST_PAUSE);
                    self.failing = Some((pause * 2).min(LONGEST_PAUSE));
                    tokio::time::sleep(pause).await;
                }
            }
        }
        None
    }

    /// One read, and whether there is more already.
    async fn step(&mut self) -> Result<(EventPage, bool), Error> {
        let Reader {
            feed, filter, after, ..
        } = &mut self.reader;
        let (page, head) = feed
            .read(async {
                let head = feed.log.head().await?.position;
                Ok((feed.log.page(filter, *after, head, CHUNK).await?, head))
            })
            .await?;
        *after = page.reaches;
        let more = page.reaches < head;
        Ok((page, more))
    }
}
