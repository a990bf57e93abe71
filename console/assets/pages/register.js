// Registering a patient.
import { html, useRef, useState } from "../html.js";
import { newKey, Problem, request } from "../api.js";
import { t } from "../i18n.js";
import { go } from "../router.js";
import { Failure, Title, useAction } from "../ui.js";
import { DetailFields, EMPTY, errorsByField } from "../details.js";

export function Register() {
  const [details, setDetails] = useState(EMPTY);
  // The key belongs to what is typed. It is kept until the registration succeeds, so a double click, or a repetition
  // after a lost response, registers one patient. Changed details are another registration.
  const key = useRef({ of: "", value: "" });
  const { run, busy, error } = useAction(async () => {
    const of = JSON.stringify(details);
    if (key.current.of !== of) key.current = { of, value: newKey() };
    const headers = { "idempotency-key": key.current.value };
    const created = await (await request("/register", { method: "POST", headers, body: details })).json();
    go("patients", created.id);
  });
  const invalid = error instanceof Problem && error.slug === "invalid-request";
  const submit = (event) => {
    event.preventDefault();
    run();
  };
  return html`
    <${Title}>${t("page.register")}<//>
    <form class="card" onSubmit=${submit} novalidate>
      <${DetailFields} details=${details} onChange=${setDetails} errors=${errorsByField(error)} />
      ${invalid ? html`<p class="error" role="alert">${t("register.invalid")}</p>` : html`<${Failure} error=${error} />`}
      <div class="actions">
        <a class="button" href="#/patients">${t("cancel")}</a>
        <button class="primary" disabled=${busy}>${t("register")}</button>
      </div>
    </form>`;
}
