//! Stream up to a known end, as newline-delimited JSON.

use axum::body::Bytes;
use eventstore::Position;
use futures::{Stream, stream};

use super::event::FeedPage;
use super::{CHUNK, Reader};

/// Reason why a stream stopped early. The connection is aborted, so that the client does not mistake an
/// incomplete response for a complete response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Incomplete {
    #[error("shutting down")]
    ShuttingDown,
    #[error("the client is no longer authorized")]
    NotAllowed,
    #[error(transparent)]
    Store(#[from] eventstore::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl Reader {
    /// Streams the events up to `end` in chunks, each event as one JSON object and a line feed. `end` must
    /// not be beyond the head. `limit` is the maximum number of events.
    pub(crate) fn lines(
        self,
        end: Position,
        limit: Option<u32>,
    ) -> impl Stream<Item = Result<Bytes, Incomplete>> {
        stream::try_unfold((self, limit), move |(mut reader, mut left)| async move {
            let read = reader.next_lines(end, &mut left).await;
            if let Err(error) = &read {
                tracing::warn!(feed.after = reader.after.get(), %error, "an export was aborted");
            }
            Ok(read?.map(|lines| (lines, (reader, left))))
        })
    }

    async fn next_lines(
        &mut self,
        end: Position,
        left: &mut Option<u32>,
    ) -> Result<Option<Bytes>, Incomplete> {
        let stop = self.feed.stop.clone();
        // With a filter, a chunk may contain no events.
        while self.after < end && *left != Some(0) {
            if !(self.allowed)() {
                return Err(Incomplete::NotAllowed);
            }
            let limit = left.map_or(CHUNK, |left| left.min(CHUNK));
            let page = FeedPage::read(&self.feed.log, &self.filter, self.after, end, limit);
            let page = stop
                .run_until_cancelled(self.feed.read(page))
                .await
                .ok_or(Incomplete::ShuttingDown)??;
            self.after = page.reaches;
            *left = left.map(|left| left.saturating_sub(u32::try_from(page.events.len()).unwrap_or(left)));
            if page.events.is_empty() {
                continue;
            }
            let mut lines = Vec::new();
            for event in &page.events {
                serde_json::to_writer(&mut lines, event)?;
                lines.push(b'\n');
            }
            return Ok(Some(lines.into()));
        }
        Ok(None)
    }
}
