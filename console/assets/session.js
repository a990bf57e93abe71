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

/** Returns the roles of a token, or null if the service does not accept the token. */
async function rolesOf(token) {
  // Headers cannot contain other characters.
  if (token && !/^[\x21-\x7e]+$/.test(token)) return null;
  const probe = async ([method, path, body]) => (await send(path, { method, body, as: token })).status;
  const [first, ...others] = Object.values(PROBES);
  const statuses = [await probe(first)];
  // An invalid token is sent only once, because the service counts invalid tokens.
  if (statuses[0] !== 401) statuses.push(...(await Promise.all(others.map(probe))));
  if (statuses.includes(401)) return null;
  // The service rejected the request before it looked at the role, or a proxy answered.
  const passing = statuses.find((status) => [429, 502, 504].includes(status));
  if (passing) throw new Problem(passing, passing === 429 ? { type: "/problems/too-many-requests" } : {});
  return new Set(Object.keys(PROBES).filter((_, index) => statuses[index] !== 403));
}

async function begin() {
  const token = sessionStorage.getItem(TOKEN);
  await request("/health/live");
  const roles = await rolesOf(token);
  if (roles) {
    setToken(token);
    session.set({ state: "in", roles, open: !token });
  } else if (token) {
    sessionStorage.removeItem(TOKEN);
    await begin();
  } else session.set({ state: "out", roles: new Set(), open: false });
}

/** Starts with the token of this tab, or without a token. Repeats the start if it fails. */
export async function start() {
  while (session.get().state === "starting") {
    try {
      await begin();
    } catch (error) {
      session.set({ ...session.get(), error });
      await pause(1000 * Math.max(error.retryAfter ?? 0, 5));
    }
  }
}

/** Signs in with a token. Returns whether the service accepts the token. */
export async function signIn(token) {
  const roles = await rolesOf(token);
  if (!roles) return false;
  sessionStorage.setItem(TOKEN, token);
  setToken(token);
  session.set({ state: "in", roles, open: false });
  waiting?.resolve();
  waiting = null;
  return true;
}

/** Whether a person has signed out on this page, so that the next person is probably another one. */
export const hasSignedOut = () => Boolean(history.state?.signedOut);

/** Forgets the token and everything that was read: the page is loaded again. */
export function signOut() {
  sessionStorage.clear();
  history.replaceState({ signedOut: true }, "", location.pathname);
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
