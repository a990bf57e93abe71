// The time line of a patient: what happened, who did it, and the patient as of any moment.
import { html, useLoaded, useState } from "../html.js";
import { get, page, Problem, query, reconnects } from "../api.js";
import { day, t } from "../i18n.js";
import { link } from "../router.js";
import { session } from "../session.js";
import { DETAILS } from "../details.js";
import { Proof, useVerified } from "../events.js";
import { Badge, explain, Facts, Id, Loading, Table, Time, Title } from "../ui.js";

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

const load = async (id, signal) => {
  const [history, stored] = await Promise.all([all(`/patients/${id}/history`, {}, signal), all("/events", { aggregate_id: id }, signal)]);
  return { history, stored };
};

/** What an event changed. */
function Changes({ event: { payload, changes } }) {
  if (payload.erased) return html`<p><${Badge}>${t("state.erased")}<//> ${t("event.erased")} <${Time}
    value=${payload.erased} /></p>`;
  if (changes) {
    const value = ({ from, to }) => html`<del><bdi>${from}</bdi></del> <span
      aria-hidden="true">→</span> <ins><bdi>${to}</bdi></ins>`;
    return html`<${Facts} of=${DETAILS.filter((name) => changes[name]).map((name) => [t(name), value(changes[name])])} />`;
  }
  const { until, reason, scope } = payload;
  return html`<${Facts} of=${[
    ...DETAILS.map((name) => [t(name), payload[name]]),
    [t("until"), until && day(until)],
    [t("reason"), reason && t(`reason.${reason}`)],
    [t("scope"), scope && t(`scope.${scope}`)],
  ]} />`;
}

/** The patient as of the moment that the slider or the time selects. The index is -1 before the first event. */
function AsOf({ id, history }) {
  const [index, setIndex] = useState(history.length - 1);
  const event = history[index];
  const stateAt = async (signal) => event && get(`/patients/${id}/history/${event.sequence}`, { signal });
  const state = useLoaded(stateAt, [event?.sequence]);
  const erased = state.error instanceof Problem && state.error.status === 410;
  const [when, setWhen] = useState("");
  const choose = (value) => {
    setWhen(value);
    const moment = new Date(value).getTime();
    if (value) setIndex(history.findLastIndex(({ recorded_at }) => new Date(recorded_at).getTime() <= moment));
  };
  const name = event ? t(`event.${event.event_type}`) : "–";
  const place = `${index + 1}/${history.length}`;
  const shown = () => {
    if (erased) return html`<p><${Badge}>${t("state.erased")}<//> ${explain(state.error)}</p>`;
    const kind = state.data?.state === "active" ? "good" : "neutral";
    return html`<${Loading} of=${state}>
      ${state.data && html`<${Facts} of=${[
        [t("state"), html`<${Badge} kind=${kind}>${t(`state.${state.data.state}`)}<//>`],
        ...DETAILS.map((detail) => [t(detail), state.data[detail]]),
      ]} />`}
    <//>`;
  };
  return html`<section class="card" aria-labelledby="as-of">
    <h2 id="as-of">${t("as-of")}</h2>
    <div class="slider">
      <label for="moment">${t("as-of.slider")}</label>
      <input id="moment" type="range" min="0" max=${history.length - 1} step="1" value=${index} list="moments"
        aria-valuetext="${place}: ${name}"
        onInput=${(input) => setIndex(Number(input.target.value))} />
      <datalist id="moments">${history.map((_, n) => html`<option value=${n}></option>`)}</datalist>
      <label for="when">${t("as-of.moment")}</label>
      <input id="when" type="datetime-local" step="1" value=${when} onInput=${(input) => choose(input.target.value)} />
    </div>
    <div aria-live="polite">
      ${event ? html`<p><strong>${name}</strong>, <${Time} value=${event.recorded_at} /> <span class="muted">(${place})</span></p>
        ${shown()}` : html`<p>${t("as-of.before")}</p>`}
    </div>
  </section>`;
}

/** Who read the data of the patient. */
function ReadsOfPatient({ id }) {
  const loaded = useLoaded((signal) => page(`/patients/${id}/reads`, "limit=1000", { signal }), [id]);
  const columns = [
    [t("when"), (row) => html`<${Time} value=${row.recorded_at} />`, "time"],
    [t("actor"), (row) => row.actor],
    [t("read.kind"), (row) => t(`read.${row.kind}`)],
    [t("request"), (row) => html`<code>${row.request_id}</code>`, "wide"],
  ];
  return html`<details class="card"><summary>${t("patient.reads")}</summary>
    <${Loading} of=${loaded}>${loaded.data && html`<${Table} caption=${t("patient.reads")} columns=${columns}
      rows=${loaded.data.rows} keyOf=${(row) => row.id} />`}<//>
  </details>`;
}

export function Timeline({ id }) {
  const loaded = useLoaded((signal) => load(id, signal), [id, reconnects.use()]);
  const { history = [], stored = [] } = loaded.data ?? {};
  const results = useVerified(stored);
  const mayRead = session.get().roles.has("clerk") || session.get().roles.has("auditor");
  return html`
    <${Title} actions=${mayRead && html`<a class="button"
      href=${link("patients", id)}>${t("patient")}</a>`}>${t("patient.history")}<//>
    <p><${Id} value=${id} /></p>
    <${Loading} of=${loaded}>
      ${history.length > 0 && html`<${AsOf} key=${history.length} ...${{ id, history }} />
      <section aria-labelledby="events">
        <h2 id="events">${t("events")}</h2>
        <p class="muted small">${t("verify.text")} <a href="#/checkpoints">${t("page.checkpoints")}</a></p>
        <ol class="timeline" reversed>
          ${history.toReversed().map((event) => html`<li key=${event.position} class="card ${event.event_type}">
            <h3>${t(`event.${event.event_type}`)}</h3>
            <p class="muted small"><${Time}
              value=${event.recorded_at} /> · ${t("by")} <bdi>${event.metadata.actor ?? "–"}</bdi></p>
            <${Changes} event=${event} />
            <p><${Proof} result=${results.get(event.position)} /></p>
            <details><summary>${t("event.more")}</summary>
              <${Facts} of=${[
                [t("position"), event.position],
                [t("sequence"), event.sequence],
                [t("request"), html`<code>${event.metadata.request_id}</code>`],
                [t("hash"), html`<code>${event.hash}</code>`],
              ]} />
            </details>
          </li>`)}
        </ol>
      </section>`}
      <${ReadsOfPatient} id=${id} />
    <//>`;
}
