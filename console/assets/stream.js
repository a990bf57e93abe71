// The live stream of events. EventSource cannot send a token, so the stream is read with fetch.
import { pause, Problem, request } from "./api.js";

/** Milliseconds without any bytes after which a connection counts as broken. The service sends a comment every 15 s. */
const SILENCE = 40_000;
/** Milliseconds between attempts at most. */
const LONGEST = 30_000;

/** Whether an error can pass. Errors of broken connections are TypeErrors. */
const canPass = (error) => (error instanceof Problem ? error.status === 429 || error.status >= 500 : error instanceof TypeError);

/** Returns what an action returns. Repeats the action at growing intervals after errors that can pass. */
export async function persist(action, onError, signal) {
  for (let delay = 1000; ; delay = Math.min(delay * 2, LONGEST)) {
    try {
      return await action();
    } catch (error) {
      if (signal.aborted || !canPass(error)) throw error;
      onError(error);
      await pause(Math.max(delay, 1000 * (error.retryAfter ?? 0)), signal);
    }
  }
}

/** Returns the JSON objects of a response that has one in each line, as they arrive. */
export async function* objects(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
    const lines = (rest + chunk.value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}

/** Calls `onEvents` with the events of a stream of server-sent events, until it ends. `onBytes` is called before. */
async function read(body, onBytes, onEvents) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let buffer = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    onBytes();
    buffer += value;
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop();
    const data = blocks.flatMap((block) => block.split("\n")).filter((line) => line.startsWith("data:"));
    if (data.length > 0) onEvents(data.map((line) => JSON.parse(line.slice(5))));
  }
}

/**
 * Follows the events after a position. Reconnects after the last event that was received: at once after a stream has
 * ended, and at growing intervals after errors that can pass. Calls `onOpen` with whether the stream is open, and with
 * the error if there is one. Rejects with other errors. Ends when the signal is aborted.
 */
export async function follow({ after, filter, signal, onEvents, onOpen }) {
  for (let delay = 0; !signal.aborted; ) {
    const silent = new AbortController();
    let timer;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silent.abort(), SILENCE);
    };
    try {
      const parameters = new URLSearchParams({ after, ...filter });
      const answer = await request(`/events/stream?${parameters}`, { signal: AbortSignal.any([signal, silent.signal]) });
      onOpen(true);
      alive();
      await read(
        answer.body,
        () => {
          delay = 0;
          alive();
        },
        (events) => {
          after = events.at(-1).position;
          onEvents(events);
        },
      );
      onOpen(false);
    } catch (error) {
      if (signal.aborted) return;
      const isProblem = error instanceof Problem;
      if (isProblem && !canPass(error)) throw error;
      onOpen(false, isProblem ? error : undefined);
      delay = Math.max(delay, 1000 * (error.retryAfter ?? 0));
    } finally {
      clearTimeout(timer);
    }
    await pause(delay, signal).catch(() => {});
    delay = Math.min(Math.max(delay * 2, 500), LONGEST);
  }
}
