// The checks of the configuration, as `patients check` makes them.
import { html, useLoaded } from "../html.js";
import { get, reconnects } from "../api.js";
import { number, t } from "../i18n.js";
import { Badge, Loading, Table, Time, Title } from "../ui.js";

/** The severities, the worst first, with the kind of their badges. */
const LEVELS = { error: "bad", warning: "warn", ok: "good" };
const ORDER = Object.keys(LEVELS);

export function Checks() {
  const loaded = useLoaded((signal) => get("/checks", { signal }), [reconnects.use()]);
  const { findings = [], errors, warnings, checked_at } = loaded.data ?? {};
  const rows = findings.map((finding, index) => ({ ...finding, index }));
  rows.sort((one, other) => ORDER.indexOf(one.level) - ORDER.indexOf(other.level) || one.index - other.index);
  // The texts of the service are in English.
  const english = (text) => text && html`<span lang="en">${text}</span>`;
  return html`
    <${Title} actions=${html`<button type="button" disabled=${loaded.loading}
      onClick=${loaded.reload}>${t(loaded.loading ? "checks.busy" : "checks.again")}</button>`}>${t("page.checks")}<//>
    <p class="muted">${t("checks.text")}</p>
    <${Loading} of=${loaded}>
      <p role="status"><${Badge} kind=${errors ? "bad" : warnings ? "warn" : "good"}>${t("checks.found", {
        errors: number(errors ?? 0), warnings: number(warnings ?? 0) })}<//> <${Time} value=${checked_at} /></p>
      <${Table} caption=${t("page.checks")} rows=${rows} keyOf=${({ index }) => index} columns=${[
        [t("state"), ({ level }) => html`<${Badge} kind=${LEVELS[level]}>${t(`checks.${level}`)}<//>`, "state"],
        [t("checks.subject"), ({ subject }) => html`<code>${subject}</code>`, "wide"],
        [t("checks.message"), ({ message }) => english(message)],
        [t("advice"), ({ advice }) => english(advice)],
      ]} />
    <//>`;
}
