// The timeline of a patient: what happened, who did it, and the patient as of any moment.
import { html, useLoaded, useState } from "../html.js";
import { get, page, pause, Problem, query, reconnects } from "../api.js";
import { day, t } from "../i18n.js";
import { link } from "../router.js";
import { session } from "../session.js";
import { DETAILS } from "../details.js";
import { Proof, useVerified } from "../events.js";
import { Badge, explain, Facts, Id, Loading, Table, Time, Title, usePages } from "../ui.js";

const PAGE = 1000;

/** Reads every page of a list. */
async function all(path, values, signal) {
  const rows = [];
  for (let next = query({ limit: PAGE, ...values }); next; ) {
    const read = await page(path, next, { signal });
    rows.push(...read.rows);
    next = read.next;
  }
  return rows;
}

/** Reads the events of a patient as stored. Everything about them that the page shows comes from what is verified. */
async function load(id, signal) {
  const read = await all("/events", { aggregate_id: id }, signal);
  const stored = read.filter(({ aggregate_id }) => aggregate_id === id.toLowerCase());
  if (stored.length === 0) throw new Problem(404, { type: "/problems/patient-not-found", detail: t("patient.none") });
  return stored;
}

/** Returns the entries of the timeline: events with what they changed, and gaps where the service left events out. */
function entriesOf(stored) {
  const entries = [];
  let details = {};
  let sequence = 0;
  for (const event of stored) {
    if (event.sequence > sequence + 1) entries.push({ gap: [sequence + 1, event.sequence - 1] });
    sequence = event.sequence;
    const payload = event.opened ?? event.payload;
    let changes = null;
    if (event.event_type === "PatientAmended" && !payload.erased) {
      const changed = DETAILS.filter((name) => name in payload);
      changes = changed.map((name) => ({ name, from: details[name], to: payload[name] }));
    }
    details = { ...details, ...payload };
    entries.push({ event, payload, changes });
  }
  return entries;
}

/** What an event changed. */
function Changes({ payload, changes }) {
  if (payload.erased) return html`<p><${Badge}>${t("state.erased")}<//> ${t("event.erased")} <${Time}
    value=${payload.erased} /></p>`;
  if (changes) {
    const value = ({ from, to }) => html`<del><bdi>${from}</bdi></del> <span
      aria-hidden="true">→</span> <ins><bdi>${to}</bdi></ins>`;
    return html`<${Facts} of=${changes.map((change) => [t(change.name), value(change)])} />`;
  }
  const { until, reason, scope } = payload;
  return html`<${Facts} of=${[
    ...DETAILS.map((name) => [t(name), payload[name]]),
    [t("until"), until && day(until)],
    [t("reason"), reason && t(`reason.${reason}`)],
    [t("scope"), scope && t(`scope.${scope}`)],
  ]} />`;
}

/** Milliseconds for which the slider must rest, because each past state that is read is recorded. */
const REST = 300;

/** The patient as of the moment that the slider selects. */
function AsOf({ id, events }) {
  // -1 is before the first event.
  const [index, setIndex] = useState(events.length - 1);
  const event = events[index];
  const [moved, setMoved] = useState(false);
  const state = useLoaded(
    async (signal) => {
      if (!event) return undefined;
      if (moved) await pause(REST, signal);
      return get(`/patients/${id}/history/${event.sequence}`, { signal });
    },
    [event?.sequence],
  );
  const erased = state.error instanceof Problem && state.error.status === 410;
  const [when, setWhen] = useState("");
  const move = (value) => {
    setMoved(true);
    setIndex(value);
  };
  const slide = (value) => {
    setWhen("");
    move(value);
  };
  const choose = (value) => {
    setWhen(value);
    // The field and the times on the page have whole seconds. An event belongs to the second that the page shows.
    const nextSecond = new Date(value).getTime() + 1000;
    if (!Number.isNaN(nextSecond)) move(events.findLastIndex(({ recorded_at }) => new Date(recorded_at).getTime() < nextSecond));
  };
  const shown = () => {
    if (!event) return html`<p>${t("as-of.before")}</p>`;
    const heading = html`<p><strong>${t(`event.${event.event_type}`)}</strong>, <${Time} value=${event.recorded_at} /> <span
      class="muted">(${index + 1}/${events.length})</span></p>`;
    if (erased) return html`${heading}<p><${Badge}>${t("state.erased")}<//> ${explain(state.error)}</p>`;
    return html`${heading}<${Loading} of=${state}>
      ${state.data?.sequence === event.sequence ? html`<${Facts} of=${[
        [t("state"), html`<${Badge}
          kind=${state.data.state === "active" ? "good" : "neutral"}>${t(`state.${state.data.state}`)}<//>`],
        ...DETAILS.map((name) => [t(name), state.data[name]]),
      ]} />` : state.loading && html`<p class="muted">${t("loading")}</p>`}
    <//>`;
  };
  return html`<section class="card" aria-labelledby="as-of">
    <h2 id="as-of">${t("as-of")}</h2>
    <div class="slider">
      <label for="moment">${t("as-of.slider")}</label>
      <input id="moment" type="range" min="0" max=${events.length - 1} step="1" value=${Math.max(0, index)} list="moments"
        aria-valuetext=${event ? `${index + 1}/${events.length}: ${t(`event.${event.event_type}`)}` : t("as-of.before")}
          onInput=${(input) => slide(Number(input.target.value))} />
      <datalist id="moments">${events.map((_, n) => html`<option value=${n}></option>`)}</datalist>
      <label for="when">${t("as-of.moment")}</label>
      <input id="when" type="datetime-local" step="1" value=${when} onInput=${(input) => choose(input.target.value)} />
    </div>
    <div aria-live="polite">${shown()}</div>
  </section>`;
}

/** Who read the data of the patient, the newest first. */
function ReadsOfPatient({ id }) {
  const load = (next, signal) => page(`/patients/${id}/reads`, next ?? query({ order: "desc", limit: 100 }), { signal });
  const reads = usePages(load, undefined, [id, reconnects.use()]);
  const columns = [
    [t("when"), (row) => html`<${Time} value=${row.recorded_at} />`, "time"],
    [t("actor"), (row) => row.actor],
    [t("read.kind"), (row) => t(`read.${row.kind}`)],
    [t("request"), (row) => html`<code>${row.request_id}</code>`, "wide"],
  ];
  return html`<${Loading} of=${reads}>
    <${Table} caption=${t("patient.reads")} columns=${columns} rows=${reads.rows} keyOf=${(row) => row.id} />
    ${reads.more}
  <//>`;
}

/** The reads of the patient, which are read when a person opens them. */
function Readers({ id }) {
  const [opened, setOpened] = useState(false);
  return html`<details class="card" onToggle=${({ target }) => setOpened((before) => before || target.open)}>
    <summary>${t("patient.reads")}</summary>
    ${opened && html`<${ReadsOfPatient} id=${id} />`}
  </details>`;
}

export function Timeline({ id }) {
  const loaded = useLoaded((signal) => load(id, signal), [id, reconnects.use()]);
  const stored = loaded.data ?? [];
  const results = useVerified(stored);
  const mayRead = session.get().roles.has("clerk") || session.get().roles.has("auditor");
  const entry = ({ event, gap, ...changed }) => {
    if (gap) return html`<li key="gap ${gap[0]}" class="card"><${Proof} result=${{ state: "bad", why: "verify.missing",
      from: gap[0], to: gap[1] }} /></li>`;
    return html`<li key=${event.position} class="card ${event.event_type}">
      <h3>${t(`event.${event.event_type}`)}</h3>
      <p class="muted small"><${Time}
        value=${event.recorded_at} /> · ${t("by")} <bdi>${event.metadata.actor ?? "–"}</bdi></p>
      <${Changes} ...${changed} />
      <p><${Proof} result=${results.get(event)} /></p>
      <details><summary>${t("event.more")}</summary>
        <${Facts} of=${[
          [t("position"), event.position],
          [t("sequence"), event.sequence],
          [t("request"), html`<code>${event.metadata.request_id}</code>`],
          [t("hash"), html`<code>${event.hash}</code>`],
        ]} />
      </details>
    </li>`;
  };
  return html`
    <${Title} actions=${mayRead && html`<a class="button"
      href=${link("patients", id)}>${t("patient")}</a>`}>${t("patient.history")}<//>
    <p><${Id} value=${id} /></p>
    <${Loading} of=${loaded}>
      <${AsOf} key=${stored.length} id=${id} events=${stored} />
      <section aria-labelledby="events">
        <h2 id="events">${t("events")}</h2>
        <p class="muted small">${t("verify.text")} <a href="#/checkpoints">${t("page.checkpoints")}</a></p>
        <ol class="timeline" reversed>${entriesOf(stored).toReversed().map(entry)}</ol>
      </section>
      <${Readers} id=${id} />
    <//>`;
}
