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

/**
 * Verifies events as stored: new events, events that no checkpoint covered before, and all events again whenever the
 * auditor trusts something else. Returns the results by position.
 */
export function useVerified(events) {
  const [results, setResults] = useState(new Map());
  const trusted = trust.use();
  const latest = useRef();
  latest.current = events;
  useEffect(() => {
    let current = true;
    const known = new Map();
    const isOpen = ({ position }) => !known.has(position) || known.get(position).why === "verify.not-covered";
    (async () => {
      while (current) {
        const open = latest.current.filter(isOpen);
        const tell = (position, result) => known.set(position, result);
        try {
          await verify(open, tell);
        } catch (error) {
          open.forEach(({ position }) => tell(position, { state: "unknown", text: explain(error) }));
        }
        if (current && open.length > 0) setResults(new Map(known));
        await pause(latest.current.some((event) => !known.has(event.position)) || open.length === 0 ? 250 : 2000);
      }
    })();
    return () => (current = false);
  }, [trusted]);
  return results;
}

/** The result of the verification of an event. The text says what the color says. */
export function Proof({ result }) {
  if (!result) return html`<${Badge}>${t("verify.checking")}<//>`;
  const { state, why, text, size } = result;
  const kind = { good: "good", bad: "bad" }[state] ?? "neutral";
  return html`<span class="proof"><${Badge} kind=${kind}>${t(`verify.${state}`)}<//> <span
    class="small muted">${text ?? t(why, { size })}</span></span>`;
}
