#!/usr/bin/env python3
"""Verifies exports, proofs and certificates of erasure, independently of the program that wrote them. Needs only Python 3.

    verify.py export FILE [--after POSITION:HASH] [--trusted POSITION:HASH_OR_ROOT ...]
    verify.py proof FILE [--trusted POSITION:ROOT ...]

FILE is the output of `patients audit export` (NDJSON, not CSV), `patients audit prove` or `patients erase --certificate`;
docs/audit.md defines the formats. An export that does not begin with the first event needs --after, and then no root is
printed.

Exit codes:
    0  the file is consistent, and every trusted head matches
    1  the file is inconsistent, or a trusted head does not match
    2  the file cannot be read
    3  a proof or certificate is consistent, but no head is trusted, so nothing is proved
"""

import argparse
import hashlib
import io
import json
import math
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


def read(path):
    """Opens a file as UTF-8 text whose lines end only at line feeds."""
    if path == "-":
        return io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", newline="\n")
    return open(path, encoding="utf-8", newline="\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["export", "proof"])
    parser.add_argument("file")
    parser.add_argument("--after", type=head, default=(0, bytes(32)))
    parser.add_argument("--trusted", type=head, action="append", default=[])
    arguments = parser.parse_args()
    try:
        with read(arguments.file) as file:
            if arguments.kind == "export":
                verify_export(file, arguments.after, arguments.trusted)
            else:
                value = read_json(file.read())
                certificate = isinstance(value, dict) and value.get("format") == CERTIFICATE
                sys.exit((verify_certificate if certificate else verify_proof)(value, arguments.trusted))
    except OSError as error:
        parser.error(f"{arguments.file} cannot be read: {error.strerror}")
    except Misfit as misfit:
        sys.exit(f"verification failed: {misfit}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        sys.exit(f"not in the format that docs/audit.md defines: {error!r}")


if __name__ == "__main__":
    main()
