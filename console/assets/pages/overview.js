// The overview of an operator: whether the service is well, and the last hour.
import { html, useLoaded } from "../html.js";
import { connection, reconnects } from "../api.js";
import { duration, number, t } from "../i18n.js";
import { Chart } from "../chart.js";
import { measurements, overview, points, rates } from "../measurements.js";
import { Badge, Loading, Title, usePolling } from "../ui.js";

/** Returns the problems, each as a sentence. */
function problems({ ready, subscriptions, mail }) {
  const found = [];
  if (ready.status !== "ready") found.push(t("overview.not-ready"));
  for (const part of ["database", "append_queue", "read_table", "clock"]) {
    if (ready[part] && !["up", "open", "kept"].includes(ready[part])) found.push(`${t(`health.${part}`)}: ${t(`health.${ready[part]}`)}`);
  }
  for (const { name, failure, owner, damage, projection } of subscriptions) {
    if (damage) found.push(`${name}: ${damage}`);
    if (failure) found.push(t("overview.failing", { name, error: failure.error }));
    if (!owner) found.push(t("overview.no-owner", { name }));
    if (projection?.rebuild?.failure) found.push(t("overview.rebuild-failing", { name }));
  }
  if (mail.mails.dead > 0) found.push(t("overview.dead", { count: number(mail.mails.dead) }));
  if (mail.mailers.length === 0) found.push(t("overview.no-mailer"));
  for (const { server, state, error } of mail.mailers.filter((mailer) => mailer.state !== "ready")) {
    found.push(`${t("mail.server")} ${server}: ${t(`mailer.${state}`)}. ${error ?? ""}`);
  }
  return found;
}

const Tile = ({ name, children }) => html`<div class="tile"><dt>${name}</dt><dd>${children}</dd></div>`;

export function Overview() {
  const loaded = useLoaded(overview, [reconnects.use()]);
  const kept = measurements.use();
  usePolling(loaded, 5000);
  const last = kept.at(-1);
  const rate = rates(kept, "requests").findLast(([, value]) => value !== null)?.[1];
  // What was read before is not the state now.
  const current = connection.use().up && !loaded.error;
  const found = loaded.data ? problems(loaded.data) : [];
  const { ready, subscriptions = [], mail } = loaded.data ?? {};
  const oldest = mail?.oldest_waiting && Math.max(0, Date.now() - new Date(mail.oldest_waiting)) / 1000;
  const lag = Math.max(0, ...subscriptions.map(({ lag_events }) => lag_events));
  const perSecond = (value) => `${number(value)}/s`;
  return html`
    <${Title} actions=${last && html`<span class="muted">${t("overview.version", last)}</span>`}>${t("page.overview")}<//>
    <${Loading} of=${loaded}>
      ${ready && html`
        <section aria-label=${t("overview.state")} aria-live="polite">
          ${!current && html`<p class="verdict"><${Badge} kind="warn">${t("overview.unknown")}<//></p>`}
          ${current && found.length === 0 && html`<p class="verdict good"><${Badge} kind="good">${t("overview.well")}<//></p>`}
          ${current && found.length > 0 && html`<div class="notice warn">
                <p><strong>${t("overview.problems")}</strong></p>
                <ul>${found.map((text) => html`<li dir="auto">${text}</li>`)}</ul>
            </div>`}
        </section>
        <dl class="tiles">
          <${Tile} name=${t("overview.head")}>${number(ready.position ?? 0)}<//>
          <${Tile} name=${t("overview.rate")}>${rate == null ? "–" : perSecond(rate)}<//>
          <${Tile} name=${t("overview.queue")}>${last ? number(last.queue) : "–"}<//>
          <${Tile} name=${t("overview.lag")}>${number(lag)}<//>
          <${Tile} name=${t("overview.waiting")}>${number(mail.mails.pending + mail.mails.sending + mail.mails.failed)}<//>
          <${Tile} name=${t("overview.oldest")}>${oldest == null ? "–" : duration(oldest)}<//>
        </dl>`}
    <//>
    <section aria-labelledby="hour">
      <h2 id="hour">${t("overview.hour")}</h2>
      <p class="muted small">${t("overview.hour.text")}</p>
      <div class="charts">
        <${Chart} title=${t("chart.requests")} points=${rates(kept, "requests")} show=${perSecond} />
        <${Chart} title=${t("chart.failed")} points=${rates(kept, "failed")} show=${perSecond} />
        <${Chart} title=${t("chart.events")} points=${rates(kept, "position")} show=${perSecond} />
        <${Chart} title=${t("overview.queue")} points=${points(kept, "queue")} show=${number} />
        <${Chart} title=${t("chart.lag")} points=${points(kept, "lagSeconds")} show=${duration} />
        <${Chart} title=${t("chart.oldest")} points=${points(kept, "oldest")} show=${duration} />
      </div>
    </section>`;
}
