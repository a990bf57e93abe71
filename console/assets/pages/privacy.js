// Erasures that are due, holds, and the erasure and hold of a patient.
import { html, useLoaded, useState } from "../html.js";
import { get, page, Problem, query, reconnects, request } from "../api.js";
import { day, has, t } from "../i18n.js";
import { go, link, UUID } from "../router.js";
import { Badge, Confirm, download, Facts, Failure, Field, Id, Loading, Table, Time, Title, useAction, usePages, usePolling } from "../ui.js";

const ERASURE_REASONS = ["request", "retention", "error"];
const HOLD_REASONS = ["legal_claim", "legal_obligation", "public_health", "research"];

/** Returns the answer, or null if there is none (404 or 410 with one of these problems). */
async function optional(path, none, signal) {
  try {
    return await get(path, { signal });
  } catch (error) {
    if (error instanceof Problem && none.includes(error.slug)) return null;
    throw error;
  }
}

const load = async (id, signal) => {
  const [hold, erasure] = await Promise.all([
    optional(`/patients/${id}/hold`, ["not-held", "patient-erased"], signal),
    optional(`/patients/${id}/erasure`, ["not-erased"], signal),
  ]);
  return { hold, erasure };
};

/** Reads a list until it has some rows, because a page can be empty although more pages follow. */
async function filled(path, next, signal) {
  const rows = [];
  do {
    const read = await page(path, next, { signal });
    rows.push(...read.rows);
    next = read.next;
  } while (next && rows.length === 0);
  return { rows, next };
}

/** A list of patients, by id. `section` is the beginning of the keys of its texts. */
function List({ path, section, columns }) {
  const list = usePages((next, signal) => filled(path, next ?? query({ limit: 100 }), signal), undefined, [reconnects.use()]);
  const patient = [t("patient"), ({ id }) => html`<a href=${link("privacy", id)}><code>${id}</code></a>`, "wide"];
  return html`<section class="card" aria-labelledby=${section}><h2 id=${section}>${t(section)}</h2>
    <p class="muted small">${t(`${section}.text`)}</p>
    <${Loading} of=${list}>
      ${list.rows.length === 0 ? html`<p class="muted" role="status">${t(`${section}.none`)}</p>` : html`<${Table}
        caption=${t(section)} columns=${[patient, ...columns]} rows=${list.rows} keyOf=${({ position }) => position} />`}
      ${list.more}
    <//>
  </section>`;
}

const Due = () =>
  html`<${List} path="/erasures/due" section="due" columns=${[
    [t("due.deleted"), ({ deleted_at }) => html`<${Time} value=${deleted_at} />`, "time"],
    [t("due.since"), ({ due_at }) => html`<${Time} value=${due_at} />`, "time"],
    [t("hold"), ({ held_until }) => held_until && html`<${HoldState} expired=${false} />
      <p class="small">${t("hold.until")}: ${day(held_until)}</p>`, "state"],
  ]} />`;

const Holds = () =>
  html`<${List} path="/holds" section="holds" columns=${[
    [t("hold.until"), ({ until }) => day(until)],
    [t("reason"), ({ reason }) => t(`reason.${reason}`)],
    [t("state"), ({ expired }) => html`<${HoldState} expired=${expired} />`, "state"],
    [t("when"), ({ held_at }) => html`<${Time} value=${held_at} />`, "time"],
  ]} />`;

const HoldState = ({ expired }) =>
  html`<${Badge} kind=${expired ? "neutral" : "warn"}>${t(expired ? "hold.expired" : "hold.active")}<//>`;

function Choose() {
  const [id, setId] = useState("");
  const [errors, setErrors] = useState([]);
  const submit = (event) => {
    event.preventDefault();
    const sought = id.trim().toLowerCase();
    if (UUID.test(sought)) go("privacy", sought);
    else setErrors([t("patient.id.malformed")]);
  };
  return html`<${Title}>${t("page.privacy")}<//>
    <p class="muted">${t("privacy.text")}</p>
    <form class="card inline" role="search" onSubmit=${submit} novalidate>
      <${Field} label=${t("patient.id")} errors=${errors} spellcheck="false" autocomplete="off" required value=${id}
        onInput=${(event) => setId(event.target.value)} />
      <button class="primary">${t("open")}</button>
    </form>
    <${Due} />
    <p class="muted small">${t("privacy.due")} <code>patients erase --due</code></p>
    <${Holds} />`;
}

function Hold({ id, hold, onChange }) {
  const [until, setUntil] = useState(hold?.until ?? "");
  const [reason, setReason] = useState(hold?.reason ?? HOLD_REASONS[0]);
  const [releasing, setReleasing] = useState(false);
  const { run, busy, error } = useAction(async (signal) => {
    await request(`/patients/${id}/hold`, { method: "PUT", body: { until, reason }, signal });
    onChange();
  });
  const release = async (signal) => {
    await request(`/patients/${id}/hold`, { method: "DELETE", signal });
    onChange();
  };
  const errors = error?.errors?.filter(({ field }) => field === "until").map(({ message }) => message) ?? [];
  const submit = (event) => {
    event.preventDefault();
    run();
  };
  return html`<section class="card" aria-labelledby="hold"><h2 id="hold">${t("hold")}</h2>
    <p class="muted small">${t("hold.text")}</p>
    ${hold
      ? html`<p>
          <${HoldState} expired=${hold.expired} />
          ${" "}${t("hold.until")} ${day(hold.until)} · ${t(`reason.${hold.reason}`)}
        </p>`
      : html`<p><${Badge}>${t("hold.none")}<//></p>`}
    <form onSubmit=${submit} novalidate>
      <div class="filters">
        <${Field} type="date" label=${t("hold.until")} required errors=${errors} value=${until}
          onInput=${(event) => setUntil(event.target.value)} />
        <${Field} as="select" label=${t("reason")} value=${reason} onChange=${(event) => setReason(event.target.value)}>
          ${HOLD_REASONS.map((name) => html`<option value=${name}>${t(`reason.${name}`)}</option>`)}
        <//>
      </div>
      ${errors.length === 0 && html`<${Failure} error=${error} />`}
      <div class="actions">
        ${hold && html`<button type="button" onClick=${() => setReleasing(true)}>${t("hold.release")}</button>`}
        <button class="primary" disabled=${busy}>${t(hold ? "hold.replace" : "hold.place")}</button>
      </div>
    </form>
    ${releasing && html`<${Confirm} title=${t("hold.release")} text=${t("hold.release.text")} verb=${t("hold.release")}
      action=${release} onClose=${() => setReleasing(false)} />`}
  </section>`;
}

function Erase({ id, onChange }) {
  const [reason, setReason] = useState(ERASURE_REASONS[0]);
  const [asked, setAsked] = useState(false);
  const [typed, setTyped] = useState("");
  const erase = async (signal) => {
    if (typed.trim() !== id.slice(-4)) throw new Error(t("erase.mistyped"));
    await request(`/patients/${id}/erasure`, { method: "POST", body: { reason }, signal });
    onChange();
  };
  return html`<section class="card" aria-labelledby="erase"><h2 id="erase">${t("erase")}</h2>
    <p class="muted small">${t("erase.text")}</p>
    <${Field} as="select" label=${t("reason")} value=${reason} onChange=${(event) => setReason(event.target.value)}>
      ${ERASURE_REASONS.map((name) => html`<option value=${name}>${t(`reason.${name}`)}</option>`)}
    <//>
    <div class="actions"><button type="button" class="danger"
      onClick=${() => setAsked(true)}>${t("erase.verb")}</button></div>
    ${asked && html`<${Confirm} title=${t("erase.title")} text=${t("erase.confirm")} verb=${t("erase.verb")} action=${erase}
      onClose=${() => setAsked(false)}>
      <p><code>${id}</code></p>
      <${Field} label=${t("erase.type")} autocomplete="off" spellcheck="false" value=${typed}
        onInput=${(event) => setTyped(event.target.value)} />
    <//>`}
  </section>`;
}

/** Returns the name of a part that is not destroyed yet. Read tables have their own names. */
const nameOf = (part) => (has(`pending.${part}`) ? t(`pending.${part}`) : part);

function Erasure({ id, erasure }) {
  const { run, busy, error } = useAction(async (signal) => {
    const certificate = await (await request(`/patients/${id}/erasure/certificate`, { signal })).text();
    download(`erasure-${id}.json`, [certificate], "application/json");
  });
  return html`<section class="card" aria-labelledby="erasure"><h2 id="erasure">${t("erasure")}</h2>
    <p aria-live="polite"><${Badge}
      kind=${erasure.complete ? "good" : "warn"}>${t(erasure.complete ? "erasure.complete" : "erasure.pending")}<//> ${erasure.pending.map(nameOf).join(", ")}</p>
    <${Facts} of=${[
      [t("when"), html`<${Time} value=${erasure.erased_at} />`],
      [t("reason"), t(`reason.${erasure.reason}`)],
      [t("scope"), t(`scope.${erasure.scope}`)],
      [t("position"), erasure.position],
      [t("erasure.clear"), erasure.positions_in_clear.join(", ")],
    ]} />
    <${Failure} error=${error} />
    <div class="actions"><button type="button" disabled=${busy || !erasure.complete}
      onClick=${run}>${t("certificate")}</button></div>
  </section>`;
}

function PrivacyOf({ id }) {
  const loaded = useLoaded((signal) => load(id, signal), [id, reconnects.use()]);
  const { hold, erasure } = loaded.data ?? {};
  usePolling(loaded, 2000, erasure?.complete === false);
  return html`
    <${Title}>${t("patient.privacy")}<//>
    <p><${Id} value=${id} /></p>
    <${Loading} of=${loaded}>
      ${loaded.data && erasure && html`<${Erasure} ...${{ id, erasure }} />`}
      ${loaded.data && !erasure && html`<${Hold} key=${hold?.position} ...${{ id, hold }}
        onChange=${loaded.reload} /><${Erase} id=${id} onChange=${loaded.reload} />`}
    <//>`;
}

export const Privacy = ({ id }) => (id ? html`<${PrivacyOf} id=${id} />` : html`<${Choose} />`);
