// The record of reads: who read what, and when, the newest first.
import { html, useState } from "../html.js";
import { page, query, reconnects } from "../api.js";
import { t } from "../i18n.js";
import { errorsByField } from "../details.js";
import { link } from "../router.js";
import { Field, Loading, Table, Time, Title, usePages } from "../ui.js";

export function Reads() {
  const [actor, setActor] = useState("");
  const [patient, setPatient] = useState("");
  const first = query({ order: "desc", limit: 100, actor: actor.trim(), patient_id: patient.trim() });
  const reads = usePages((next, signal) => page("/audit/reads", next ?? first, { signal }), undefined, [first, reconnects.use()]);
  const errors = errorsByField(reads.error);
  const isInvalid = errors.actor || errors.patient_id;
  const columns = [
    [t("when"), (row) => html`<${Time} value=${row.recorded_at} />`, "time"],
    [t("actor"), (row) => row.actor],
    [t("read.kind"), (row) => t(`read.${row.kind}`)],
    [t("outcome"), (row) => t(`outcome.${row.outcome}`)],
    [t("patient"), (row) => row.patient_id && html`<a
      href=${link("patients", row.patient_id, "history")}><code>${row.patient_id}</code></a>`, "wide"],
    [t("request"), (row) => html`<code>${row.request_id}</code>`, "wide"],
  ];
  return html`
    <${Title}>${t("page.reads")}<//>
    <p class="muted">${t("reads.text")}</p>
    <form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
      <${Field} label=${t("actor")} errors=${errors.actor} autocomplete="off" spellcheck="false"
        onChange=${(event) => setActor(event.target.value)} />
      <${Field} label=${t("patient.id")} errors=${errors.patient_id} autocomplete="off" spellcheck="false"
        onChange=${(event) => setPatient(event.target.value)} />
    </form>
    ${!isInvalid && html`<${Loading} of=${reads}>
      ${reads.rows.length === 0 ? html`<p class="muted" role="status">${t("reads.none")}</p>` : html`<${Table}
        caption=${t("page.reads")} columns=${columns} rows=${reads.rows} keyOf=${(row) => row.id} />`}
      ${reads.more}
    <//>`}`;
}
