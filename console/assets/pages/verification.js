// The comparison of a read table with the log.
import { html, useState } from "../html.js";
import { Problem, request } from "../api.js";
import { number, t } from "../i18n.js";
import { objects } from "../stream.js";
import { Badge, Facts, Failure, Table, useAction } from "../ui.js";

/** Compares the table of a projection. Calls `onLine` with each line of the response. */
async function compare(name, onLine, signal) {
  const answer = await request(`/projections/${name}/verify`, { method: "POST", signal });
  for await (const line of objects(answer.body)) {
    if (line.state === "failed") throw new Problem(line.problem.status, line.problem);
    onLine(line);
    if (line.state === "finished") return;
  }
  // The response ended early.
  throw new TypeError();
}

function Result({ of: found }) {
  return html`<p><${Badge} kind=${found.same ? "good" : "bad"}>${t(found.same ? "table.same" : "table.differs")}<//></p>
    <${Facts} of=${[
      [t("table.position"), number(found.position)],
      [t("table.rows"), number(found.table.rows)],
      [t("table.replayed"), found.same ? null : number(found.replay.rows)],
      [t("table.checksum"), html`<code>${found.table.checksum}</code>`],
      [t("table.skipped"), found.skipped.map(number).join(", ")],
    ]} />
    ${!found.same && html`<p>${t("table.differing", { count: number(found.differing) })}</p>
      <${Table} caption=${t("table.differs")} rows=${found.first} keyOf=${({ id }) => id} columns=${[
        [t("patient"), ({ id }) => html`<code>${id}</code>`],
        [t("table.difference"), ({ what }) => t(`difference.${what}`)],
      ]} />`}`;
}

/** The verification of a projection. The children are the other actions of the projection. */
export function Verification({ name, children }) {
  const [line, setLine] = useState(null);
  const { run, cancel, busy, error } = useAction((signal) => compare(name, setLine, signal));
  const begin = () => {
    setLine(null);
    run();
  };
  const comparing = busy && line?.state === "comparing";
  return html`
    ${comparing && html`<div class="rebuild">
      <p>${t("table.compared", { count: number(line.compared) })}</p>
      <progress max=${Math.max(line.at_most, 1)} value=${line.compared} aria-label=${t("table.progress")}></progress>
      <p class="small muted">${t("table.stay")}</p>
    </div>`}
    <div role="status">${line?.state === "finished" && html`<div class="rebuild"><${Result} of=${line} /></div>`}</div>
    <${Failure} error=${error} />
    <div class="actions">
      <button type="button" onClick=${busy ? cancel : begin}>${t(busy ? "table.cancel" : "table.verify")}</button>
      ${children}
    </div>`;
}
