// Parts that several pages use.
import { html, useEffect, useLoaded, useRef, useState } from "./html.js";
import { connection, pause, Problem, SignedInAgain, Unreachable } from "./api.js";
import { has, t, time } from "./i18n.js";
import { session } from "./session.js";

/** Returns the sentence that explains an error to a person. The server's own text is used if there is no translation. */
export function explain(error) {
  if (error instanceof Unreachable) return t("error.unreachable");
  if (error instanceof SignedInAgain) return t("error.signed-in-again");
  // Broken connections, and responses of proxies. The texts of the browser are of no use to people.
  const isProxy = [502, 504].includes(error.status) && !error.slug;
  if (error instanceof TypeError || error instanceof SyntaxError || isProxy) return t("error.interrupted");
  if (!(error instanceof Problem)) return error.message;
  const key = `problem.${error.slug}`;
  return has(key) ? t(key, error.body) : error.message;
}

/** Returns the server's message about a field, translated if the message is known. */
export const explainField = (message) => (has(`field.${message}`) ? t(`field.${message}`) : message);

/** An error, in an alert that screen readers announce. */
export function Failure({ error }) {
  if (!error) return null;
  const { requestId } = error;
  return html`<div class="notice bad" role="alert">
    <p>${explain(error)}</p>
    ${error.errors?.length > 0 && html`<ul>${error.errors.map(({ field, message }) => html`<li><code>${field}</code>: ${explainField(message)}</li>`)}</ul>`}
    ${requestId && html`<p class="small">${t("error.request")} <code>${requestId}</code></p>`}
  </div>`;
}

/** What is shown while data is loading, and if loading fails. */
export function Loading({ of: { loading, error, data }, children }) {
  if (error && !data) return html`<${Failure} error=${error} />`;
  if (loading && !data) return html`<p class="muted" role="status">${t("loading")}</p>`;
  return html`<${Failure} error=${error} />${children}`;
}

/** The heading of a page. It gets the focus, so that screen readers announce the page. */
export function Title({ children, actions }) {
  const heading = useRef();
  useEffect(() => heading.current.focus({ preventScroll: true }), []);
  return html`<div class="title">
    <h1 tabindex="-1" dir="auto" ref=${heading}>${children}</h1>
    ${actions && html`<div class="actions">${actions}</div>`}
  </div>`;
}

let fields = 0;
/** An input with its label, its hint and the server's errors about it. */
export function Field({ label, hint, errors = [], as = "input", children, ...rest }) {
  const [id] = useState(() => `field-${(fields += 1)}`);
  const described = [hint && `${id}-hint`, errors.length > 0 && `${id}-error`].filter(Boolean).join(" ");
  return html`<div class="field">
    <label for=${id}>${label}</label>
    <${as} id=${id} aria-describedby=${described || undefined} aria-invalid=${errors.length > 0 ? "true" : undefined}
      ...${rest}>
      ${children}
    <//>
    ${hint && html`<p class="hint" id="${id}-hint">${hint}</p>`}
    ${errors.length > 0 && html`<p class="error" id="${id}-error">${errors.map(explainField).join(" ")}</p>`}
  </div>`;
}

/**
 * A dialog. The browser keeps the focus inside, and returns the focus when the dialog closes. Without `onClose`, the
 * Escape key does not close the dialog.
 */
export function Dialog({ title, onClose, children }) {
  const dialog = useRef();
  const [id] = useState(() => `dialog-${(fields += 1)}`);
  useEffect(() => {
    const element = dialog.current;
    element.showModal();
    return () => element.close();
  }, []);
  // Chromium closes a dialog at the second Escape although the event `cancel` was canceled, but not if the key was.
  const escape = (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    onClose?.();
  };
  const cancel = (event) => {
    event.preventDefault();
    onClose?.();
  };
  return html`<dialog ref=${dialog} aria-labelledby=${id} onKeyDown=${escape} onCancel=${cancel}>
    <h2 id=${id}>${title}</h2>
    ${children}
  </dialog>`;
}

/**
 * Asks before something is done. `action` returns a promise; the dialog closes when it is fulfilled. Its signal is
 * aborted when the dialog closes before.
 */
export function Confirm({ title, text, verb, action, onClose, danger = true, children }) {
  const { run, busy, error } = useAction(async (signal) => {
    await action(signal);
    signal.throwIfAborted();
    onClose();
  });
  return html`<${Dialog} title=${title} onClose=${onClose}>
    ${text && html`<p dir="auto">${text}</p>`}
    ${children}
    <${Failure} error=${error} />
    <div class="actions">
      <button type="button" onClick=${onClose}>${t("cancel")}</button>
      <button type="button" class=${danger ? "danger" : "primary"} disabled=${busy} onClick=${run}>${verb}</button>
    </div>
  <//>`;
}

/**
 * Runs an action once at a time, so that a double click does not start it twice. The action gets a signal, which is
 * aborted by `cancel` and when the component is removed, so that nothing is sent or opened later.
 */
export function useAction(action) {
  const [state, setState] = useState({});
  const running = useRef(null);
  const run = async () => {
    if (running.current) return;
    const abort = new AbortController();
    running.current = abort;
    setState({ busy: true });
    let error;
    try {
      await action(abort.signal);
    } catch (caught) {
      error = caught;
    }
    if (abort.signal.aborted) return;
    running.current = null;
    setState({ error });
  };
  const cancel = () => {
    running.current?.abort();
    running.current = null;
    setState({});
  };
  // Forgets the error of the last run.
  const clear = () => running.current || setState({});
  useEffect(() => () => running.current?.abort(), []);
  return { run, ...state, cancel, clear };
}

/** Milliseconds between two attempts to load after repeated errors, at most. */
const LONGEST_PAUSE = 60_000;

/**
 * Loads again every `milliseconds`. Not while the page is hidden or is loading, while the service cannot be reached, or
 * while the person must sign in; after errors, at growing intervals.
 */
export function usePolling(loaded, milliseconds, active = true) {
  const latest = useRef();
  latest.current = loaded;
  useEffect(() => {
    if (!active) return undefined;
    let [interval, due, failed] = [milliseconds, 0, null];
    const timer = setInterval(() => {
      const { loading, error, reload } = latest.current;
      if (document.hidden || loading || !connection.get().up || session.get().state === "expired") return;
      if (!error) interval = milliseconds;
      else if (error !== failed) {
        interval = Math.min(interval * 2, LONGEST_PAUSE);
        due = Date.now() + Math.max(interval, 1000 * (error.retryAfter ?? 0));
      }
      failed = error;
      if (!error || Date.now() >= due) reload();
    }, milliseconds);
    return () => clearInterval(timer);
  }, [milliseconds, active]);
}

/** A label for a state. The text says what the color says. */
export const Badge = ({ kind = "neutral", children, ...rest }) =>
  html`<span class="badge ${kind}" ...${rest}><span
    aria-hidden="true">${{ good: "✓", bad: "✕", warn: "!" }[kind] ?? "○"}</span> ${children}</span>`;

/** A time in the reader's zone. The exact time is in the attribute. */
export const Time = ({ value }) => (value ? html`<time datetime=${value} title=${value}>${time(value)}</time>` : "–");

/** An id, which can be copied. Browsers allow copying only over HTTPS and on this machine. */
export function Id({ value }) {
  const [copied, setCopied] = useState(false);
  const { run } = useAction(async (signal) => {
    await navigator.clipboard.writeText(value);
    setCopied(true);
    await pause(2000, signal);
    setCopied(false);
  });
  return html`<span class="id"><code>${value}</code>
    ${navigator.clipboard && html`<button type="button" class="quiet" aria-label="${t("copy")} ${value}"
      onClick=${run}>${copied ? t("copied") : t("copy")}</button>`}
  </span>`;
}

/** Names and values. Entries without a value are left out. */
export const Facts = ({ of }) =>
  html`<dl class="facts">
    ${of.filter(([, value]) => value != null &&
      value !== "").map(([name, value]) => html`<div><dt>${name}</dt><dd>${isolated(value)}</dd></div>`)}
  </dl>`;

/**
 * A table that becomes a list of cards on a narrow screen. A column has a heading, a function that returns the cell of
 * a row, and `slim` or `wide` if it is not of the usual width. The roles keep the table a table for screen readers,
 * whatever its `display`.
 */
export function Table({ caption, columns, rows, keyOf }) {
  return html`<table class="cards" role="table">
    <caption class="hidden">${caption}</caption>
    <thead role="rowgroup"><tr role="row">${columns.map(([heading, , width]) => html`<th scope="col" role="columnheader"
      class=${width}>${heading}</th>`)}</tr></thead>
    <tbody role="rowgroup">
      ${rows.map((row) => html`<tr key=${keyOf(row)} role="row">
        ${columns.map(([heading, cell]) => html`<td role="cell" data-heading=${heading}>${isolated(cell(row))}</td>`)}
      </tr>`)}
    </tbody>
  </table>`;
}

/** Isolates a text from the direction of the text around it. */
const isolated = (value) => (typeof value === "string" ? html`<bdi>${value}</bdi>` : value);

/** The rows of a list, page by page. `load` returns a page for a query. */
export function usePages(load, first, dependencies) {
  const [more, setMore] = useState({ rows: [], next: undefined });
  const loaded = useLoaded(async (signal) => {
    const page = await load(first, signal);
    signal.throwIfAborted();
    // The next page of the list before must not be added to this list.
    next.cancel();
    setMore(page);
    return page;
  }, dependencies);
  const next = useAction(async (signal) => {
    const page = await load(more.next, signal);
    signal.throwIfAborted();
    setMore((before) => ({ ...before, rows: [...before.rows, ...page.rows], next: page.next }));
  });
  // While another list is loading, the rest of the list before is of no use.
  const button = more.next && html`<p><button type="button" disabled=${next.busy || loaded.loading}
    onClick=${next.run}>${t("more")}</button></p>`;
  return { ...loaded, rows: more.rows, more: html`${button}<${Failure} error=${next.error} />` };
}

/** Starts the download of a file that the page has made. */
export function download(name, parts, type) {
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(new Blob(parts, { type }));
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 60_000);
}
