// A patient's page: details, amending with the difference shown, deleting.
import { html, useEffect, useLoaded, useRef, useState } from "../html.js";
import { Problem, reconnects, request } from "../api.js";
import { t } from "../i18n.js";
import { go, link } from "../router.js";
import { session } from "../session.js";
import { DetailFields, DETAILS, errorsByField, useKey } from "../details.js";
import { Badge, Confirm, Facts, Failure, Id, Loading, Title, useAction } from "../ui.js";
import { Receipt } from "../receipt.js";

async function load(id, signal) {
  try {
    const answer = await request(`/patients/${id}`, { signal });
    return { patient: await answer.json(), etag: answer.headers.get("etag") };
  } catch (error) {
    if (error instanceof Problem && error.status === 410) return { gone: error };
    throw error;
  }
}

/** The old and the new value of each detail that changes. */
export const Difference = ({ before, after }) => html`<table class="difference">
  <caption class="hidden">${t("amend.difference")}</caption>
  <thead><tr><th scope="col">${t("detail")}</th><th scope="col">${t("before")}</th><th
    scope="col">${t("after")}</th></tr></thead>
  <tbody>
    ${Object.keys(after).map((name) => html`<tr key=${name}>
      <th scope="row">${t(name)}</th>
      <td dir="auto"><del>${before[name]}</del></td>
      <td dir="auto"><ins>${after[name]}</ins></td>
    </tr>`)}
  </tbody>
</table>`;

function Amend({ patient, etag, onDone, onCancel, onReload }) {
  // Only what was typed is kept, so that the values of another person's change are not overwritten after a conflict.
  const [typed, setTyped] = useState({});
  const [reviewed, setReviewed] = useState(false);
  const keyOf = useKey();
  const details = { ...Object.fromEntries(DETAILS.map((name) => [name, patient[name]])), ...typed };
  const changes = Object.fromEntries(Object.entries(typed).filter(([name, value]) => value !== patient[name]));
  const { run, busy, error, cancel, clear } = useAction(async (signal) => {
    try {
      const key = keyOf(etag, changes);
      const headers = { "content-type": "application/merge-patch+json", "if-match": etag, "idempotency-key": key };
      await request(`/patients/${patient.id}`, { method: "PATCH", headers, body: changes, signal });
    } catch (error) {
      // The form keeps what was typed, and shows the messages at the fields.
      if (!signal.aborted) setReviewed(false);
      throw error;
    }
    signal.throwIfAborted();
    onDone();
  });
  // The message about a conflict stays until the current values are here.
  useEffect(() => clear(), [etag]);
  // The form and the review replace each other, so the focus must move with them.
  const [saveButton, form] = [useRef(), useRef()];
  useEffect(() => {
    const find = (selector) => form.current?.querySelector(selector);
    (saveButton.current ?? find("[aria-invalid=true]") ?? find("input"))?.focus();
  }, [reviewed]);
  const conflict = error instanceof Problem && error.status === 412;
  const review = (event) => {
    event.preventDefault();
    clear();
    setReviewed(true);
  };
  const back = () => {
    cancel();
    setReviewed(false);
  };
  if (reviewed) {
    return html`<section class="card" aria-labelledby="review">
      <h2 id="review">${t("amend.review")}</h2>
      <${Difference} before=${patient} after=${changes} />
      <div class="actions">
        <button type="button" onClick=${back}>${t("back")}</button>
        <button type="button" class="primary" ref=${saveButton} disabled=${busy} onClick=${run}>${t("save")}</button>
      </div>
    </section>`;
  }
  return html`<form class="card" ref=${form} onSubmit=${review} novalidate>
    <h2>${t("amend")}</h2>
    <${DetailFields} details=${details} onChange=${setTyped} errors=${errorsByField(error)} />
    ${conflict
      ? html`<div class="notice warn" role="alert"><p>${t("amend.conflict")}</p><button type="button"
        onClick=${onReload}>${t("amend.reload")}</button></div>`
      : error?.slug === "invalid-request" ? html`<p class="error" role="alert">${t("register.invalid")}</p>` :
        html`<${Failure} error=${error} />`}
    <div class="actions">
      <button type="button" onClick=${onCancel}>${t("cancel")}</button>
      <button class="primary" disabled=${Object.keys(changes).length === 0}>${t("amend.review")}</button>
    </div>
  </form>`;
}

export function PatientPage({ id }) {
  const loaded = useLoaded((signal) => load(id, signal), [id, reconnects.use()]);
  const [mode, setMode] = useState("read");
  const [said, setSaid] = useState("");
  const { roles } = session.get();
  const { patient, etag, gone } = loaded.data ?? {};
  const [conflict, setConflict] = useState(false);
  const remove = async (signal) => {
    setConflict(false);
    try {
      await request(`/patients/${id}`, { method: "DELETE", headers: { "if-match": etag }, signal });
    } catch (error) {
      if (error instanceof Problem && error.status === 412) {
        // The dialog shows what another person has changed, and asks again.
        loaded.reload();
        setConflict(true);
        throw new Error(t("delete.conflict"));
      }
      // Another click or another tab has already deleted the patient.
      if (!(error instanceof Problem && error.status === 410)) throw error;
    }
    setSaid(t("delete.done"));
    loaded.reload();
  };
  const amended = () => {
    setMode("read");
    setSaid(t("amend.done"));
    loaded.reload();
  };
  const ask = () => {
    setConflict(false);
    setMode("delete");
  };
  // The patient can be deleted while the dialog or the form is open, for example by a deletion whose response was lost.
  useEffect(() => {
    if (gone) setMode("read");
  }, [gone]);
  // The form is replaced with the details, so the focus returns to the button that has opened the form.
  const amendButton = useRef();
  const former = useRef(mode);
  useEffect(() => {
    if (former.current === "amend") amendButton.current?.focus();
    former.current = mode;
  }, [mode]);
  const title = patient?.name ?? (gone ? t(gone.slug === "patient-erased" ? "patient.erased" : "patient.deleted") : t("patient"));
  return html`
    <${Title} key=${title}>${title}<//>
    <p role="status" class="said">${said}</p>
    <${Loading} of=${loaded}>
      ${gone && html`<section
        class="card"><p><${Badge}>${t(gone.slug === "patient-erased" ? "state.erased" : "state.deleted")}<//></p><${Facts}
          of=${[[t("id"), html`<${Id} value=${id} />`]]} /></section>`}
      ${patient && mode !== "amend" && html`<section class="card">
        <${Facts} of=${[
          ...DETAILS.filter((name) => name !== "name").map((name) => [t(name), name === "document_url" ? html`<span
            class="url">${patient[name]}</span>` : patient[name]]),
          [t("id"), html`<${Id} value=${id} />`],
        ]} />
        ${roles.has("clerk") && html`<div class="actions">
          <button type="button" class="danger" onClick=${ask}>${t("delete")}</button>
          <button type="button" class="primary" ref=${amendButton} onClick=${() => setMode("amend")}>${t("amend")}</button>
        </div>`}
      </section>`}
      ${patient && mode === "amend" && html`<${Amend} ...${{ patient, etag }} onDone=${amended}
        onCancel=${() => setMode("read")} onReload=${loaded.reload} />`}
      <nav class="links" aria-label=${t("patient.more")}>
        ${roles.has("auditor") && html`<a class="button"
          href=${link("patients", id, "history")}>${t("patient.history")}</a>`}
        ${roles.has("privacy") && html`<a class="button" href=${link("privacy", id)}>${t("patient.privacy")}</a>`}
        <${Receipt} id=${id} />
      </nav>
    <//>
    ${patient && mode === "delete" && html`<${Confirm} title=${t("delete.title")}
      text=${t("delete.text", { name: patient.name })} verb=${t("delete")} action=${remove}
      onClose=${() => setMode("read")}>
      ${conflict && html`<${Facts} of=${DETAILS.map((name) => [t(name), patient[name]])} />`}
    <//>`}`;
}
