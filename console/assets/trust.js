// What the auditor trusts: a pinned checkpoint, and the key of the log. Both are kept in this browser. They contain no
// personal data.
import { shared } from "./html.js";
import { Problem, request } from "./api.js";
import { t } from "./i18n.js";
import { canVerify, follows, fromHex, parseCheckpoint, parseVerifierKey, Tiles, toHex, verifySignature } from "./log-format.js";

const PIN = "console.pin";
const KEY = "console.verifier-key";

/** Returns the pinned checkpoint that is stored, or null if it is missing or malformed. */
function storedPin() {
  try {
    const { size, root } = JSON.parse(localStorage.getItem(PIN));
    return Number.isSafeInteger(size) && size >= 0 && /^[0-9a-f]{64}$/.test(root) ? { size, root } : null;
  } catch {
    return null;
  }
}

/** The pinned `{ size, root }` with the root in hexadecimal digits, and the text of the verifier key. */
export const trust = shared({ pin: storedPin(), key: localStorage.getItem(KEY) ?? "" });

function store(name, value) {
  if (value) localStorage.setItem(name, value);
  else localStorage.removeItem(name);
}

export function pin(head) {
  const kept = head && { size: head.size, root: toHex(head.root) };
  store(PIN, kept && JSON.stringify(kept));
  trust.set({ ...trust.get(), pin: kept });
}

export function keepKey(text) {
  store(KEY, text);
  trust.set({ ...trust.get(), key: text });
}

/** Returns the bytes of a tile. A tile of the wrong length shows an error, and not that the log was changed. */
async function loadTile(path) {
  const bytes = new Uint8Array(await (await request(`/log/tile/${path}`)).arrayBuffer());
  const width = Number(/\.p\/(\d+)$/.exec(path)?.[1] ?? 256);
  if (bytes.length !== width * (path.startsWith("entries/") ? 34 : 32)) throw new Error(t("verify.malformed"));
  return bytes;
}

const tiles = new Tiles(loadTile);

/** Reads the newest checkpoint, or the reason why there is none. */
async function readCheckpoint() {
  try {
    const checkpoint = parseCheckpoint(await (await request("/log/checkpoint")).text());
    if (!checkpoint) throw new Error(t("verify.malformed"));
    return { checkpoint };
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return { missing: error.slug };
    throw error;
  }
}

/** The newest checkpoint that this tab has seen. */
let newest = null;
/** Two checkpoints that this tab has seen and that do not belong to one log, as signed. */
let fork = null;

/** Compares a checkpoint with the checkpoint before it, so that events that were verified before stay verified. */
async function see(checkpoint) {
  if (fork) return;
  // A process can answer with a checkpoint that is older than the answer of another process.
  const [old, later] = newest && newest.size > checkpoint.size ? [checkpoint, newest] : [newest, checkpoint];
  if (old && !(await tiles.proveExtension(old, later))) fork = [old.note, later.note];
  else newest = later;
}

async function compare() {
  const { checkpoint: read, missing } = await readCheckpoint();
  if (!read) return { missing };
  await see(read);
  const checkpoint = newest;
  const { pin: pinned, key } = trust.get();
  const verifier = key && (await parseVerifierKey(key));
  const signature = verifier ? await verifySignature(checkpoint, verifier) : "no-key";
  let pinState = "none";
  if (pinned && pinned.size > checkpoint.size) pinState = "beyond";
  else if (pinned) {
    const old = { size: pinned.size, root: fromHex(pinned.root) };
    pinState = (await tiles.proveExtension(old, checkpoint)) ? "extended" : "different";
  }
  let broken = null;
  if (fork) broken = "verify.fork";
  else if (pinState === "different") broken = "verify.other-log";
  else if (["invalid", "unsigned"].includes(signature)) broken = "verify.signature";
  let anchor = null;
  // A checkpoint without events confirms nothing.
  if (pinState === "extended" && pinned.size > 0) anchor = "verify.pinned";
  else if (signature === "valid") anchor = "verify.signed";
  return { checkpoint, signature, pin: pinState, fork, broken, anchor: broken ? null : anchor };
}

let turn = Promise.resolve();
/**
 * Compares the newest checkpoint with what the auditor trusts, and with the checkpoints that this tab has seen.
 * Returns the checkpoint, the state of its `signature`, and `pin`: `none`, `extended`, `different`, or `beyond` if the
 * newest checkpoint ends before the pinned checkpoint. `anchor` is the key of the text that says what confirms the
 * checkpoint, and `broken` the key of the text that says what contradicts it.
 */
export function assess() {
  turn = turn.then(compare, compare);
  return turn;
}

/** Verifies an event as stored with a checkpoint. The result is `open` if a later checkpoint can change it. */
async function resultOf(event, { checkpoint, pin: pinState, anchor }) {
  const { position, hash } = event;
  if (position > checkpoint.size) return { state: "unknown", why: "verify.not-covered", open: true };
  if (!(await follows(await tiles.hash(position - 1, checkpoint.size), event))) return { state: "bad", why: "verify.hash" };
  if (!(await tiles.proveInclusion(checkpoint, position, hash))) return { state: "bad", why: "verify.not-included" };
  if (anchor) return { state: "good", why: anchor, size: checkpoint.size };
  const beyond = pinState === "beyond";
  return { state: "unknown", why: beyond ? "verify.pin-beyond" : "verify.no-anchor", open: beyond };
}

/**
 * Verifies the open events among events as stored. If the log contradicts what is trusted, no event is verified any
 * more. Calls `tell` with an event and its result: `state` is `good`, `bad` or `unknown`, and `why` is the key of a
 * text.
 */
export async function verify(events, isOpen, tell, signal) {
  if (!canVerify()) return events.forEach((event) => tell(event, { state: "unknown", why: "verify.no-crypto" }));
  const assessed = await assess();
  const { missing, broken } = assessed;
  if (broken) return events.forEach((event) => tell(event, { state: "bad", why: broken, open: true }));
  const open = events.filter(isOpen);
  if (missing) {
    const soon = missing === "no-checkpoint-yet";
    const why = soon ? "verify.not-covered" : "verify.not-published";
    return open.forEach((event) => tell(event, { state: "unknown", why, open: soon }));
  }
  for (const event of open) {
    signal.throwIfAborted();
    tell(event, await resultOf(event, assessed));
  }
  return undefined;
}
