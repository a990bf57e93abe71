// The hash chain, the Merkle tree and the signed checkpoints of the log, as docs/audit.md defines them. This file
// verifies with WebCrypto, and trusts nothing that the service says about itself.

const bytesOf = (text) => new TextEncoder().encode(text);

export const fromHex = (text) => Uint8Array.from(text.match(/../g) ?? [], (digits) => parseInt(digits, 16));
export const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
/** Returns the bytes of a text in base64, or null. */
export function fromBase64(text) {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return null;
  }
}
const equal = (one, other) => one.length === other.length && one.every((byte, index) => byte === other[index]);

function joined(...parts) {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));

/** Whether the browser has WebCrypto, which exists only over HTTPS and on this machine. */
export const canVerify = () => Boolean(globalThis.crypto?.subtle);

/** Returns the RFC 8785 form of a JSON value. JavaScript sorts by UTF-16 code units, as RFC 8785 requires. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value !== null && typeof value === "object") {
    return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

/** Returns a time in microseconds since 1970, or NaN. */
export function microseconds(time) {
  const [, whole, fraction = ""] = /^(.*?)(?:\.(\d{1,6}))?Z$/.exec(time) ?? [];
  return Date.parse(`${whole}Z`) * 1000 + Number(fraction.padEnd(6, "0"));
}

/** Returns the link of the chain for an event as stored, after the previous link. */
export function linkOf(previous, event) {
  const { aggregate_id, aggregate_type, event_type, event_version, metadata, payload, position, sequence } = event;
  const columns = { aggregate_id, aggregate_type, event_type, event_version, metadata, payload, position, sequence };
  return sha256(previous, bytesOf(canonical({ ...columns, recorded_at: microseconds(event.recorded_at) })));
}

/** Whether an event has its hash, which follows the hash of the event before it. */
export const follows = async (previous, event) =>
  /^[0-9a-f]{64}$/.test(event.hash) && equal(await linkOf(previous, event), fromHex(event.hash));

const leafOf = (link) => sha256([0], link);
const nodeOf = (left, right) => sha256([1], left, right);

/** Whether a path leads from a leaf to a root: RFC 9162, section 2.1.3.2. */
async function includes(root, size, index, leaf, path) {
  let last = size - 1;
  if (index > last) return false;
  let hash = leaf;
  for (const sibling of path) {
    if (last === 0) return false;
    if (index % 2 === 1 || index === last) {
      hash = await nodeOf(sibling, hash);
      while (index % 2 === 0 && index !== 0) [index, last] = [index / 2, Math.floor(last / 2)];
    } else hash = await nodeOf(hash, sibling);
    [index, last] = [Math.floor(index / 2), Math.floor(last / 2)];
  }
  return last === 0 && equal(hash, root);
}

/** Whether a path shows that a tree extends an earlier tree: RFC 9162, section 2.1.4.2. */
async function isConsistent(old, later, path) {
  if (old.size === later.size) return equal(old.root, later.root);
  if (old.size > later.size) return false;
  // Every log extends the empty log.
  if (old.size === 0) return true;
  const rest = [...path];
  const isPower = Number.isInteger(Math.log2(old.size));
  const first = isPower ? old.root : rest.shift();
  if (!first) return false;
  let [index, last] = [old.size - 1, later.size - 1];
  while (index % 2 === 1) [index, last] = [Math.floor(index / 2), Math.floor(last / 2)];
  let [oldHash, newHash] = [first, first];
  for (const sibling of rest) {
    if (last === 0) return false;
    if (index % 2 === 1 || index === last) {
      oldHash = await nodeOf(sibling, oldHash);
      newHash = await nodeOf(sibling, newHash);
      while (index % 2 === 0 && index !== 0) [index, last] = [index / 2, Math.floor(last / 2)];
    } else newHash = await nodeOf(newHash, sibling);
    [index, last] = [Math.floor(index / 2), Math.floor(last / 2)];
  }
  return last === 0 && equal(oldHash, old.root) && equal(newHash, later.root);
}

/** The largest power of two below a size. */
const split = (size) => 2 ** Math.ceil(Math.log2(size) - 1);

/** The ranges of leaves whose hashes prove a leaf, from the leaf up. */
function inclusionRanges(index, size) {
  const ranges = [];
  for (let [start, end] = [0, size]; end - start > 1; ) {
    const middle = start + split(end - start);
    if (index < middle) {
      ranges.unshift([middle, end]);
      end = middle;
    } else {
      ranges.unshift([start, middle]);
      start = middle;
    }
  }
  return ranges;
}

/** The ranges of leaves whose hashes prove that a tree extends an earlier tree, from the deepest up. */
function consistencyRanges(old, size) {
  const ranges = [];
  let [start, end] = [0, size];
  while (old > 0 && old < end) {
    const middle = start + split(end - start);
    if (old <= middle) {
      ranges.unshift([middle, end]);
      end = middle;
    } else {
      ranges.unshift([start, middle]);
      start = middle;
    }
  }
  if (old === end && start > 0) ranges.unshift([start, end]);
  return ranges;
}

/** Tiles that are kept. A tile has at most 8.5 KiB. */
const KEPT_TILES = 256;
/** Bytes of an entry of the log: its length in two bytes, and the hash of an event. */
const ENTRY = 34;

/**
 * A tree whose hashes are read from the tiles of a log: c2sp.org/tlog-tiles. `load` returns the bytes of a tile. The
 * hashes prove something only if {@link proveInclusion} or {@link proveExtension} succeeds.
 */
export class Tiles {
  #load;
  /** The tiles by path, the one that was used last at the end. */
  #tiles = new Map();

  constructor(load) {
    this.#load = load;
  }

  /** Returns the hash over a range of leaves in a tree of `size` leaves. */
  async range(start, end, size) {
    const count = end - start;
    const level = Math.log2(count);
    if (Number.isInteger(level) && start % count === 0) return this.#node(level, start / count, size);
    const middle = start + split(count);
    return nodeOf(await this.range(start, middle, size), await this.range(middle, end, size));
  }

  /** Returns a node of a full subtree. A tile has every eighth level; the levels between are computed. */
  async #node(level, index, size) {
    const [tileLevel, above] = [Math.floor(level / 8), level % 8];
    const first = index * 2 ** above;
    const tile = await this.#tile(tileLevel, Math.floor(first / 256), Math.floor(size / 256 ** tileLevel));
    const at = (first % 256) * 32;
    let hashes = Array.from({ length: 2 ** above }, (_, n) => tile.subarray(at + n * 32, at + (n + 1) * 32));
    while (hashes.length > 1) {
      hashes = await Promise.all(hashes.filter((_, n) => n % 2 === 0).map((left, n) => nodeOf(left, hashes[2 * n + 1])));
    }
    return hashes[0];
  }

  /** Returns the tile with an index on a level that has `size` hashes or entries. */
  #tile(level, index, size) {
    const width = Math.min(256, size - index * 256);
    const digits = String(index).padStart(Math.ceil(String(index).length / 3) * 3, "0").match(/.{3}/g);
    const name = digits.map((group, n) => (n < digits.length - 1 ? `x${group}` : group)).join("/");
    const path = `${level}/${name}${width < 256 ? `.p/${width}` : ""}`;
    const tile = this.#tiles.get(path) ?? this.#load(path);
    tile.catch(() => this.#tiles.get(path) === tile && this.#tiles.delete(path));
    this.#tiles.delete(path);
    this.#tiles.set(path, tile);
    if (this.#tiles.size > KEPT_TILES) this.#tiles.delete(this.#tiles.keys().next().value);
    return tile;
  }

  /** Returns the hash of the event at a position, as the log of `size` events publishes it. */
  async hash(position, size) {
    if (position === 0) return new Uint8Array(32);
    const index = position - 1;
    const entries = await this.#tile("entries", Math.floor(index / 256), size);
    const at = (index % 256) * ENTRY;
    return entries.slice(at + 2, at + ENTRY);
  }

  /** Whether the log with this size and root has this hash of an event at this position. */
  async proveInclusion({ size, root }, position, hash) {
    const path = await Promise.all(inclusionRanges(position - 1, size).map(([start, end]) => this.range(start, end, size)));
    return includes(root, size, position - 1, await leafOf(fromHex(hash)), path);
  }

  /** Whether a log extends an earlier log. */
  async proveExtension(old, later) {
    const path = await Promise.all(consistencyRanges(old.size, later.size).map(([start, end]) => this.range(start, end, later.size)));
    return isConsistent(old, later, path);
  }
}

/** Returns the parts of a signed checkpoint (c2sp.org/tlog-checkpoint), or null. */
export function parseCheckpoint(note) {
  const text = note.replace(/\r\n/g, "\n").replace(/\n*$/, "\n");
  const end = text.lastIndexOf("\n\n");
  const body = text.slice(0, end + 1);
  const [origin, size, root] = body.split("\n");
  if (end < 0 || !/^(0|[1-9]\d*)$/.test(size) || !/^[A-Za-z0-9+/]{43}=$/.test(root ?? "")) return null;
  const lines = text.slice(end + 2).split("\n").filter(Boolean).map((line) => /^— (\S+) (\S+)$/u.exec(line));
  if (lines.length === 0 || lines.includes(null)) return null;
  const signatures = lines.map(([, name, bytes]) => ({ name, bytes: fromBase64(bytes) }));
  if (signatures.some(({ bytes }) => !bytes)) return null;
  return { origin, size: Number(size), root: fromBase64(root), body, signatures, note: text };
}

/** Returns the parts of `SIZE:ROOT`, as `patients audit head --root` prints them, or null. */
export function parseHead(text) {
  const [, size, root] = /^([1-9]\d*):([0-9a-f]{64})$/i.exec(text.trim()) ?? [];
  return size ? { size: Number(size), root: fromHex(root.toLowerCase()) } : null;
}

/** Returns the parts of a verifier key of the form `name+id+key`, or null. */
export async function parseVerifierKey(text) {
  const [, name, id, encoded] = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text.trim()) ?? [];
  if (!name) return null;
  const key = fromBase64(encoded);
  // 1 is the algorithm Ed25519.
  if (key?.length !== 33 || key[0] !== 1) return null;
  const digest = await sha256(bytesOf(`${name}\n`), key);
  return toHex(digest.subarray(0, 4)) === id ? { name, id: digest.slice(0, 4), key: key.slice(1), text: text.trim() } : null;
}

/** Returns `valid`, `invalid`, `unsigned` (no signature of this key) or `unsupported` (by the browser). */
export async function verifySignature(checkpoint, verifier) {
  const signature = checkpoint.signatures.find(({ name, bytes }) => name === verifier.name && equal(bytes.subarray(0, 4), verifier.id));
  if (!signature || checkpoint.origin !== verifier.name) return "unsigned";
  let key;
  try {
    key = await crypto.subtle.importKey("raw", verifier.key, { name: "Ed25519" }, false, ["verify"]);
  } catch {
    return "unsupported";
  }
  const valid = await crypto.subtle.verify({ name: "Ed25519" }, key, signature.bytes.subarray(4), bytesOf(checkpoint.body));
  return valid ? "valid" : "invalid";
}
