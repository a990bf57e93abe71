//! Stream without an end: the existing events, then each new event.

use std::time::Duration;

use eventstore::{Error, Wake};
use futures::{Stream, StreamExt, stream};

use super::event::FeedPage;
use super::{CHUNK, FeedEvent, Reader};

/// Pause after a read that reached the head. Under load, events accumulate during the pause, so a stream that
/// keeps up reads at most 20 times a second.
const GATHER: Duration = Duration::from_millis(50);
/// Pause after a failed read. It doubles with each failure, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

struct Live {
    reader: Reader,
    wake: Wake,
    gather: bool,
    /// Pause after the next failure, if the last read failed.
    failing: Option<Duration>,
}

impl Reader {
    /// Streams every event after the reader's position, each as soon as it is recorded. The stream ends when
    /// the feed is closed or the client is no longer authorized. While the database is unavailable, the
    /// stream waits without skipping events.
    pub(crate) fn live(self) -> impl Stream<Item = FeedEvent> {
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
    /// Waits for the next events, and returns at least one event. Returns `None` if the client is no longer
    /// authorized.
    async fn next(&mut self) -> Option<Vec<FeedEvent>> {
        while (self.reader.allowed)() {
            if std::mem::take(&mut self.gather) {
                tokio::time::sleep(GATHER).await;
            }
            self.wake.clear();
            match self.step().await {
                Ok((page, more)) => {
                    if self.failing.take().is_some() {
                        tracing::info!("a live stream can read the log again");
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
                            "a live stream cannot read the log; retrying"
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

    /// Reads one page. Also returns whether more events are already available.
    async fn step(&mut self) -> Result<(FeedPage, bool), Error> {
        let Reader {
            feed, filter, after, ..
        } = &mut self.reader;
        let (page, head) = feed
            .read(async {
                let head = feed.log.head().await?.position;
                Ok((
                    FeedPage::read(&feed.log, filter, *after, head, CHUNK).await?,
                    head,
                ))
            })
            .await?;
        *after = page.reaches;
        let more = page.reaches < head;
        Ok((page, more))
    }
}
