// The emails, by state, with retries.
import { html, useLoaded, useState } from "../html.js";
import { get, page, Problem, query, reconnects, request } from "../api.js";
import { number, t } from "../i18n.js";
import { go, link, UUID } from "../router.js";
import { Badge, Confirm, Failure, Field, Loading, Table, Time, Title, usePages, usePolling } from "../ui.js";

const STATES = ["pending", "sending", "failed", "dead", "sent", "cancelled"];
const KINDS = { sent: "good", dead: "bad", failed: "warn" };

export const MailState = ({ state }) => html`<${Badge} kind=${KINDS[state]}>${t(`mail.${state}`)}<//>`;

/** Opens the emails about an event, or lists the emails to a patient. */
function Search() {
  const [text, setText] = useState("");
  const [patient, setPatient] = useState(null);
  const [errors, setErrors] = useState([]);
  const submit = (event) => {
    event.preventDefault();
    const sought = text.trim().toLowerCase();
    if (/^[1-9]\d*$/.test(sought)) return go("mail", sought);
    const isId = UUID.test(sought);
    setErrors(isId ? [] : [t("mail.search.malformed")]);
    return setPatient(isId ? sought : null);
  };
  return html`<form role="search" class="inline" onSubmit=${submit} novalidate>
      <${Field} label=${t("mail.search")} hint=${t("mail.search.hint")} errors=${errors} spellcheck="false" autocomplete="off"
        value=${text} onInput=${(event) => setText(event.target.value)} />
      <button disabled=${!text.trim()}>${t("search")}</button>
    </form>
    ${patient && html`<${MailsOf} key=${patient} patient=${patient} />`}`;
}

function MailsOf({ patient }) {
  const load = (next, signal) => page("/mail/deliveries", next ?? query({ limit: 100, patient_id: patient }), { signal });
  const mails = usePages(load, undefined, [reconnects.use()]);
  return html`<section class="card" aria-labelledby="mails-of"><h2 id="mails-of">${t("mail.to")} <code>${patient}</code></h2>
    <${Loading} of=${mails}>
      ${mails.rows.length === 0 ? html`<p class="muted" role="status">${t("mail.to.none")}</p>` :
        html`<${Deliveries} rows=${mails.rows} />`}
      ${mails.more}
    <//>
  </section>`;
}

function Deliveries({ rows, selected, onSelect }) {
  const columns = [
    [t("event"), (row) => html`<a href=${link("mail", row.id)}>${row.id}</a>`, "slim"],
    [t("mail.kind"), (row) => t(`template.${row.mail}`)],
    [t("state"), (row) => html`<${MailState} state=${row.state} />`],
    [t("attempts"), (row) => number(row.attempts), "slim"],
    [t("mail.error"), (row) => row.last_error && html`<span class="small">${row.last_error}</span>`],
    [t("changed"), (row) => html`<${Time} value=${row.updated_at} />`, "time"],
  ];
  if (onSelect) {
    columns.unshift([t("select"), (row) => html`<input type="checkbox"
      aria-label="${t("select")} ${row.id} ${t(`template.${row.mail}`)}" checked=${selected.has(row.id)}
        onChange=${() => onSelect(row.id)} />`, "slim"]);
  }
  return html`<${Table} caption=${t("page.mail")} columns=${columns} rows=${rows}
    keyOf=${(row) => `${row.id} ${row.mail}`} />`;
}

export function Mail() {
  const [state, setState] = useState("");
  const [selected, setSelected] = useState(new Set());
  const [asked, setAsked] = useState(null);
  const [said, setSaid] = useState("");
  const round = reconnects.use();
  const status = useLoaded((signal) => get("/mail", { signal }), [round]);
  const list = usePages((next, signal) => page("/mail/deliveries", next ?? query({ limit: 100, state }), { signal }), undefined, [state, round]);
  usePolling(status, 3000);
  const counts = status.data?.mails;
  const retryable = ["dead", "failed"].includes(state);
  const select = (id) => setSelected((before) => new Set(before.has(id) ? [...before].filter((one) => one !== id) : [...before, id]));
  const choose = (next) => {
    setState(next);
    setSelected(new Set());
  };
  const again = () => {
    status.reload();
    list.reload();
  };
  const retry = async (ids, signal) => {
    let due = 0;
    for (const id of ids) {
      try {
        due += (await (await request(`/mail/deliveries/${id}/retry`, { method: "POST", signal })).json()).due;
      } catch (error) {
        // Another person has retried the email, or it was sent.
        if (!(error instanceof Problem && error.status === 409)) throw error;
      }
    }
    setSaid(t("mail.due", { count: due }));
    setSelected(new Set());
    again();
  };
  const retryAll = async (signal) => {
    const { due } = await (await request("/mail/dead/retry", { method: "POST", signal })).json();
    setSaid(t("mail.due", { count: due }));
    again();
  };
  return html`
    <${Title} actions=${html`<button type="button" onClick=${again}>${t("refresh")}</button>`}>${t("page.mail")}<//>
    <${Failure} error=${status.error} />
    ${status.data && html`<section class="card" aria-labelledby="mailers"><h2 id="mailers">${t("mailers")}</h2>
      ${status.data.mailers.length === 0 && html`<p class="muted">${t("overview.no-mailer")}</p>`}
      <ul class="plain">${status.data.mailers.map((mailer) => html`<li key=${mailer.name}>
        <${Badge} kind=${{ ready: "good", refused: "bad" }[mailer.state] ?? "warn"}>${t(`mailer.${mailer.state}`)}<//> <bdi>${mailer.server}</bdi>
        <span class="small muted"> <bdi>${mailer.name}</bdi>, <${Time} value=${mailer.seen_at} /></span>${mailer.error &&
          html`<p class="small">${mailer.error}</p>`}
      </li>`)}</ul>
    </section>`}
    <${Search} />
    <div class="tabs" role="group" aria-label=${t("state")}>
      ${["", ...STATES].map((name) => html`<button type="button" key=${name} aria-pressed=${String(state === name)}
        onClick=${() => choose(name)}>
        ${name ? t(`mail.${name}`) : t("all")}${name && counts ? html` <span
          class="count">${number(counts[name])}</span>` : ""}
      </button>`)}
    </div>
    <p role="status" class="said">${said}</p>
    <${Loading} of=${list}>
      ${retryable && list.rows.length > 0 && html`<div class="actions start">
        <button type="button" disabled=${selected.size === 0}
          onClick=${() => setAsked("some")}>${t("mail.retry.some", { count: selected.size })}</button>
        ${state === "dead" && html`<button type="button" onClick=${() => setAsked("all")}>${t("mail.retry.all")}</button>`}
      </div>`}
      ${list.rows.length === 0 ? html`<p class="muted">${t("mail.none")}</p>` : html`<${Deliveries} rows=${list.rows}
        selected=${selected} onSelect=${retryable ? select : undefined} />`}
      ${list.more}
    <//>
    ${asked === "some" && html`<${Confirm} danger=${false} title=${t("mail.retry.title")}
      text=${t("mail.retry.text", { count: selected.size })} verb=${t("mail.retry")} action=${(signal) => retry([...selected], signal)}
        onClose=${() => setAsked(null)} />`}
    ${asked === "all" && html`<${Confirm} danger=${false} title=${t("mail.retry.title")}
      text=${t("mail.retry.text", { count: number(counts?.dead ?? 0) })} verb=${t("mail.retry")} action=${retryAll}
        onClose=${() => setAsked(null)} />`}`;
}
