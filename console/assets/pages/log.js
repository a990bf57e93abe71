// The log, live: filtered by type, patient and actor, with an export.
import { html, useEffect, useRef, useState } from "../html.js";
import { get, query, request, Unreachable } from "../api.js";
import { number, percent, t } from "../i18n.js";
import { link } from "../router.js";
import { follow } from "../stream.js";
import { Proof, TYPES, useVerified } from "../events.js";
import { Badge, Dialog, download, Facts, Failure, Field, Time, Title, useAction } from "../ui.js";

/** Events that the page shows at most. */
const SHOWN = 200;
/** Events before the present end that the page begins with. */
const BEFORE = 50;

/** Follows the log with a filter. */
function useLive(filter, before) {
  const [state, setState] = useState({ events: [], open: false });
  const key = JSON.stringify([filter, before]);
  useEffect(() => {
    const abort = new AbortController();
    const { signal } = abort;
    const change = (next) => signal.aborted || setState((old) => ({ ...old, ...next(old) }));
    setState({ events: [], open: false });
    (async () => {
      const { position } = await get("/health/ready", { signal });
      // All events of one patient are few. Other events are shown from a little before the end.
      const after = filter.aggregate_id ? 0 : Math.max(0, position - before);
      await follow({
        after,
        filter,
        signal,
        onOpen: (open) => change(() => ({ open })),
        onEvents: (events) => change((old) => ({ events: [...old.events, ...events].slice(-Math.max(SHOWN, before)) })),
      });
    })().catch((error) => change(() => ({ error, open: false })));
    return () => abort.abort();
  }, [key]);
  return state;
}

/** Exports all events as NDJSON, and continues after an interruption. */
function Export({ onClose }) {
  const [progress, setProgress] = useState(null);
  const abort = useRef(new AbortController());
  useEffect(() => () => abort.current.abort(), []);
  const { run, busy, error } = useAction(async () => {
    const parts = [];
    let [after, end, count] = [0, null, 0];
    const { signal } = abort.current;
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
          parts.push(`${lines.join("\n")}\n`);
          setProgress({ after, end, count });
        }
      } catch (broken) {
        // The next request continues after the last complete line.
        if (signal.aborted) throw broken;
      }
      if (after === begun && after < end) throw new Unreachable();
    }
    download("events.ndjson", parts, "application/x-ndjson");
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
  const { events, open, error } = useLive(filter, before);
  const results = useVerified(events);
  const shown = events.filter((event) => !actor || (event.metadata.actor ?? "").includes(actor)).toReversed();
  const older = !id && events.length > 0 && events[0].position > 1;
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
    <p role="status"><${Badge} kind=${open ? "good" : "neutral"}>${t(open ? "live" : "live.off")}<//> <span
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
        <${Proof} result=${results.get(event.position)} />
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
