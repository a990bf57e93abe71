// Routes after the `#`, so that ids of patients never reach a server's log through the address of a page.
import { shared } from "./html.js";

function parsed() {
  const segments = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean);
  try {
    return segments.map(decodeURIComponent);
  } catch {
    // No page has such a route.
    return ["%"];
  }
}

/** Matches the ids of patients. */
export const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The segments of the current route. */
export const route = shared(parsed());
addEventListener("hashchange", () => route.set(parsed()));

export const link = (...segments) => `#/${segments.map(encodeURIComponent).join("/")}`;
export const go = (...segments) => (location.hash = link(...segments));
