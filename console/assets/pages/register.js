// Registering a patient.
import { html, useEffect, useRef, useState } from "../html.js";
import { Problem, request } from "../api.js";
import { t } from "../i18n.js";
import { go } from "../router.js";
import { Failure, Title, useAction } from "../ui.js";
import { DetailFields, EMPTY, errorsByField, useKey } from "../details.js";

export function Register() {
  const [details, setDetails] = useState(EMPTY);
  // Changed details are another registration.
  const keyOf = useKey();
  const { run, busy, error } = useAction(async (signal) => {
    const headers = { "idempotency-key": keyOf(details) };
    const created = await (await request("/register", { method: "POST", headers, body: details, signal })).json();
    signal.throwIfAborted();
    go("patients", created.id);
  });
  const invalid = error instanceof Problem && error.slug === "invalid-request";
  // The first wrong field gets the focus, so that a person can correct it at once.
  const form = useRef();
  useEffect(() => form.current.querySelector("[aria-invalid=true]")?.focus(), [error]);
  const submit = (event) => {
    event.preventDefault();
    run();
  };
  return html`
    <${Title}>${t("page.register")}<//>
    <form class="card" ref=${form} onSubmit=${submit} novalidate>
      <${DetailFields} details=${details} onChange=${setDetails} errors=${errorsByField(error)} />
      ${invalid ? html`<p class="error" role="alert">${t("register.invalid")}</p>` : html`<${Failure} error=${error} />`}
      <div class="actions">
        <a class="button" href="#/patients">${t("cancel")}</a>
        <button class="primary" disabled=${busy}>${t("register")}</button>
      </div>
    </form>`;
}
