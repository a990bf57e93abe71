// Requests to the API. The console uses the public routes only.
import { shared } from "./html.js";

/** Whether the service can be reached: `{ up, retryAt }`. */
export const connection = shared({ up: true, retryAt: 0 });
/** Counts the times that the service became reachable again. Pages reload their data when it changes. */
export const reconnects = shared(0);

/** The highest position that this tab has written. Lists wait for it, so that they include the tab's own writes. */
let written = 0;
let token = null;
/** Asks the person to sign in again. Resolves when a new token is set. */
let signInAgain = () => Promise.reject(new Problem(401, {}));

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

/** The service cannot be reached. */
export class Unreachable extends Error {}

/** Returns the URL of a path of the API, also below a path prefix of a proxy. */
const urlOf = (path) => new URL(path.slice(1), document.baseURI);

export const pause = (milliseconds, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });

/** Sends a request once, whatever its status. Rejects if no response arrives. */
export function send(path, { method = "GET", headers = {}, body, signal } = {}) {
  const all = new Headers(headers);
  if (token) all.set("authorization", `Bearer ${token}`);
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

/**
 * Sends a request and returns its successful response. Requests that may be repeated are repeated when the service
 * is reachable again. After a 401, the request waits until the person has signed in again.
 *
 * Rejects with a {@link Problem} or {@link Unreachable}.
 */
export async function request(path, options = {}) {
  const { method = "GET", signal, headers = {} } = options;
  const repeatable = method === "GET" || Boolean(headers["idempotency-key"]);
  for (let attempt = 1; ; attempt += 1) {
    let answer;
    try {
      answer = await send(path, options);
    } catch (error) {
      if (signal?.aborted) throw error;
      const back = reachable();
      if (!repeatable) throw new Unreachable();
      await back;
      signal?.throwIfAborted();
      continue;
    }
    if (answer.ok) {
      if (method !== "GET") written = Math.max(written, Number(answer.headers.get("event-position")) || 0);
      return answer;
    }
    if (answer.status === 401) {
      await signInAgain();
      signal?.throwIfAborted();
      continue;
    }
    const problem = await problemOf(answer);
    // A read, or a registration with its key, may simply be repeated a little later.
    if (repeatable && [429, 503].includes(problem.status) && attempt < 4 && problem.retryAfter <= 5) {
      await pause(1000 * Math.max(problem.retryAfter, 1), signal);
      continue;
    }
    throw problem;
  }
}

async function problemOf(answer) {
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
