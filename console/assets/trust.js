// What the auditor trusts: a pinned checkpoint, and the key of the log. Both are kept in this browser. They contain no
// personal data.
import { shared } from "./html.js";
import { page, Problem, request } from "./api.js";
import { canVerify, follows, fromHex, parseCheckpoint, parseVerifierKey, Tiles, toHex, verifySignature } from "./log-format.js";

const PIN = "console.pin";
const KEY = "console.verifier-key";

/** The pinned `{ size, root }` with the root in hexadecimal digits, and the text of the verifier key. */
export const trust = shared({ pin: JSON.parse(localStorage.getItem(PIN) ?? "null"), key: localStorage.getItem(KEY) ?? "" });

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

const tiles = new Tiles(async (path) => new Uint8Array(await (await request(`/log/tile/${path}`)).arrayBuffer()));

/** Returns the newest checkpoint, or the reason why there is none. */
export async function newestCheckpoint() {
  try {
    const checkpoint = parseCheckpoint(await (await request("/log/checkpoint")).text());
    return checkpoint ? { checkpoint } : { missing: "malformed" };
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return { missing: error.slug };
    throw error;
  }
}

/**
 * Compares the newest checkpoint with what the auditor trusts. Returns the checkpoint, `signature` and `extends`:
 * whether it extends the pinned checkpoint. `anchored` means that a signature or a pinned checkpoint confirms it, and
 * `broken` that one of them contradicts it.
 */
export async function assess() {
  const { pin: pinned, key } = trust.get();
  const { checkpoint, missing } = await newestCheckpoint();
  if (!checkpoint) return { missing };
  const verifier = key && (await parseVerifierKey(key));
  const signature = verifier ? await verifySignature(checkpoint, verifier) : "no-key";
  const old = pinned && { size: pinned.size, root: fromHex(pinned.root) };
  const extended = old ? old.size <= checkpoint.size && (await tiles.proveExtension(old, checkpoint)) : undefined;
  const broken = ["invalid", "unsigned"].includes(signature) || extended === false;
  return { checkpoint, signature, extends: extended, broken, anchored: !broken && (signature === "valid" || extended === true) };
}

/** The hashes of events, by position. The verification of an event needs the hash before it. */
const hashes = new Map([[0, "0".repeat(64)]]);

/** Remembers the hashes of events that were already read. */
export const remember = (events) => events.forEach(({ position, hash }) => hashes.set(position, hash));

async function hashAt(position) {
  if (!hashes.has(position)) remember((await page("/events", `after=${position - 1}&limit=1`)).rows);
  return hashes.get(position);
}

/**
 * Verifies events as stored. Calls `tell` with the position and the result of each event: `state` is `good`, `bad` or
 * `unknown`, and `why` is the key of a text.
 */
export async function verify(events, tell) {
  const all = (state, why) => events.forEach(({ position }) => tell(position, { state, why }));
  if (events.length === 0) return undefined;
  if (!canVerify()) return all("unknown", "verify.no-crypto");
  remember(events);
  const assessed = await assess();
  const { checkpoint, missing } = assessed;
  if (!checkpoint) return all("unknown", missing === "no-checkpoint-yet" ? "verify.not-covered" : "verify.not-published");
  if (assessed.broken) return all("bad", assessed.extends === false ? "verify.other-log" : "verify.signature");
  for (const event of events) {
    const { position } = event;
    if (!(await follows(await hashAt(position - 1), event))) tell(position, { state: "bad", why: "verify.hash" });
    else if (position > checkpoint.size) tell(position, { state: "unknown", why: "verify.not-covered" });
    else if (!(await tiles.proveInclusion(checkpoint, position, event.hash))) tell(position, { state: "bad", why: "verify.not-included" });
    else if (!assessed.anchored) tell(position, { state: "unknown", why: "verify.no-anchor" });
    else tell(position, { state: "good", why: assessed.extends ? "verify.pinned" : "verify.signed", size: checkpoint.size });
  }
  return undefined;
}
