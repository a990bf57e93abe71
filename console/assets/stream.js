// The live stream of events. EventSource cannot send a token, so the stream is read with fetch.
import { pause, Problem, query, request } from "./api.js";

/** Calls `onEvents` with the events of a stream of server-sent events, as they arrive, until it ends. */
async function read(body, onEvents) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let buffer = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    buffer += value;
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop();
    const data = blocks.flatMap((block) => block.split("\n")).filter((line) => line.startsWith("data:"));
    if (data.length > 0) onEvents(data.map((line) => JSON.parse(line.slice(5))));
  }
}

/**
 * Follows the events after a position, and reconnects after the last event that was received. Rejects with a
 * {@link Problem} if the API rejects the request. Ends when the signal is aborted.
 */
export async function follow({ after, filter, signal, onEvents, onOpen }) {
  while (!signal.aborted) {
    try {
      const answer = await request(`/events/stream?${query({ after, ...filter })}`, { signal });
      onOpen(true);
      await read(answer.body, (events) => {
        after = events.at(-1).position;
        onEvents(events);
      });
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem) throw error;
      // The connection was lost. The next request waits until the service is reachable.
    }
    onOpen(false);
    await pause(500);
  }
}
