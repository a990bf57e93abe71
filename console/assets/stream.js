// The live stream of events. EventSource cannot send a token, so the stream is read with fetch.
import { problemOf, reachable, send } from "./api.js";

/** Calls `onEvent` with each event of a stream of server-sent events, until it ends. */
async function read(body, onEvent) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let buffer = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    buffer += value;
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop();
    const data = blocks.flatMap((block) => block.split("\n")).filter((line) => line.startsWith("data:"));
    if (data.length > 0) onEvent(data.map((line) => JSON.parse(line.slice(5))));
  }
}

/**
 * Follows the events after a position, and reconnects after the last event that was received. Rejects if the API
 * rejects the request. Ends when the signal is aborted.
 */
export async function follow({ after, filter, signal, onEvents, onOpen }) {
  while (!signal.aborted) {
    try {
      const parameters = new URLSearchParams({ after, ...filter });
      const answer = await send(`/events/stream?${parameters}`, { signal });
      if (!answer.ok) throw await problemOf(answer);
      onOpen(true);
      await read(answer.body, (events) => {
        after = events.at(-1).position;
        onEvents(events);
      });
    } catch (error) {
      if (signal.aborted) return;
      if (error.status && error.status !== 503) throw error;
    }
    onOpen(false);
    await reachable();
  }
}
