// Requests to the API. The console uses the documented routes only.
import { shared } from "./html.js";

/** Whether the service can be reached: `{ up, retryAt }`. */
export const connection = shared({ up: true, retryAt: 0 });
/** Counts the times that the service became reachable again. Pages reload their data when it changes. */
export const reconnects = shared(0);

/** The highest position that this tab has written. Lists wait for it, so that they include the tab's own writes. */
let written = 0;
let token = null;
/** Asks the person to sign in again. Resolves when a new token is set. */
let signInAgain = async () => {
  throw new Problem(401, {});
};

export const setToken = (value) => (token = value);
export const onUnauthorized = (ask) => (signInAgain = ask);

/** An error response of the API (RFC 9457). */
export class Problem extends Error {
  constructor(status, body, headers) {
    super(body.detail ?? body.title ?? `HTTP ${status}`);
    this.status = status;
    this.slug = (body.type ?? "").split("/").pop();
    this.errors = body.errors ?? [];
    this.body = body;
    this.requestId = headers?.get("x-request-id");
    this.etag = headers?.get("etag");
    this.retryAfter = Number(headers?.get("retry-after")) || 0;
  }
}

/** The service cannot be reached, or did not say whether it made a change. */
export class Unreachable extends Error {}

/** A change was rejected with 401, and somebody has signed in since. It may be another person. */
export class SignedInAgain extends Error {}

/** Returns the URL of a path of the API, also below a path prefix of a proxy. */
const urlOf = (path) => new URL(path.slice(1), document.baseURI);

/** Settles as a promise, or rejects when the signal is aborted. */
const orAborted = (promise, signal) =>
  new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal?.removeEventListener("abort", stop));
  });

export const pause = (milliseconds, signal) => orAborted(new Promise((resolve) => setTimeout(resolve, milliseconds)), signal);

/** Sends a request once, whatever its status. Rejects if no response arrives. */
export function send(path, { method = "GET", headers = {}, body, signal, as = token } = {}) {
  const all = new Headers(headers);
  if (as) all.set("authorization", `Bearer ${as}`);
  if (body !== undefined) {
    if (!all.has("content-type")) all.set("content-type", "application/json");
    body = JSON.stringify(body);
  }
  return fetch(urlOf(path), { method, headers: all, body, signal, cache: "no-store", redirect: "error" });
}

let waiting = null;
/** Waits until the service answers again, and asks at growing intervals. */
function reachable() {
  waiting ??= (async () => {
    for (let delay = 500; ; delay = Math.min(delay * 2, 10_000)) {
      connection.set({ up: false, retryAt: Date.now() + delay });
      await pause(delay);
      try {
        const answer = await fetch(urlOf("/health/live"), { cache: "no-store" });
        if (answer.ok) break;
      } catch {
        // Still unreachable.
      }
    }
    waiting = null;
    connection.set({ up: true, retryAt: 0 });
    reconnects.set(reconnects.get() + 1);
  })();
  return waiting;
}

let signingIn = null;
/** Waits until the person has signed in again, if a token is required. */
function signedIn() {
  signingIn ??= signInAgain().finally(() => (signingIn = null));
  return signingIn;
}

/** Statuses after which the same request can succeed a little later. 502 and 504 come from proxies. */
const PASSING = [429, 502, 503, 504];

/** Returns the seconds until a request may be repeated, or null. The first repetition is number 1. */
function secondsUntil(repetition, { status, slug, retryAfter }) {
  // The first request with this key is still in progress, and its response is wanted.
  if (slug === "request-in-progress") return repetition <= 10 ? Math.max(retryAfter, 1) : null;
  if (!PASSING.includes(status) || repetition > 3 || retryAfter > 5) return null;
  return Math.max(retryAfter, 2 ** (repetition - 1));
}

/**
 * Sends a request and returns its successful response. Requests that may be repeated are repeated when the service
 * is reachable again. After a 401, a read waits until the person has signed in again. A change is rejected then, so
 * that nobody makes the change of another person. If the signal is aborted, the request is not sent again. With
 * `repeat: false`, it is not sent again after an error response.
 *
 * Rejects with a {@link Problem}, {@link Unreachable} or {@link SignedInAgain}.
 */
export async function request(path, options = {}) {
  const { method = "GET", signal, headers = {}, repeat = true } = options;
  const repeatable = method === "GET" || Boolean(headers["idempotency-key"]);
  for (let repetition = 1; ; ) {
    // A token that is no longer accepted is not sent again, because the service counts invalid tokens.
    if (signingIn) await orAborted(signingIn, signal);
    signal?.throwIfAborted();
    const sent = token;
    let answer;
    try {
      answer = await send(path, options);
    } catch (error) {
      if (signal?.aborted) throw error;
      const back = reachable();
      if (!repeatable) throw new Unreachable();
      await orAborted(back, signal);
      continue;
    }
    if (answer.ok) {
      if (method !== "GET") written = Math.max(written, Number(answer.headers.get("event-position")) || 0);
      return answer;
    }
    if (answer.status === 401) {
      if (sent === token) await orAborted(signedIn(), signal);
      if (method !== "GET") throw new SignedInAgain();
      continue;
    }
    const problem = await problemOf(answer);
    const seconds = repeatable && repeat ? secondsUntil(repetition, problem) : null;
    // Behind a proxy, the service may have made the change.
    if (seconds === null) throw [502, 504].includes(problem.status) && method !== "GET" ? new Unreachable() : problem;
    await pause(1000 * seconds, signal);
    repetition += 1;
  }
}

export async function problemOf(answer) {
  const body = await answer.json().catch(() => ({}));
  return new Problem(answer.status, body, answer.headers);
}

/** Returns the JSON of a successful `GET`. */
export const get = async (path, options) => (await request(path, options)).json();

/** Returns a page of a list, with the query of the next page if there is one. */
export async function page(path, query, options) {
  const answer = await request(`${path}?${query}`, options);
  const next = /<[^>]*\?([^>]*)>;\s*rel="next"/.exec(answer.headers.get("link") ?? "");
  return { rows: await answer.json(), next: next?.[1], position: Number(answer.headers.get("event-position")) || 0 };
}

/** Returns a query string of the values that are not empty. */
export const query = (values) =>
  new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "" && value != null)).toString();

/** Headers of a list that must include what this tab has written. */
export const readOwnWrites = () => (written > 0 ? { "min-position": String(written) } : {});

export const newKey = () => {
  // `randomUUID` exists only in secure contexts.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
};
