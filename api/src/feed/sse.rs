//! Wire format of server-sent events.
//!
//! A blank line ends an event, and some clients treat every blank line as an event, even an empty one. Blank
//! lines therefore follow events only. The line `retry` belongs to the first event, but is sent as soon as
//! the stream begins. A comment is a separate line.

use std::time::Duration;

use axum::body::Bytes;
use eventstore::Position;
use futures::{Stream, StreamExt, stream};
use serde::Serialize;
use tokio::time::timeout;

/// Time that a client waits before it reconnects, in milliseconds.
const RETRY: &[u8] = b"retry: 1000\n";
const HEARTBEAT: &[u8] = b":\n";
/// Time without other data before a heartbeat is sent.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// Encodes events and their positions as the chunks of a response body.
pub(crate) fn frames<E: Serialize>(
    events: impl Stream<Item = (Position, E)>,
) -> impl Stream<Item = serde_json::Result<Bytes>> {
    let start = stream::once(async { Ok(Bytes::from_static(RETRY)) });
    let frames = stream::try_unfold(Box::pin(events), |mut events| async move {
        let frame = match timeout(HEARTBEAT_INTERVAL, events.next()).await {
            Ok(Some((position, event))) => frame(position, &event)?,
            Ok(None) => return Ok(None),
            Err(_) => Bytes::from_static(HEARTBEAT),
        };
        Ok(Some((frame, events)))
    });
    start.chain(frames)
}

fn frame(position: Position, event: &impl Serialize) -> serde_json::Result<Bytes> {
    let mut frame = format!("id: {position}\ndata: ").into_bytes();
    // The JSON is a single line, because line feeds within strings are escaped.
    serde_json::to_writer(&mut frame, event)?;
    frame.extend_from_slice(b"\n\n");
    Ok(frame.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Three events. The first and the last follow a long silence.
    fn events() -> impl Stream<Item = (Position, serde_json::Value)> {
        stream::iter([40, 0, 50])
            .enumerate()
            .then(|(number, seconds)| async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                let position = Position::new(number as u64 + 1).unwrap();
                (position, json!({"text": "one\nline", "number": number}))
            })
    }

    #[tokio::test(start_paused = true)]
    async fn every_blank_line_ends_an_event_and_the_first_event_has_the_retry() {
        let frames: Vec<_> = frames(events()).map(Result::unwrap).collect().await;
        let heartbeats = frames.iter().filter(|frame| frame.as_ref() == HEARTBEAT);
        assert_eq!(heartbeats.count(), 2 + 3);
        let text = String::from_utf8(frames.concat()).unwrap();
        let blocks: Vec<_> = text.split_terminator("\n\n").collect();
        assert_eq!(blocks.len(), 3, "{text}");
        for (number, block) in blocks.iter().enumerate() {
            let fields: Vec<_> = block.lines().filter(|line| !line.starts_with(':')).collect();
            let mut expected = vec![
                format!("id: {}", number + 1),
                format!("data: {}", json!({"text": "one\nline", "number": number})),
            ];
            if number == 0 {
                expected.insert(0, "retry: 1000".to_owned());
            }
            assert_eq!(fields, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_hears_something_at_once_and_then_every_few_seconds() {
        let frames = frames(stream::pending::<(Position, ())>());
        tokio::pin!(frames);
        let start = tokio::time::Instant::now();
        assert_eq!(frames.next().await.unwrap().unwrap().as_ref(), RETRY);
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..3 {
            let next = timeout(HEARTBEAT_INTERVAL * 2, frames.next()).await.unwrap();
            assert_eq!(next.unwrap().unwrap().as_ref(), HEARTBEAT);
        }
    }
}
