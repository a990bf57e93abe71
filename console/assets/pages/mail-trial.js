// A preview of the emails, and a test email with the result of each step.
import { html, useLoaded, useState } from "../html.js";
import { query, request } from "../api.js";
import { t } from "../i18n.js";
import { readMessage } from "../message.js";
import { Badge, Facts, Failure, Field, Loading, Title, useAction } from "../ui.js";

const MAILS = ["patient_registered", "patient_amended", "patient_email_changed", "patient_deleted"];
const LANGUAGES = ["es,en", "es", "en", "en,es"];
const RESULTS = { passed: "good", failed: "bad" };

function Preview() {
  const [mail, setMail] = useState(MAILS[0]);
  const [language, setLanguage] = useState("");
  const loaded = useLoaded(async (signal) => (await request(`/mail/preview?${query({ mail, language })}`, { signal })).text(), [mail, language]);
  const { from, to, subject, text } = loaded.data ? readMessage(loaded.data) : {};
  return html`<section class="card" aria-labelledby="preview"><h2 id="preview">${t("preview")}</h2>
    <p class="muted small">${t("preview.text")}</p>
    <div class="filters">
      <${Field} as="select" label=${t("mail.kind")} value=${mail} onChange=${(event) => setMail(event.target.value)}>
        ${MAILS.map((name) => html`<option value=${name}>${t(`template.${name}`)}</option>`)}
      <//>
      <${Field} as="select" label=${t("language")} value=${language} onChange=${(event) => setLanguage(event.target.value)}>
        <option value="">${t("preview.default")}</option>
        ${LANGUAGES.map((name) => html`<option value=${name}>${name}</option>`)}
      <//>
    </div>
    <${Loading} of=${loaded}>
      <${Facts} of=${[[t("from"), from], [t("to"), to], [t("subject"), subject]]} />
      <pre class="message" dir="auto" tabindex="0" role="region" aria-label=${t("preview.body")}>${text}</pre>
      <details><summary>${t("source")}</summary><pre class="message" tabindex="0" role="region"
        aria-label=${t("source")}>${loaded.data}</pre></details>
    <//>
  </section>`;
}

function Trial() {
  const [to, setTo] = useState("");
  const [result, setResult] = useState(null);
  const { run, busy, error } = useAction(async (signal) => {
    setResult(null);
    setResult(await (await request("/mail/test", { method: "POST", body: { to: to.trim() }, signal })).json());
  });
  const errors = error?.errors?.filter(({ field }) => field === "to").map(({ message }) => message) ?? [];
  const submit = (event) => {
    event.preventDefault();
    run();
  };
  return html`<section class="card" aria-labelledby="trial"><h2 id="trial">${t("trial")}</h2>
    <form class="inline" onSubmit=${submit} novalidate>
      <${Field} type="email" label=${t("trial.to")} hint=${t("trial.hint")} errors=${errors} autocomplete="off" value=${to}
        onInput=${(event) => setTo(event.target.value)} />
      <button class="primary" disabled=${busy}>${t("trial.send")}</button>
    </form>
    ${errors.length === 0 && html`<${Failure} error=${error} />`}
    <div role="status">
      ${busy && html`<p class="muted">${t("trial.busy")}</p>`}
      ${result && html`<p><${Badge}
        kind=${result.sent ? "good" : "bad"}>${t(result.sent ? "trial.sent" : "trial.failed")}<//> <bdi>${result.server}</bdi></p>
        <ol class="steps">${result.steps.map(({ step, result: outcome, error: why }) => html`<li key=${step}>
          <${Badge} kind=${RESULTS[outcome]}>${t(`step.${outcome}`)}<//> <strong>${step}</strong> ${why}</li>`)}</ol>
        <${Facts} of=${[[t("mail.said"), result.said], [t("advice"), result.advice]]} />`}
    </div>
  </section>`;
}

export const MailTrial = () => html`<${Title}>${t("page.mail-test")}<//><${Trial} /><${Preview} />`;
