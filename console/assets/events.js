// Events, as a person reads them.
import { html, useEffect, useRef, useState } from "./html.js";
import { pause } from "./api.js";
import { t } from "./i18n.js";
import { trust, verify } from "./trust.js";
import { Badge, explain } from "./ui.js";

export const TYPES = [
  "PatientRegistered",
  "PatientAmended",
  "PatientDeleted",
  "PatientErased",
  "PatientHeld",
  "PatientHoldReleased",
];

/** Milliseconds until the newest checkpoint is compared again: for open events, after an error, and otherwise. */
const [OPEN, FAILED, VERIFIED] = [2000, 10_000, 30_000];

/**
 * Verifies events as stored: new events, events that are open, and all events again whenever the auditor trusts
 * something else. A result belongs to the object that was read, so an event that is read again is verified again.
 * Returns the results by event.
 */
export function useVerified(events) {
  const [results, setResults] = useState({ known: new WeakMap() });
  const trusted = trust.use();
  const latest = useRef();
  latest.current = events;
  useEffect(() => {
    const abort = new AbortController();
    const { signal } = abort;
    const known = new WeakMap();
    const isOpen = (event) => known.get(event)?.open ?? true;
    const tell = (event, result) => known.set(event, { open: false, ...result });
    (async () => {
      let failed = false;
      for (let last = 0; !signal.aborted; await pause(250)) {
        const all = latest.current;
        const isNew = all.some((event) => !known.has(event));
        const interval = failed ? FAILED : all.some(isOpen) ? OPEN : VERIFIED;
        if (all.length === 0 || (!isNew && (document.hidden || Date.now() - last < interval))) continue;
        failed = false;
        try {
          await verify(all, isOpen, tell, signal);
        } catch (error) {
          failed = true;
          const unknown = { state: "unknown", text: explain(error), open: true };
          all.filter((event) => !known.has(event)).forEach((event) => tell(event, unknown));
        }
        last = Date.now();
        if (!signal.aborted) setResults({ known });
      }
    })();
    return () => abort.abort();
  }, [trusted]);
  return results.known;
}

/** The result of the verification of an event. The text says what the color says. */
export function Proof({ result }) {
  if (!result) return html`<${Badge}>${t("verify.checking")}<//>`;
  const { state, why, text, ...values } = result;
  const kind = { good: "good", bad: "bad" }[state] ?? "neutral";
  return html`<span class="proof"><${Badge} kind=${kind}>${t(`verify.${state}`)}<//> <span
    class="small muted">${text ?? t(why, values)}</span></span>`;
}
