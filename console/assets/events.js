// Events, as a person reads them.
import { html, useEffect, useState } from "./html.js";
import { t } from "./i18n.js";
import { trust, verify } from "./trust.js";
import { Badge, explain } from "./ui.js";

export const TYPES = ["PatientRegistered", "PatientAmended", "PatientDeleted", "PatientErased", "PatientHeld", "PatientHoldReleased"];

/** Verifies events as stored, and again whenever the auditor trusts something else. Returns the results by position. */
export function useVerified(events) {
  const [results, setResults] = useState({});
  const trusted = trust.use();
  const last = events.at(-1)?.position;
  useEffect(() => {
    let current = true;
    const tell = (position, result) => current && setResults((before) => ({ ...before, [position]: result }));
    verify(events, tell).catch((error) => events.forEach(({ position }) => tell(position, { state: "unknown", text: explain(error) })));
    return () => (current = false);
  }, [events.length, last, trusted]);
  return results;
}

/** The result of the verification of an event. The text says what the color says. */
export function Proof({ result }) {
  if (!result) return html`<${Badge}>${t("verify.checking")}<//>`;
  const { state, why, text, size } = result;
  const kind = { good: "good", bad: "bad" }[state] ?? "neutral";
  return html`<span class="proof"><${Badge} kind=${kind}>${t(`verify.${state}`)}<//> <span class="small muted">${text ?? t(why, { size })}</span></span>`;
}
