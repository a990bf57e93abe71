// The log, live: filtered by type, patient and actor, with an export.
import { html, useEffect, useState } from "../html.js";
import { connection, get, page, query, request } from "../api.js";
import { number, percent, t } from "../i18n.js";
import { link } from "../router.js";
import { follow, persist } from "../stream.js";
import { Proof, TYPES, useVerified } from "../events.js";
import { Badge, Dialog, download, Facts, Failure, Field, Time, Title, useAction } from "../ui.js";

/** Events that the page shows at most. */
const SHOWN = 200;
/** Events before the present end that the page begins with. */
const BEFORE = 50;

/** Returns the position after which the page begins: a little before the end of the log. */
async function beginning(filter, wanted, signal) {
  // All events of one patient are few.
  if (filter.aggregate_id) return 0;
  const ready = await get("/health/ready", { signal, repeat: false }).catch((error) => {
    if (error.body?.position === undefined) throw error;
    return error.body;
  });
  if (!filter.type) return Math.max(0, ready.position - wanted);
  // Events of one type can be rare, so the page looks further back until there are enough.
  const limit = Math.min(wanted, 1000);
  for (let span = wanted; ; span *= 8) {
    const after = Math.max(0, ready.position - span);
    const { rows } = await page("/events", query({ ...filter, after, limit }), { signal });
    if (after === 0 || rows.length >= limit) return after;
  }
}

/** Follows the log with a filter. `older` says whether there are events before those that are shown. */
function useLive(filter, wanted) {
  const [state, setState] = useState({ events: [], open: false, older: false });
  const key = JSON.stringify([filter, wanted]);
  useEffect(() => {
    const abort = new AbortController();
    const { signal } = abort;
    const change = (next) => signal.aborted || setState((old) => ({ ...old, ...next(old) }));
    const most = Math.max(SHOWN, wanted);
    const add = (events) =>
      change((old) => {
        const all = [...old.events, ...events];
        return { events: all.slice(-most), older: old.older || all.length > most };
      });
    setState({ events: [], open: false, older: false });
    (async () => {
      const after = await persist(() => beginning(filter, wanted, signal), (error) => change(() => ({ error })), signal);
      change(() => ({ older: after > 0 }));
      await follow({ after, filter, signal, onOpen: (open, error) => change(() => ({ open, error })), onEvents: add });
    })().catch((error) => change(() => ({ error, open: false })));
    return () => abort.abort();
  }, [key]);
  return state;
}

/** Characters of the export that are kept as text. The rest is in blobs, which browsers can move to the disk. */
const BUFFERED = 1_000_000;

/** Exports all events as NDJSON, and continues after an interruption. */
function Export({ onClose }) {
  const [progress, setProgress] = useState(null);
  const { run, busy, error } = useAction(async (signal) => {
    const parts = [];
    let text = "";
    let [after, end, count] = [0, null, 0];
    while (end === null || after < end) {
      const begun = after;
      const answer = await request(`/events?after=${after}`, { headers: { accept: "application/x-ndjson" }, signal });
      end ??= Number(answer.headers.get("event-position"));
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      try {
        for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
          const lines = (rest + chunk.value).split("\n");
          rest = lines.pop();
          if (lines.length === 0) continue;
          after = JSON.parse(lines.at(-1)).position;
          count += lines.length;
          text += `${lines.join("\n")}\n`;
          if (text.length > BUFFERED) {
            parts.push(new Blob([text]));
            text = "";
          }
          setProgress({ after, end, count });
        }
      } catch (broken) {
        // The next request continues after the last complete line.
        if (signal.aborted) throw broken;
      }
      if (after === begun && after < end) throw new TypeError("The response has ended without an event.");
    }
    download("events.ndjson", [...parts, text], "application/x-ndjson");
    setProgress({ after, end, count, done: true });
  });
  const part = percent(progress?.end ? progress.after / progress.end : 1);
  return html`<${Dialog} title=${t("export")} onClose=${onClose}>
    <p>${t("export.text")}</p>
    <div role="status">
      ${progress && html`<p>${t(progress.done ? "export.done" : "export.progress", { count: number(progress.count), part })}</p>
        <progress aria-label=${t("export")} max=${progress.end || 1} value=${progress.after}></progress>`}
    </div>
    <${Failure} error=${error} />
    <div class="actions">
      <button type="button" onClick=${onClose}>${t(progress?.done ? "close" : "cancel")}</button>
      ${!progress?.done && html`<button type="button" class="primary" disabled=${busy}
        onClick=${run}>${t("export.start")}</button>`}
    </div>
  <//>`;
}

const summary = ({ opened, payload }) => {
  const { type, name, ...rest } = opened ?? payload;
  if (rest.erased) return html`<${Badge}>${t("state.erased")}<//>`;
  const fields = Object.keys(rest).filter((field) => field !== "sealed" && field !== "reason" && field !== "scope" && field !== "until");
  if (type === "PatientAmended") return [name && "name", ...fields].filter(Boolean).map((field) => t(field)).join(", ");
  return name ?? (rest.reason ? t(`reason.${rest.reason}`) : "");
};

export function Log() {
  const [type, setType] = useState("");
  const [patient, setPatient] = useState("");
  const [actor, setActor] = useState("");
  const [before, setBefore] = useState(BEFORE);
  const [exporting, setExporting] = useState(false);
  const id = patient.trim().toLowerCase();
  const filter = Object.fromEntries(new URLSearchParams(query({ type, aggregate_id: id })));
  const { events, open, older, error } = useLive(filter, before);
  const { up } = connection.use();
  const live = open && up;
  const results = useVerified(events);
  const shown = events.filter((event) => !actor || (event.metadata.actor ?? "").includes(actor)).toReversed();
  return html`
    <${Title} actions=${html`<button type="button"
      onClick=${() => setExporting(true)}>${t("export")}</button>`}>${t("page.log")}<//>
    <form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
      <${Field} as="select" label=${t("event.type")} value=${type} onChange=${(event) => setType(event.target.value)}>
        <option value="">${t("all")}</option>
        ${TYPES.map((name) => html`<option value=${name}>${t(`event.${name}`)}</option>`)}
      <//>
      <${Field} label=${t("patient.id")} spellcheck="false" autocomplete="off" value=${patient}
        onChange=${(event) => setPatient(event.target.value)} />
      <${Field} label=${t("actor")} spellcheck="false" autocomplete="off" value=${actor}
        onInput=${(event) => setActor(event.target.value)} />
    </form>
    <p role="status"><${Badge} kind=${live ? "good" : "neutral"}>${t(live ? "live" : "live.off")}<//> <span
      class="muted small">${t("log.shown", { count: shown.length })}</span></p>
    <${Failure} error=${error} />
    <ol class="log" reversed>
      ${shown.map((event) => html`<li key=${event.position} class=${event.event_type}>
        <p class="what"><span
          class="position">${event.position}</span> <strong>${t(`event.${event.event_type}`)}</strong> <bdi
            class="summary">${summary(event)}</bdi></p>
        <p class="small muted"><${Time}
          value=${event.recorded_at} /> · ${t("by")} <bdi>${event.metadata.actor ?? "–"}</bdi> · <a
            href=${link("patients", event.aggregate_id, "history")}
              aria-label="${t("patient.history")}, ${event.position}">${t("patient.history")}</a></p>
        <${Proof} result=${results.get(event)} />
        <details><summary>${t("event.more")}</summary>
          <${Facts} of=${[
            [t("patient.id"), html`<code>${event.aggregate_id}</code>`],
            [t("request"), html`<code>${event.metadata.request_id}</code>`],
            [t("hash"), html`<code>${event.hash}</code>`],
          ]} />
        </details>
      </li>`)}
    </ol>
    ${older && html`<p><button type="button" onClick=${() => setBefore(before + 100)}>${t("log.older")}</button></p>`}
    ${exporting && html`<${Export} onClose=${() => setExporting(false)} />`}`;
}
