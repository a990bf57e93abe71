// The subscriptions, and the rebuilds of projections.
import { html, useLoaded, useRef, useState } from "../html.js";
import { get, reconnects, request } from "../api.js";
import { duration, number, percent, t } from "../i18n.js";
import { Badge, Confirm, Facts, Field, Loading, Table, Time, Title, usePolling } from "../ui.js";
import { Verification } from "./verification.js";

const FINISHED = ["done", "cancelled"];

/** Estimates the remaining time of a rebuild from its progress since the page first saw it. */
function useRemaining(rebuild) {
  const first = useRef(null);
  if (first.current?.generation !== rebuild.generation) first.current = null;
  if (rebuild.position == null) return null;
  first.current ??= { generation: rebuild.generation, position: rebuild.position, at: Date.now() };
  const done = rebuild.position - first.current.position;
  const seconds = (Date.now() - first.current.at) / 1000;
  return done > 0 && seconds > 1 ? ((rebuild.head - rebuild.position) * seconds) / done : null;
}

/** A failure, with a button that skips the event if an event has caused the failure. */
function Stopped({ failure, onSkip }) {
  return html`<div class="notice bad"><p>${failure.error}</p>
    <p class="small">${t("failure.at", { position: failure.position ?? "–", attempts: failure.attempts })} <${Time}
      value=${failure.since} /></p>
    ${onSkip && failure.position != null && html`<p><button type="button"
      onClick=${() => onSkip(failure.position)}>${t("skip.event")}</button></p>`}</div>`;
}

/** Asks for what the command asks for: the position of the event, and a reason. */
function Skip({ name, position, onDone, onClose }) {
  const [typed, setTyped] = useState("");
  const [reason, setReason] = useState("");
  const [errors, setErrors] = useState([]);
  const skip = async (signal) => {
    setErrors([]);
    if (typed.trim() !== String(position)) throw new Error(t("skip.mistyped"));
    try {
      await request(`/projections/${name}/skips/${position}`, { method: "PUT", body: { reason }, signal });
    } catch (error) {
      setErrors(error.errors?.map(({ message }) => message) ?? []);
      throw error;
    }
    onDone();
  };
  return html`<${Confirm} title=${t("skip.title", { name })} text=${t("skip.text")} verb=${t("skip.event")} action=${skip}
    onClose=${onClose}>
    <p>${t("position")}: <code>${position}</code></p>
    <${Field} label=${t("skip.type")} inputmode="numeric" autocomplete="off" value=${typed}
      onInput=${(event) => setTyped(event.target.value)} />
    <${Field} label=${t("reason")} hint=${t("skip.reason")} autocomplete="off" maxlength="500" errors=${errors} value=${reason}
      onInput=${(event) => setReason(event.target.value)} />
  <//>`;
}

function Rebuild({ rebuild, onCancel, onSkip }) {
  const remaining = useRemaining(rebuild);
  const part = rebuild.head > 0 ? (rebuild.position ?? 0) / rebuild.head : 1;
  const ended = FINISHED.includes(rebuild.state);
  return html`<div class="rebuild">
    <p><span role="status"><${Badge} kind=${rebuild.state === "done" ? "good" : "neutral"}>${t(`rebuild.${rebuild.state}`)}<//></span> ${t("generation", { number: rebuild.generation })}
      ${!ended && html` · ${percent(part)}${remaining !== null &&
        html` · ${t("rebuild.remaining", { time: duration(remaining) })}`}`}</p>
    ${!ended && html`<progress max="1" value=${part} aria-label=${t("rebuild.progress")}></progress>`}
    ${rebuild.failure && html`<${Stopped} failure=${rebuild.failure} onSkip=${onSkip} />`}
    <p class="small muted">${t("rebuild.requested")} <bdi>${rebuild.requested_by}</bdi>, <${Time}
      value=${rebuild.requested_at} /></p>
    ${!ended && rebuild.replaced == null && html`<div class="actions"><button type="button"
      onClick=${onCancel}>${t("rebuild.cancel")}</button></div>`}
  </div>`;
}

function Subscription({ of: { name, position, head, lag_events, lag_seconds, owner, failure, damage, projection }, onChange }) {
  const [asked, setAsked] = useState(null);
  const [ended, setEnded] = useState(null);
  const [skipped, setSkipped] = useState(null);
  const path = projection?.rebuild && `/projections/${name}/rebuilds/${projection.rebuild.generation}`;
  // The overview has only rebuilds that are in progress. The result of the last one is read from its own route.
  const last = useRef(null);
  if (path) last.current = path;
  useLoaded(async (signal) => setEnded(last.current && !path ? await get(last.current, { signal }) : null), [path]);
  const rebuild = projection?.rebuild ?? ended;
  const begin = async (signal) => {
    const started = await (await request(`/projections/${name}/rebuild`, { method: "POST", signal })).json();
    last.current = `/projections/${name}/rebuilds/${started.generation}`;
    setEnded(started);
    onChange();
  };
  const cancel = async (signal) => {
    await request(path ?? last.current, { method: "DELETE", signal });
    onChange();
  };
  const well = !failure && !damage && owner;
  return html`<section class="card subscription" aria-labelledby="subscription-${name}" data-name=${name}>
    <div class="title"><h2 id="subscription-${name}"><code>${name}</code></h2>
      <${Badge} kind=${well ? "good" : failure || damage ? "bad" : "warn"}>${t(well ? "subscription.running" : failure || damage ? "subscription.stopped" : "subscription.no-owner")}<//></div>
    <${Facts} of=${[
      [t("position"), `${number(position)} / ${number(head)}`],
      [t("lag"), `${t("lag.events", { count: number(lag_events) })} · ${duration(lag_seconds)}`],
      [t("owner"), owner],
      projection && [t("generation.served"), projection.active_generation],
    ].filter(Boolean)} />
    ${damage && html`<p class="notice bad">${damage}</p>`}
    ${failure && html`<${Stopped} failure=${failure} onSkip=${projection && setSkipped} />`}
    ${projection?.skips.length > 0 && html`<${Table} caption=${t("skips")} keyOf=${(skip) => skip.position}
      rows=${projection.skips} columns=${[
      [t("position"), (skip) => skip.position],
      [t("reason"), (skip) => skip.reason],
      [t("actor"), (skip) => skip.skipped_by],
      [t("when"), (skip) => html`<${Time} value=${skip.skipped_at} />`, "time"],
    ]} />`}
    ${rebuild && html`<${Rebuild} rebuild=${rebuild} onCancel=${() => setAsked("cancel")} onSkip=${setSkipped} />`}
    ${projection && html`<${Verification} name=${name}>
      ${!projection.rebuild && html`<button type="button" onClick=${() => setAsked("rebuild")}>${t("rebuild")}</button>`}
    <//>`}
    ${skipped !== null && html`<${Skip} name=${name} position=${skipped} onDone=${onChange}
      onClose=${() => setSkipped(null)} />`}
    ${asked === "rebuild" && html`<${Confirm} danger=${false} title=${t("rebuild.title", { name })}
      text=${t("rebuild.text")} verb=${t("rebuild")} action=${begin} onClose=${() => setAsked(null)} />`}
    ${asked === "cancel" && html`<${Confirm} title=${t("rebuild.cancel.title", { name })} text=${t("rebuild.cancel.text")}
      verb=${t("rebuild.cancel")} action=${cancel} onClose=${() => setAsked(null)} />`}
  </section>`;
}

export function Projections() {
  const loaded = useLoaded((signal) => get("/projections", { signal }), [reconnects.use()]);
  const { subscriptions = [] } = loaded.data ?? {};
  usePolling(loaded, subscriptions.some(({ projection }) => projection?.rebuild) ? 1000 : 3000);
  return html`
    <${Title}>${t("page.projections")}<//>
    <p class="muted">${t("projections.text")}</p>
    <${Loading} of=${loaded}>${subscriptions.map((one) => html`<${Subscription} key=${one.name} of=${one}
      onChange=${loaded.reload} />`)}<//>`;
}
