// The export of all events as a file.
import { html, useRef, useState } from "../html.js";
import { request } from "../api.js";
import { number, percent, t } from "../i18n.js";
import { persist } from "../stream.js";
import { Dialog, download, Failure, useAction } from "../ui.js";

/** Characters of the export that are kept as text. The rest is in blobs, which browsers can move to the disk. */
const BUFFERED = 1_000_000;

/** What was read of the log. It outlasts interruptions, because each response continues where the last one ended. */
class Copy {
  after = 0;
  count = 0;
  /** The position at which the export ends. */
  end = null;
  parts = [];
  #text = "";

  get complete() {
    return this.end !== null && this.after >= this.end;
  }

  add(lines) {
    this.after = JSON.parse(lines.at(-1)).position;
    this.count += lines.length;
    this.#text += `${lines.join("\n")}\n`;
    if (this.#text.length > BUFFERED) this.flush();
  }

  flush() {
    this.parts.push(new Blob([this.#text]));
    this.#text = "";
  }
}

/** Reads a response into a copy. Rejects if it ends before its first event. */
async function read(copy, signal, tell) {
  const begun = copy.after;
  const answer = await request(`/events?after=${begun}`, { headers: { accept: "application/x-ndjson" }, signal });
  const end = answer.headers.get("event-position");
  if (!end) throw new TypeError("The response is not from the service.");
  copy.end ??= Number(end);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    let rest = "";
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
      const lines = (rest + chunk.value).split("\n");
      rest = lines.pop();
      if (lines.length === 0) continue;
      copy.add(lines);
      tell();
    }
  } catch (broken) {
    // The next request continues after the last complete line.
    if (signal.aborted || copy.after === begun) throw broken;
  }
  if (copy.after === begun && !copy.complete) throw new TypeError("The response has ended without an event.");
}

/** Exports all events as NDJSON, and continues after interruptions. */
export function Export({ onClose }) {
  const copy = useRef();
  copy.current ??= new Copy();
  const [progress, setProgress] = useState(null);
  const tell = (more) => setProgress({ after: copy.current.after, count: copy.current.count, end: copy.current.end, ...more });
  const { run, busy, error } = useAction(async (signal) => {
    while (!copy.current.complete) {
      await persist(() => read(copy.current, signal, tell), (interruption) => tell({ interruption }), signal);
    }
    copy.current.flush();
    download("events.ndjson", copy.current.parts, "application/x-ndjson");
    tell({ done: true });
  });
  const part = percent(progress?.end ? progress.after / progress.end : 1);
  return html`<${Dialog} title=${t("export")} onClose=${onClose}>
    <p>${t("export.text")}</p>
    <div role="status">
      ${progress?.end != null && html`<p>${t(progress.done ? "export.done" : "export.progress", { count: number(progress.count), part })}</p>
        <progress aria-label=${t("export")} max=${progress.end || 1} value=${progress.after}></progress>`}
    </div>
    <${Failure} error=${error ?? progress?.interruption} />
    <div class="actions">
      <button type="button" onClick=${onClose}>${t(progress?.done ? "close" : "cancel")}</button>
      ${!progress?.done && html`<button type="button" class="primary" disabled=${busy}
        onClick=${run}>${t("export.start")}</button>`}
    </div>
  <//>`;
}
