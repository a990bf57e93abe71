// The receipt of a registration: a proof that can be given to the patient.
import { html } from "./html.js";
import { request } from "./api.js";
import { t } from "./i18n.js";
import { download, Failure, useAction } from "./ui.js";

export function Receipt({ id }) {
  const { run, busy, error } = useAction(async (signal) => {
    const proof = await (await request(`/patients/${id}/receipt`, { signal })).text();
    signal.throwIfAborted();
    download(`${id}.tlog-proof`, [proof], "text/plain");
  });
  return html`<button type="button" disabled=${busy} onClick=${run}>${t("receipt")}</button><${Failure} error=${error} />`;
}
