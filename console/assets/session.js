// Who uses this tab, and what they may do.
import { shared } from "./html.js";
import { onUnauthorized, pause, Problem, request, send, setToken } from "./api.js";

const TOKEN = "console.token";
/** An id that no patient has. */
const NOBODY = "00000000-0000-0000-0000-000000000000";
/** No event has a later position. A page after it is empty, so the read is not recorded. */
const AFTER_EVERYTHING = Number.MAX_SAFE_INTEGER;

/**
 * A request for each role that only this role may send, and that neither changes nor records anything. Only the
 * status of the response matters.
 */
const PROBES = {
  clerk: ["PATCH", `/patients/${NOBODY}`, {}],
  auditor: ["GET", `/events?limit=1&after=${AFTER_EVERYTHING}`],
  operator: ["GET", "/mail"],
  privacy: ["GET", `/patients/${NOBODY}/hold`],
};

/**
 * `state` is `starting`, `out` (a token is required), `in` or `expired` (a token is required again, and the page
 * behind the dialog keeps what was typed). `open` means that the service requires no token.
 */
export const session = shared({ state: "starting", roles: new Set(), open: false });

async function rolesOf(token) {
  setToken(token);
  const probe = async ([method, path, body]) => (await send(path, { method, body })).status;
  const [first, ...others] = Object.values(PROBES);
  const statuses = [await probe(first)];
  // An invalid token is sent only once, because the service counts invalid tokens.
  if (statuses[0] !== 401) statuses.push(...(await Promise.all(others.map(probe))));
  if (statuses.includes(401)) return null;
  if (statuses.includes(429)) throw new Problem(429, { type: "/problems/too-many-requests" });
  return new Set(Object.keys(PROBES).filter((_, index) => statuses[index] !== 403));
}

/** Starts with the token of this tab, or without a token. Tries again until the service answers. */
export async function start() {
  const token = sessionStorage.getItem(TOKEN);
  let roles;
  try {
    // Waits until the service is reachable.
    await request("/health/live");
    roles = await rolesOf(token);
  } catch {
    await pause(1000);
    return start();
  }
  if (roles) session.set({ state: "in", roles, open: !token });
  else if (token) {
    sessionStorage.removeItem(TOKEN);
    return start();
  } else session.set({ state: "out", roles: new Set(), open: false });
  return undefined;
}

/** Signs in with a token. Returns whether the service accepts the token. */
export async function signIn(token) {
  const roles = await rolesOf(token);
  if (!roles) return false;
  sessionStorage.setItem(TOKEN, token);
  session.set({ state: "in", roles, open: false });
  waiting?.resolve();
  waiting = null;
  return true;
}

/** Forgets the token and everything that was read: the page is loaded again. */
export function signOut() {
  sessionStorage.clear();
  history.replaceState(null, "", location.pathname);
  location.reload();
}

let waiting = null;
onUnauthorized(() => {
  if (!waiting) {
    waiting = Promise.withResolvers();
    session.set({ ...session.get(), state: "expired" });
  }
  return waiting.promise;
});
