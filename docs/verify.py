#!/usr/bin/env python3
"""Verifies exports, proofs and certificates of erasure, independently of the program that wrote them. Needs only Python 3.

    verify.py export FILE [--after POSITION:HASH] [--trusted POSITION:HASH_OR_ROOT ...]
    verify.py proof FILE [--trusted POSITION:ROOT ...]
    verify.py proof FILE --key VKEY ... [--witness VKEY ...] [--quorum N] [--hash HASH]
    verify.py checkpoint FILE --key VKEY ... [--witness VKEY ...] [--quorum N]
    verify.py mirror DIR --key VKEY ... [--witness VKEY ...] [--quorum N] [--from CHECKPOINT]

`mirror` recomputes all tiles of a published log from its entries, compares the root with the signed checkpoint in DIR, and shows that
the log extends the signed checkpoint in the file CHECKPOINT. DIR is the folder of `patients audit mirror`.

FILE is the output of `patients audit export` (NDJSON, not CSV), `patients audit prove` or `patients erase --certificate`, a
receipt (the second form of `proof`), or a signed checkpoint; docs/audit.md defines the formats. An export that does not begin
with the first event needs --after, and then no root is printed. A tlog-proof that contains neither its event nor the hash of
the event needs --hash.

Exit codes:
    0  the file is consistent, and every trusted head matches
    1  the file is inconsistent, or a trusted head does not match
    2  the file cannot be read
    3  a proof or certificate is consistent, but no head or key is trusted, so nothing is proved
"""

import argparse
import base64
import binascii
import hashlib
import io
import json
import math
import os
import re
import sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal

DEPTH = 31  # nested arrays and objects in a payload or metadata
STEP_BACK = 300_000_000  # microseconds: a longer step back in time is a break, a shorter one is an error
NAMED_BREAKS = 10
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
COLUMNS = {"position", "aggregate_type", "aggregate_id", "sequence", "event_type", "event_version", "payload",
           "metadata", "recorded_at", "hash"}
CERTIFICATE = "erasure-certificate-1"
ATTESTED = {"patient_id", "reason", "scope", "erased_at", "key_destroyed_at", "checked_stores", "attested_at"}
TEXTS = {"aggregate_type", "aggregate_id", "event_type", "event_version", "recorded_at"}


class Misfit(Exception):
    pass


def fits(condition, message):
    if not condition:
        raise Misfit(message)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# Values, only in the forms that docs/audit.md defines.

def members(value, required, optional=frozenset()):
    fits(isinstance(value, dict) and required <= set(value) <= required | optional,
         f"unexpected or missing members: expected {', '.join(sorted(required | optional))}")
    return value


def digest(text):
    fits(isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text), "a hash is not 64 hexadecimal digits")
    return bytes.fromhex(text)


def digests(path):
    fits(isinstance(path, list), "a path is not a list")
    return [digest(hash) for hash in path]


def whole(value, least=0, most=2 ** 64 - 1):
    fits(type(value) is int and least <= value <= most, "a size, position or sequence is not a whole number in its range")
    return value


def counted(value):
    """A position or sequence: from 1 to the maximum of a signed 64-bit column."""
    return whole(value, 1, 2 ** 63 - 1)


# JSON: strict reading, and writing by RFC 8785.

def unique(pairs):
    names = [name for name, _ in pairs]
    fits(len(names) == len(set(names)), "an object has two members with the same name")
    return dict(pairs)


def double(text):
    """A number with a fraction or an exponent: only the shortest decimal number of its double is valid."""
    value = float(text)
    if not re.search("[1-9]", re.split("[eE]", text)[0]):
        return value
    try:
        exact = math.isfinite(value) and Decimal(text) == Decimal(repr(value))
    except ArithmeticError:
        exact = False
    fits(exact, "a number that loses precision as a double")
    return value


def read_json(text):
    def refuse(constant):
        raise Misfit(f"{constant} is not JSON")
    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse, parse_float=double)
    except (ValueError, RecursionError) as error:
        raise Misfit(f"not JSON: {error}") from None


def too_deep(value, levels=DEPTH):
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(too_deep(item, levels - 1) for item in inner)


def number(value):
    """ECMAScript's Number::toString, from the shortest digits that identify the double."""
    fits(type(value) is float or abs(value) < 2 ** 53, "an integer beyond 2^53 - 1")
    value = float(value)
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    digits = "".join(map(str, digits))
    point = len(digits) + exponent
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:
        text = digits.ljust(point, "0")
    elif 0 < point <= 21:
        text = digits[:point] + "." + digits[point:]
    elif -6 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        fraction = "." + digits[1:] if len(digits) > 1 else ""
        text = f"{digits[0]}{fraction}e{point - 1:+d}"
    return "-" * sign + text


def string(value):
    fits(not re.search("[\ud800-\udfff]", value), "a string has an unpaired surrogate")
    return json.dumps(value, ensure_ascii=False)


def canonical(value):
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(string(name) + ":" + canonical(value[name]) for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number(value)
    return string(value) if isinstance(value, str) else json.dumps(value)


# The chain.

def microseconds(text):
    """RFC 3339 in UTC with six decimals, in the years 0001 to 9999."""
    fits(re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z", text),
         "a time is malformed")
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    except ValueError:
        raise Misfit("a time is malformed") from None
    return (moment - EPOCH) // timedelta(microseconds=1)


def link(previous, event):
    """The hash of an event, from the hash of the previous event."""
    members(event, COLUMNS)
    fits(all(isinstance(event[name], str) for name in TEXTS), "a column is not a string")
    fits(not too_deep(event["payload"]) and not too_deep(event["metadata"]), "an event is nested too deeply")
    # These integers are written in full: a position can have more digits than a double.
    numbers = {"position": counted(event["position"]), "recorded_at": microseconds(event["recorded_at"]),
               "sequence": counted(event["sequence"])}
    text = ",".join(f"{canonical(name)}:{numbers[name] if name in numbers else canonical(event[name])}"
                    for name in sorted(COLUMNS - {"hash"}))
    hash = sha256(previous, b"{", text.encode(), b"}")
    fits(hash == digest(event["hash"]), "the columns of the event do not match its hash")
    return hash


# The Merkle tree of RFC 9162, section 2.1.

def leaf(hash):
    return sha256(b"\0", hash)


def node(left, right):
    return sha256(b"\1", left, right)


class Tree:
    """A Merkle tree: the sizes and roots of its full subtrees, from left to right."""

    def __init__(self):
        self.subtrees = []

    def add(self, hash):
        size = 1
        while self.subtrees and self.subtrees[-1][0] == size:
            hash = node(self.subtrees.pop()[1], hash)
            size *= 2
        self.subtrees.append((size, hash))

    def root(self):
        if not self.subtrees:
            return sha256()
        *rest, (_, root) = self.subtrees
        for _, left in reversed(rest):
            root = node(left, root)
        return root


def root_of_inclusion(index, size, hash, path):
    """Section 2.1.3.2."""
    fits(0 <= index < size, "the event is not in a tree of that size")
    fn, sn = index, size - 1
    for sibling in path:
        fits(sn > 0, "the path is too long")
        if fn & 1 or fn == sn:
            hash = node(sibling, hash)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            hash = node(hash, sibling)
        fn, sn = fn >> 1, sn >> 1
    fits(sn == 0, "the path is too short")
    return hash


def roots_of_consistency(first, second, first_root, path):
    """Section 2.1.4.2."""
    fits(0 < first <= second, "the earlier log is longer than the later one, or empty")
    if first == second:
        fits(not path, "the path is too long")
        return first_root, first_root
    if first & (first - 1) == 0:
        path = [first_root, *path]
    fits(path, "the path is too short")
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = path[0]
    for sibling in path[1:]:
        fits(sn > 0, "the path is too long")
        if fn & 1 or fn == sn:
            old, new = node(sibling, old), node(sibling, new)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node(new, sibling)
        fn, sn = fn >> 1, sn >> 1
    fits(sn == 0, "the path is too short")
    return old, new


# The file formats.

def head(text):
    match = re.fullmatch("([0-9]+):([0-9a-f]{64})", text)
    if not match:
        raise argparse.ArgumentTypeError("expected POSITION:HASH")
    return int(match[1]), bytes.fromhex(match[2])


def kept_hash(text):
    return head("0:" + text)[1]


def verify_export(file, after, trusted):
    (position, hash), whole = after, after == (0, bytes(32))
    tree, met, time, breaks = Tree(), set(), None, []

    def compare():
        for kept in trusted:
            if kept[0] == position:
                fits(kept[1] == hash or whole and kept[1] == tree.root(),
                     f"the hash and the root at {position} differ from the trusted head")
                met.add(kept)

    compare()
    for number, line in enumerate(file, 1):
        try:
            event = read_json(line)
            if isinstance(event, dict):
                # GET /events adds the opened payload, which no hash covers.
                event.pop("opened", None)
            hash = link(hash, event)
            fits(event["position"] == position + 1, f"position {event['position']} is not {position + 1}")
            before, time = time, event["recorded_at"]
            back = microseconds(before) - microseconds(time) if before else 0
            if back > 0:
                fits(back > STEP_BACK, "the time is earlier than the time of the previous event")
                breaks.append(f"at {event['position']}, from {before} back to {time}")
        except Misfit as misfit:
            raise Misfit(f"line {number}: {misfit}") from None
        position += 1
        tree.add(leaf(hash))
        compare()
    for kept in trusted:
        fits(kept in met, f"the trusted head at {kept[0]} is not in the export, which ends at {position}")
    print(f"consistent up to {position}, hash {hash.hex()}" + (f", root {tree.root().hex()}" if whole else ""))
    if breaks:
        print(f"time breaks: {len(breaks)}", *breaks[:NAMED_BREAKS], sep="\n")


def verify_certificate(value, trusted):
    attestation = members(members(value, {"format", "attestation", "proof"})["attestation"], ATTESTED)
    for name in ("erased_at", "key_destroyed_at", "attested_at"):
        microseconds(attestation[name])
    stores = attestation["checked_stores"]
    fits(isinstance(stores, list) and all(isinstance(store, str) for store in stores), "a store is not a string")
    event = value["proof"]["inclusion"]["event"]
    payload = {"type": "PatientErased", "reason": attestation["reason"], "scope": "full"}
    fits(attestation["scope"] == "full" and isinstance(attestation["reason"], str), "the scope or the reason is invalid")
    fits((event["aggregate_type"], event["event_type"]) == ("patient", "PatientErased"), "the event is not an erasure")
    fits((event["aggregate_id"], event["recorded_at"], event["payload"])
         == (attestation["patient_id"], attestation["erased_at"], payload), "the event differs from the attestation")
    code = verify_proof(value["proof"], trusted)
    print(f"the event is the erasure of patient {canonical(attestation['patient_id'])} at {attestation['erased_at']}, "
          f"with the reason {canonical(attestation['reason'])}")
    print(f"attested by the service, not proved: the data key was destroyed at {attestation['key_destroyed_at']}; "
          f"at {attestation['attested_at']}, these stores had no data of the patient: {canonical(stores)}")
    return code


def verify_proof(proof, trusted):
    members(proof, {"format", "tree"}, {"inclusion", "consistency"})
    fits(proof["format"] == "event-log-proof-1", "not a proof")
    fits({"inclusion", "consistency"} & set(proof), "it has neither an inclusion nor a consistency")
    tree = members(proof["tree"], {"size", "root"})
    size, root = whole(tree["size"]), digest(tree["root"])
    logs, events = [(size, root)], []
    if "inclusion" in proof:
        part = members(proof["inclusion"], {"event", "previous_hash", "path"})
        event = part["event"]
        hash = link(digest(part["previous_hash"]), event)
        reached = root_of_inclusion(event["position"] - 1, size, leaf(hash), digests(part["path"]))
        fits(reached == root, "the path does not lead from the event to the root")
        events.append((event["position"], hash))
        print(f"event {event['position']} is in {size}:{root.hex()}")
    if "consistency" in proof:
        part = members(proof["consistency"], {"size", "root", "path"})
        earlier = whole(part["size"]), digest(part["root"])
        reached = roots_of_consistency(earlier[0], size, earlier[1], digests(part["path"]))
        fits(reached == (earlier[1], root), "the path does not lead from the earlier root to the later one")
        logs.append(earlier)
        print(f"{size}:{root.hex()} continues {earlier[0]}:{earlier[1].hex()}")
    for kept in trusted:
        fits(kept in logs + events, f"the proof does not match the trusted head at {kept[0]}")
    if not set(logs) & set(trusted):
        print("not proved: no trusted head identifies this log. Compare its head with a head that you kept or got from a "
              "trusted source: --trusted")
    return 0 if trusted else 3


# Signatures: Ed25519 (RFC 8032), verification only. Points are in extended coordinates.

P = 2 ** 255 - 19
ORDER = 2 ** 252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
IDENTITY = (0, 1, 1, 0)


def plus(a, b):
    m, n = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = n - m, d - c, d + c, n + m
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(factor, point):
    result = IDENTITY
    while factor:
        if factor & 1:
            result = plus(result, point)
        point, factor = plus(point, point), factor >> 1
    return result


def same(a, b):
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 == (a[1] * b[2] - b[1] * a[2]) % P


def decoded_point(encoded):
    """Section 5.1.3."""
    number = int.from_bytes(encoded, "little")
    y, sign = number & (1 << 255) - 1, number >> 255
    fits(y < P, "a point is not canonical")
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    fits((x * x - square) % P == 0 and (x or not sign), "a point is not on the curve")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = decoded_point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def is_signed(public, message, signature):
    """Section 5.1.7, without the cofactor. A key or a commitment of small order is rejected."""
    try:
        key, commitment = decoded_point(public), decoded_point(signature[:32])
    except Misfit:
        return False
    factor = int.from_bytes(signature[32:], "little")
    if factor >= ORDER or any(same(times(8, point), IDENTITY) for point in (key, commitment)):
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    return same(times(factor, BASE), plus(commitment, times(challenge, key)))


# Signed notes, checkpoints and tlog-proofs: c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature, tlog-proof.

PLAIN, COSIGNATURE = 1, 4


def from_base64(text):
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Misfit("not base64") from None
    fits(base64.b64encode(value).decode() == text, "not canonical base64")
    return value


def decimal(text):
    fits(re.fullmatch("0|[1-9][0-9]{0,18}", text) and int(text) < 2 ** 63, "a number is malformed")
    return int(text)


def key_of(text):
    """A verifier key: its name, ID, algorithm and public key."""
    try:
        name, id, encoded = text.split("+", 2)
        value = from_base64(encoded)
        fits(len(value) == 33 and value[0] in (PLAIN, COSIGNATURE), "not an Ed25519 key")
        fits(sha256(name.encode(), b"\n", value)[:4].hex() == id, "the ID does not match the key")
    except (ValueError, Misfit) as error:
        raise argparse.ArgumentTypeError(f"not a verifier key: {error}") from None
    return name, bytes.fromhex(id), value[0], value[1:]


def verify_checkpoint(note, arguments):
    """Verifies a signed checkpoint. Returns its size and root."""
    keys, witnesses = arguments.key, arguments.witness
    fits(len({key[0] for key in keys}) <= 1, "the keys of a log have the same name")
    fits(all(key[2] == PLAIN for key in keys) and all(key[2] == COSIGNATURE for key in witnesses),
         "--key is the key of a log, and --witness the key of a witness")
    fits(len({key[3] for key in keys + witnesses}) == len(keys + witnesses), "two keys are the same public key")
    quorum = (len(witnesses) // 2 + 1 if witnesses else 0) if arguments.quorum is None else arguments.quorum
    fits(note.endswith("\n") and "\n\n" in note and not re.search("[\0-\x09\x0b-\x1f]", note), "not a signed note")
    end = note.rindex("\n\n") + 1
    body, lines = note[:end], note[end + 1:-1].split("\n")
    parts = body[:-1].split("\n")
    fits(len(parts) >= 3 and all(parts), "not a checkpoint")
    origin, size, root = parts[0], decimal(parts[1]), from_base64(parts[2])
    fits(len(root) == 32, "the root is not 32 bytes")
    signed, cosigned = False, {}
    for line in lines:
        match = re.fullmatch("\u2014 ([^\\s+]+) ([A-Za-z0-9+/]+={0,2})", line)
        fits(match, "a signature line is malformed")
        value = from_base64(match[2])
        for name, id, algorithm, public in keys + witnesses:
            if (name, id) != (match[1], value[:4]):
                continue
            if algorithm == PLAIN:
                fits(len(value) == 68 and is_signed(public, body.encode(), value[4:]), f"the signature of {name} is invalid")
                signed = True
            else:
                fits(len(value) == 76, f"the cosignature of {name} is invalid")
                time = int.from_bytes(value[4:12], "big")
                message = f"cosignature/v1\ntime {time}\n{body}".encode()
                fits(time < 2 ** 63 and is_signed(public, message, value[12:]), f"the cosignature of {name} is invalid")
                cosigned[name] = max(time, cosigned.get(name, 0))
    if keys:
        fits(origin == keys[0][0], "the checkpoint is from another log")
        fits(signed, "the log has not signed the checkpoint")
        fits(len(cosigned) >= quorum, f"{len(cosigned)} of {quorum} required witnesses have cosigned")
    print(f"checkpoint {size}:{root.hex()} of {canonical(origin)}")
    for name, time in cosigned.items():
        print(f"cosigned by {name} at {time} seconds after 1970-01-01T00:00:00Z")
    if not keys:
        print("not proved: no key identifies this log: --key")
    return size, root


def verify_tlog_proof(text, arguments):
    fits("\n\n" in text, "not a proof")
    fits(not arguments.trusted, "--trusted does not apply to a tlog-proof: pass the verifier key of the log with --key")
    (_, *lines), note = text[:text.index("\n\n")].split("\n"), text[text.index("\n\n") + 2:]
    hash = arguments.hash
    proved = None
    if lines and lines[0].startswith("extra "):
        proved = read_json(from_base64(lines.pop(0)[len("extra "):]).decode())
        if isinstance(proved, dict) and "hash" in proved:
            found, proved = digest(members(proved, {"hash"})["hash"]), None
            if hash is None:
                print(f"the file states the hash {found.hex()}: compare it with the hash of your event")
        else:
            members(proved, {"event", "previous_hash"})
            found = link(digest(proved["previous_hash"]), proved["event"])
        fits(hash in (None, found), "the event has another hash than --hash")
        hash = found
    fits(lines and lines[0].startswith("index "), "the index is missing")
    index, path = decimal(lines[0][len("index "):]), [from_base64(line) for line in lines[1:]]
    fits(proved is None or proved["event"]["position"] == index + 1, "the proof is for another position than that of the event")
    fits(hash is not None, "the proof does not contain the event: pass its hash with --hash")
    fits(all(len(sibling) == 32 for sibling in path) and len(path) <= 63, "a path is malformed")
    size, root = verify_checkpoint(note, arguments)
    fits(root_of_inclusion(index, size, leaf(hash), path) == root, "the path does not lead from the event to the root")
    print(f"event {index + 1} is in {size}:{root.hex()}")
    return 0 if arguments.key else 3


# Mirrors: c2sp.org/tlog-tiles.

WIDTH = 256


def tile(folder, level, index, width):
    """Reads a tile or a bundle. A full one can take the place of a partial one."""
    groups, rest = [f"{index % 1000:03}"], index // 1000
    while rest:
        groups, rest = [f"x{rest % 1000:03}", *groups], rest // 1000
    full = os.path.join(folder, "tile", str(level), *groups)
    exact = full if width == WIDTH else os.path.join(full + ".p", str(width))
    path = exact if os.path.exists(exact) else full
    with open(path, "rb") as file:
        content = file.read(WIDTH * 34 + 1)
    size = 34 if level == "entries" else 32
    fits(len(content) in (width * size, WIDTH * size), f"{path} has another length")
    return [content[at:at + size] for at in range(0, width * size, size)]


def verify_mirror(folder, arguments):
    def checkpoint(path, arguments):
        with read(path) as file:
            return verify_checkpoint(file.read(), arguments)
    size, root = checkpoint(os.path.join(folder, "checkpoint"), arguments)
    earlier = None
    if arguments.earlier:
        # The witnesses cosign a checkpoint after it was published.
        signed_by_log = argparse.Namespace(**{**vars(arguments), "quorum": 0})
        earlier = checkpoint(arguments.earlier, signed_by_log)
        fits(earlier[0] <= size, "the mirror is smaller than the earlier checkpoint")
    tree, met = Tree(), False
    hashes, level = None, 0
    count = size
    while count or level == 0:
        above = []
        for index in range((count + WIDTH - 1) // WIDTH):
            width = min(WIDTH, count - index * WIDTH)
            if level == 0:
                entries = tile(folder, "entries", index, width)
                fits(all(entry[:2] == b"\0\x20" for entry in entries), "an entry is not 32 bytes")
                expected = [leaf(entry[2:]) for entry in entries]
            else:
                expected = hashes[index * WIDTH:index * WIDTH + width]
            fits(tile(folder, level, index, width) == expected, f"tile {level}/{index} differs from the entries")
            subtree = Tree()
            for number, hash in enumerate(expected, index * WIDTH):
                if level == 0:
                    met = met or earlier is not None and earlier[0] == number and earlier[1] == tree.root()
                    tree.add(hash)
                subtree.add(hash)
            if width == WIDTH:
                above.append(subtree.root())
        hashes, count, level = above, len(above), level + 1
    fits(tree.root() == root, "the entries have another root than the checkpoint")
    print(f"{size} entries and the tiles above them have the root of the checkpoint")
    if earlier:
        fits(met or earlier == (size, root), "the log does not extend the earlier checkpoint")
        print(f"{size}:{root.hex()} continues {earlier[0]}:{earlier[1].hex()}")
    return 0 if arguments.key else 3


def read(path):
    """Opens a file as UTF-8 text whose lines end only at line feeds."""
    if path == "-":
        return io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", newline="\n")
    return open(path, encoding="utf-8", newline="\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["export", "proof", "checkpoint", "mirror"])
    parser.add_argument("file")
    parser.add_argument("--after", type=head, default=(0, bytes(32)))
    parser.add_argument("--trusted", type=head, action="append", default=[])
    parser.add_argument("--key", type=key_of, action="append", default=[])
    parser.add_argument("--witness", type=key_of, action="append", default=[])
    parser.add_argument("--quorum", type=int)
    parser.add_argument("--hash", type=kept_hash)
    parser.add_argument("--from", dest="earlier", metavar="CHECKPOINT")
    arguments = parser.parse_args()
    try:
        if arguments.kind == "mirror":
            sys.exit(verify_mirror(arguments.file, arguments))
        with read(arguments.file) as file:
            if arguments.kind == "export":
                verify_export(file, arguments.after, arguments.trusted)
                return
            text = file.read()
            if arguments.kind == "checkpoint":
                verify_checkpoint(text, arguments)
                sys.exit(0 if arguments.key else 3)
            elif text.startswith("c2sp.org/tlog-proof@v1\n"):
                sys.exit(verify_tlog_proof(text, arguments))
            else:
                value = read_json(text)
                certificate = isinstance(value, dict) and value.get("format") == CERTIFICATE
                sys.exit((verify_certificate if certificate else verify_proof)(value, arguments.trusted))
    except OSError as error:
        parser.error(f"{error.filename or arguments.file} cannot be read: {error.strerror}")
    except Misfit as misfit:
        sys.exit(f"verification failed: {misfit}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        sys.exit(f"not in the format that docs/audit.md defines: {error!r}")


if __name__ == "__main__":
    main()
