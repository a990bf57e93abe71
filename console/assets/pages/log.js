// The log, live: filtered by type, patient and actor, with an export.
import { html, useEffect, useRef, useState } from "../html.js";
import { connection, get, page, query } from "../api.js";
import { number, t } from "../i18n.js";
import { errorsByField } from "../details.js";
import { link } from "../router.js";
import { follow, persist } from "../stream.js";
import { Proof, TYPES, useVerified } from "../events.js";
import { Badge, Facts, Failure, Field, Time, Title } from "../ui.js";
import { Export } from "./export.js";

/** Events that the page shows at most, until a person asks for older events. */
const SHOWN = 200;
/** Events that the page looks for at first, and events that it looks for each time that a person asks for older ones. */
const [FIRST, OLDER] = [50, 100];
/** Events that a page of the API has at most. */
const PAGE = 1000;
/** Pages that one look back reads at most. The API does not filter by actor, so rare actors need many pages. */
const PAGES = 10;

/** Returns the position of the end of the log. */
async function endOfLog(signal) {
  const ready = await get("/health/ready", { signal, repeat: false }).catch((error) => {
    if (error.body?.position === undefined) throw error;
    return error.body;
  });
  return ready.position;
}

/**
 * Looks back from a position for matching events, page by page, until `wanted` events are found. Calls `tell` with the
 * events of a page, the oldest first, the position after which no event is missing, and the position up to which the page
 * covers the log.
 */
async function lookBack({ filter, matches, from, wanted, load, tell }) {
  let span = filter.type || matches ? PAGE : wanted;
  let missing = wanted;
  for (let pages = 0; from > 0 && missing > 0 && pages < PAGES; pages += 1) {
    const after = Math.max(0, from - span);
    const read = await load({ ...filter, after, limit: PAGE });
    const rows = read.rows.filter(({ position }) => position <= from);
    if (rows.length === PAGE && rows.at(-1).position < from) {
      // The page has ended too early. A span of a page never does.
      span = Math.max(PAGE, Math.floor(span / 8));
      continue;
    }
    const matching = matches ? rows.filter(matches) : rows;
    const kept = matching.slice(-missing);
    from = kept.length < matching.length ? kept[0].position - 1 : after;
    missing -= kept.length;
    tell(kept, from, read.position);
    // Events of one type can be rare.
    if (rows.length * 8 <= PAGE) span *= 8;
  }
}

/**
 * Follows the log with a filter. `events` are the matching events after the position `from`. `older` looks for events
 * before it.
 */
function useLive(filter, actor) {
  const nothing = { events: [], open: false, from: 0, looking: true };
  const [state, setState] = useState(nothing);
  const older = useRef();
  const key = JSON.stringify([filter, actor]);
  useEffect(() => {
    const abort = new AbortController();
    const { signal } = abort;
    const change = (next) => signal.aborted || setState((old) => ({ ...old, ...next(old) }));
    const matches = actor ? ({ metadata }) => (metadata.actor ?? "").includes(actor) : null;
    const patiently = (action) => persist(action, (error) => change(() => ({ error })), signal);
    let most = SHOWN;
    const add = (events) =>
      change((old) => {
        const all = [...old.events, ...(matches ? events.filter(matches) : events)];
        if (old.looking || all.length <= most) return { events: all };
        const kept = all.slice(-most);
        return { events: kept, from: kept[0].position - 1 };
      });
    const first = Promise.withResolvers();
    const tell = (found, from, covered) => {
      first.resolve(covered);
      change(({ events }) => ({ events: [...found, ...events], from, error: undefined }));
    };
    const load = (values) => patiently(() => page("/events", query(values), { signal }));
    const look = async (from, wanted) => {
      change(() => ({ looking: true }));
      await lookBack({ filter, matches, from, wanted, load, tell }).catch((error) => change(() => ({ error })));
      first.resolve(from);
      change(() => ({ looking: false }));
    };
    older.current = (from) => {
      most += OLDER;
      look(from, OLDER);
    };
    setState(nothing);
    (async () => {
      // All events of one patient are few. They come with the stream.
      const end = filter.aggregate_id ? 0 : await patiently(() => endOfLog(signal));
      change(() => ({ from: end }));
      look(end, FIRST);
      // A replica can be a little behind. The stream then begins where the first page has ended.
      const after = Math.min(end, await first.promise);
      await follow({ after, filter, signal, onOpen: (open, error) => change(() => ({ open, error })), onEvents: add });
    })().catch((error) => change(() => ({ error, open: false })));
    return () => abort.abort();
  }, [key]);
  return { ...state, older: () => older.current(state.from) };
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
  const [exporting, setExporting] = useState(false);
  const id = patient.trim().toLowerCase();
  const filter = Object.fromEntries(new URLSearchParams(query({ type, aggregate_id: id })));
  const { events, open, from, looking, older, error } = useLive(filter, actor.trim());
  const { up } = connection.use();
  const live = open && up;
  const results = useVerified(events);
  const { aggregate_id: errors } = errorsByField(error);
  return html`
    <${Title} actions=${html`<button type="button"
      onClick=${() => setExporting(true)}>${t("export")}</button>`}>${t("page.log")}<//>
    <form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
      <${Field} as="select" label=${t("event.type")} value=${type} onChange=${(event) => setType(event.target.value)}>
        <option value="">${t("all")}</option>
        ${TYPES.map((name) => html`<option value=${name}>${t(`event.${name}`)}</option>`)}
      <//>
      <${Field} label=${t("patient.id")} spellcheck="false" autocomplete="off" errors=${errors} value=${patient}
        onChange=${(event) => setPatient(event.target.value)} />
      <${Field} label=${t("actor")} spellcheck="false" autocomplete="off" value=${actor}
        onChange=${(event) => setActor(event.target.value)} />
    </form>
    <div role="status">
      <p><${Badge} kind=${live ? "good" : "neutral"}>${t(live ? "live" : "live.off")}<//> <span
        class="muted small">${t("log.shown", { count: events.length })}</span></p>
      ${looking && html`<p class="muted small">${t("log.looking")}</p>`}
      ${!looking && from > 0 && (type || actor.trim()) && html`<p class="muted small">${t("log.covers", { position: number(from) })}</p>`}
    </div>
    ${!errors && html`<${Failure} error=${error} />`}
    <ol class="log" reversed>
      ${events.toReversed().map((event) => html`<li key=${event.position} class=${event.event_type}>
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
    ${from > 0 && html`<p><button type="button" disabled=${looking} onClick=${older}>${t("log.older")}</button></p>`}
    ${exporting && html`<${Export} onClose=${() => setExporting(false)} />`}`;
}
