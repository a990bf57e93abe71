// The emails about one event, with every attempt to send them.
import { html, useLoaded, useState } from "../html.js";
import { get, reconnects, request } from "../api.js";
import { duration, number, t } from "../i18n.js";
import { Confirm, Facts, Id, Loading, Table, Time, Title, usePolling } from "../ui.js";
import { MailState } from "./mail.js";

const RETRYABLE = ["pending", "failed", "dead"];

export function Delivery({ id }) {
  const loaded = useLoaded((signal) => get(`/mail/deliveries/${encodeURIComponent(id)}`, { signal }), [id, reconnects.use()]);
  const [asked, setAsked] = useState(false);
  const { mails = [], attempts = [] } = loaded.data ?? {};
  usePolling(loaded, 2000, mails.some(({ state }) => !["sent", "dead", "cancelled"].includes(state)));
  const retry = async (signal) => {
    await request(`/mail/deliveries/${id}/retry`, { method: "POST", signal });
    loaded.reload();
  };
  const columns = [
    [t("attempt"), (row) => number(row.attempt), "slim"],
    [t("mail.kind"), (row) => t(`template.${row.mail}`)],
    [t("when"), (row) => html`<${Time} value=${row.started_at} />`, "time"],
    [t("duration"), (row) => duration((new Date(row.ended_at) - new Date(row.started_at)) / 1000)],
    [t("outcome"), (row) => t(`attempt.${row.outcome}`)],
    [t("mail.said"), (row) => row.error ?? "–", "wide"],
  ];
  return html`
    <${Title} actions=${html`<a class="button" href="#/mail">${t("page.mail")}</a>`}>${t("mail.of", { id })}<//>
    <${Loading} of=${loaded}>
      ${mails.map((mail) => html`<section class="card" key=${mail.mail} aria-labelledby=${mail.mail}>
        <div class="title"><h2 id=${mail.mail}>${t(`template.${mail.mail}`)}</h2><${MailState} state=${mail.state} /></div>
        <${Facts} of=${[
          [t("patient.id"), html`<${Id} value=${mail.patient_id} />`],
          [t("attempts"), number(mail.attempts)],
          [t("mail.error"), mail.last_error],
          [t("mail.next"), mail.next && html`<${Time} value=${mail.next} />`],
          [t("created"), html`<${Time} value=${mail.created_at} />`],
          [t("changed"), html`<${Time} value=${mail.updated_at} />`],
        ]} />
      </section>`)}
      ${mails.some(({ state }) => RETRYABLE.includes(state)) && html`<div class="actions"><button type="button"
        class="primary" onClick=${() => setAsked(true)}>${t("mail.retry")}</button></div>`}
      <section aria-labelledby="attempts"><h2 id="attempts">${t("attempts")}</h2>
        ${attempts.length === 0 ? html`<p class="muted">${t("attempts.none")}</p>` : html`<${Table} caption=${t("attempts")}
          columns=${columns} rows=${attempts} keyOf=${(row) => `${row.mail} ${row.started_at}`} />`}
      </section>
    <//>
    ${asked && html`<${Confirm} danger=${false} title=${t("mail.retry.title")} text=${t("mail.retry.one")}
      verb=${t("mail.retry")} action=${retry} onClose=${() => setAsked(false)} />`}`;
}
