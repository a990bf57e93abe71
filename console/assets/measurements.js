// Measurements of the last hour, for operators. The page keeps them itself, so the charts need no other program.
import { shared } from "./html.js";
import { get, request } from "./api.js";

const KEPT = "console.measurements";
const INTERVAL = 10_000;
const HOUR = 3_600_000;

/** Reads the samples of a page in the OpenMetrics format: `{ name, labels, value }`. */
export function parseMetrics(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const [, name, labels = "", value] = /^([a-z_]+)(?:\{(.*)\})? (\S+)/.exec(line) ?? [];
    if (!name) continue;
    const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, text]) => [key, text]);
    samples.push({ name, labels: Object.fromEntries(pairs), value: Number(value) });
  }
  return samples;
}

const sum = (samples, name, fits = () => true) =>
  samples.filter((sample) => sample.name === name && fits(sample.labels)).reduce((total, { value }) => total + value, 0);
const most = (samples, name) => samples.filter((sample) => sample.name === name).reduce((high, { value }) => Math.max(high, value), 0);

const REQUESTS = "patients_http_request_duration_seconds_count";
const WAITING = ["pending", "sending", "failed"];

/** Returns what is measured at one time. `requests` and `failed` are totals, and the other values are current. */
function measured(samples) {
  return {
    at: Date.now(),
    requests: sum(samples, REQUESTS),
    failed: sum(samples, REQUESTS, ({ status }) => status >= "500"),
    position: most(samples, "patients_log_position"),
    queue: sum(samples, "patients_append_queue_waiting"),
    lag: most(samples, "patients_subscription_lag_events"),
    lagSeconds: most(samples, "patients_subscription_lag_seconds"),
    waiting: sum(samples, "patients_mail_deliveries", ({ state }) => WAITING.includes(state)),
    oldest: most(samples, "patients_mail_oldest_waiting_seconds"),
    version: samples.find(({ name }) => name === "patients_build_info")?.labels.version,
  };
}

const stored = () => {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT));
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
};

/** The measurements of the last hour, the oldest first. */
export const measurements = shared(stored().filter(({ at }) => at > Date.now() - HOUR));

async function measure() {
  const text = await (await request("/metrics")).text();
  const kept = [...measurements.get(), measured(parseMetrics(text))].filter(({ at }) => at > Date.now() - HOUR);
  sessionStorage.setItem(KEPT, JSON.stringify(kept));
  measurements.set(kept);
}

/** Measures until the returned function is called. A measurement that fails leaves a gap in the charts. */
export function follow() {
  let busy = false;
  const once = () => {
    if (busy) return;
    busy = true;
    measure().catch(() => {}).finally(() => (busy = false));
  };
  once();
  const timer = setInterval(once, INTERVAL);
  return () => clearInterval(timer);
}

/** Whether measurements are missing before a measurement. */
const isAfterGap = (kept, index) => index > 0 && kept[index].at - kept[index - 1].at > 3 * INTERVAL;

/** Returns the points of a chart from a value of each measurement, with gaps. */
export const points = (kept, name) =>
  kept.flatMap((one, index) => [...(isAfterGap(kept, index) ? [[one.at, null]] : []), [one.at, one[name]]]);

/**
 * Returns the points of a chart of the growth of a total, per second. The growth is not known after a gap, and after a
 * restart of the service, which resets totals.
 */
export const rates = (kept, name) =>
  kept.slice(1).map((one, index) => {
    const before = kept[index];
    const unknown = isAfterGap(kept, index + 1) || one[name] < before[name];
    return [one.at, unknown ? null : (one[name] - before[name]) / ((one.at - before.at) / 1000)];
  });

/** Reads what an operator looks at first. */
export const overview = async (signal) => {
  const [ready, projections, mail] = await Promise.all([
    get("/health/ready", { signal, repeat: false }).catch((error) => error.body ?? { status: "unavailable" }),
    get("/projections", { signal }),
    get("/mail", { signal }),
  ]);
  return { ready, subscriptions: projections.subscriptions, mail };
};
