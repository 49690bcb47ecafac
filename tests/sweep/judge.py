"""Run the verbs on bytes in memory, and judge what came out of a damaged image.

What an image holds is told here by a walk over the TLV entries of what `migrate` wrote, not by
the code under test. An outcome is right where nothing was written, or where what was written
holds what the undamaged image's migration holds. Every other outcome is a failure, save the
exceptions that this module knows and proves one by one.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.support import FIXTURES, crc, fixture_truth

from espcert import detection, inspection, migration
from espcert import image as images
from espcert.errors import UnreadableError

TLV_MAGIC: Final = b"\x11\xba\x5e\xba"
TLV_SEALS: Final = (8, 9)
TLV_INTEGRITY: Final = 9
TLV_KEY: Final = 2
TLV_DS_DATA: Final = 3
TLV_CONTEXT: Final = 4

TLV_NAMES: Final = {0: "ca_cert", 1: "device_cert", 2: "private_key", 3: "ds_", 4: "ds_context"}
"""How `changes` name the entries of the fixtures that need a code accepted."""
NAMELESS: Final = "bytes that belong to no item"

IN_EFUSE: Final = 0x08
"""Flags of a key in the ECDSA peripheral."""

CUST_FLASH_DS_MAGIC: Final = (36, b"\x78\x56\x34\x12")
CUST_FLASH_KEY_ID: Final = 32
MAX_KEY_ID: Final = 5

SECTOR: Final = 0x1000

ENTRY_CUT: Final = "cut at the boundary of a TLV entry"
OTHER_KEY_ID: Final = "another valid efuse_key_id in cust_flash"
REPAIR: Final = "the fixture's own damage repaired"

AT: Final = datetime.now(timezone.utc)
"""One clock for a whole run."""


class Entry(NamedTuple):
    """A TLV entry as it lies in an image; `end` is behind its CRC."""

    end: int
    type: int
    subtype: int
    flags: int
    data: bytes
    intact: bool

    @property
    def offset(self) -> int:
        """Where the entry begins."""
        return self.end - 16 - -(-len(self.data) // 16) * 16

    @property
    def material(self) -> Material:
        """What must survive; the flags of the 2.0 generation mean 0."""
        flags = 0 if self.flags == 0xFF else self.flags
        return self.type, self.subtype, flags, self.data


Material = tuple[int, int, int, bytes]


def walk(data: bytes) -> list[Entry]:
    """The TLV entries up to the first wrong magic or one that the end cuts."""
    entries: list[Entry] = []
    start = 0
    while data[start : start + 4] == TLV_MAGIC and start + 16 <= len(data):
        flags, kind, subtype, length = struct.unpack_from("<B3xBBH", data, start + 4)
        end = start + 16 + -(-length // 16) * 16
        if end > len(data):
            break
        intact = crc(data[start : end - 4]) == int.from_bytes(data[end - 4 : end], "little")
        stored = data[start + 12 : start + 12 + length]
        entries.append(Entry(end, kind, subtype, flags, stored, intact))
        start = end
    return entries


def material(entries: list[Entry]) -> Counter[Material]:
    """The intact entries as a multiset, seals aside."""
    return Counter(e.material for e in entries if e.intact and e.type not in TLV_SEALS)


def mended(entries: list[Entry]) -> Counter[Material]:
    """The same as `migrate` mends it: PEM gets its NUL, a key that is held in eFuse goes."""
    return Counter(
        (kind, subtype, flags, _mended(kind, flags, data))
        for kind, subtype, flags, data in material(entries).elements()
    )


def _mended(kind: int, flags: int, data: bytes) -> bytes:
    if kind == TLV_KEY and flags == IN_EFUSE:
        return b""
    lacks_nul = data.startswith(b"-----BEGIN ") and not data.endswith(b"\0")
    return data + b"\0" if kind <= TLV_KEY and lacks_nul else data


def facts(entries: Counter[Material]) -> Iterator[str]:
    """What truth.json says of items, said of entries: a digest each, or the words of a context."""
    for kind, subtype, _, data in entries.elements():
        if kind == TLV_DS_DATA:
            yield from (f"{subtype} {_digest(data[4:20])}", f"{subtype} {_digest(data[20:])}")
        elif kind == TLV_CONTEXT:
            key_id, bits = struct.unpack("<4xBxH", data)
            yield f"{subtype} RSA {bits}, key {key_id}"
        else:
            yield f"{subtype} {_digest(data)}"


def known(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The same of a row's items, seals aside."""
    for row in rows:
        if row["kind"] in ("integrity", "signature_block"):
            continue
        context = f"RSA {row.get('rsa_bits')}, key {row.get('efuse_key_id')}"
        yield f"{row['index']} {row.get('sha256', context)}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the three verbs did: their exit codes, what `migrate` wrote, and the objects."""

    codes: tuple[int, int, int]
    output: bytes | None = field(repr=False)
    changes: tuple[str, ...]
    objects: tuple[dict[str, Any], ...] = field(repr=False)


def run(data: bytes, accept: frozenset[str] = frozenset()) -> Outcome:
    """`detect`, `inspect` and `migrate` on bytes in memory."""
    reading = detection.detect(images.locate(data))
    detected = detection.to_json(reading)
    try:
        inspected = inspection.to_json(reading)
        moved = migration.migrate(reading, migration.Options(accept=accept, at=AT))
    except UnreadableError as error:
        failed = {"error": {"code": error.code, "message": error.message}}
        code = 3 if reading.contents is None else 70
        return Outcome((code, 3, 3), None, (), (detected, failed, failed))
    written = migration.to_json(moved, None if moved.output is None else "out.bin")
    codes = (3 if reading.contents is None else 0, 0, 1 if moved.refused else 0)
    return Outcome(codes, moved.output, moved.changes, (detected, inspected, written))


@dataclass(frozen=True, slots=True)
class Fixture:
    """An image, and what its migration holds while it is not damaged.

    `accept` are codes that this judgement accepts, `baseline` the material of the migration with
    all codes accepted that the image needs.
    """

    name: str
    data: bytes = field(repr=False)
    accept: frozenset[str]
    needs: frozenset[str]
    output: bytes = field(repr=False)
    baseline: Counter[Material] = field(repr=False)

    @property
    def id(self) -> str:
        """The name, and what is accepted."""
        return "+".join([self.name, *sorted(self.accept)])


class Exempt(NamedTuple):
    """A damage that nobody can see, and the offset that makes it one."""

    why: str
    offset: int


class Verdict(NamedTuple):
    """`failure` says what is wrong, `exempt` which damage that nobody can see this was."""

    failure: str | None = None
    exempt: Exempt | None = None


RIGHT: Final = Verdict()


def sources() -> list[tuple[str, frozenset[str], int]]:
    """Name, accepted codes and size of all fixtures; refused ones also with their codes."""
    return [
        (path.stem, accept, path.stat().st_size)
        for path, needs in ((FIXTURES / row["file"], row["refused"]) for row in fixture_truth())
        for accept in sorted({frozenset[str](), frozenset[str](needs)}, key=len)
    ]


@cache
def _needs() -> dict[str, frozenset[str]]:
    return {Path(row["file"]).stem: frozenset(row["refused"]) for row in fixture_truth()}


@cache
def fixture(name: str, accept: frozenset[str]) -> Fixture:
    """A fixture with its baseline."""
    data = (FIXTURES / "images" / f"{name}.bin").read_bytes()
    needs = _needs()[name]
    output = run(data, needs).output
    assert output is not None, f"{name} does not migrate"
    return Fixture(name, data, accept, needs, output, material(walk(output)))


def judge(fixture: Fixture, damaged: bytes, outcome: Outcome) -> Verdict:
    """Whether an outcome is right."""
    failure = _form(outcome) or _listed(damaged, outcome.objects[1].get("items", ()))
    if failure or outcome.output is None or outcome.output == fixture.output:
        return Verdict(failure)
    entries = walk(outcome.output)
    failure = _structure(outcome.output, entries)
    found = material(entries)
    if failure or found == fixture.baseline:
        return Verdict(failure)
    exempt = _exempt(fixture, damaged, found)
    if exempt is None and not (fixture.accept and _told(fixture, found, outcome.changes)):
        return Verdict(_difference(fixture.baseline, found))
    return Verdict(exempt=exempt)


def _form(outcome: Outcome) -> str | None:
    detected, _, moved = outcome.codes
    allowed = ((0, 0, 0), (0, 0, 1), (3, 3, 3))
    if outcome.codes not in allowed or (moved == 0) != (outcome.output is not None):
        return f"exit codes {outcome.codes}, {'no' if outcome.output is None else 'an'} output"
    return _form_of_reason(outcome) if detected == 3 else None


def _form_of_reason(outcome: Outcome) -> str | None:
    reason, code = outcome.objects[0]["reason"], outcome.objects[0]["reason_code"]
    if not isinstance(reason, str) or not reason or not reason.isprintable():
        return f"a reason that is not one line: {reason!r}"
    for fields in outcome.objects[1:]:
        if fields != {"error": {"code": code, "message": reason}}:
            return f"the verbs disagree: {reason!r}, {fields!r}"
    return None


def _listed(data: bytes, items: Sequence[dict[str, Any]]) -> str | None:
    """Whether the items that `inspect` lists lie in the image and have the digests it says."""
    for item in items:
        if "length" not in item:
            continue
        spans = item.get("spans", [item])
        stored = b"".join(data[s["offset"] : s["offset"] + s["length"]] for s in spans)
        if len(stored) != item["length"]:
            return f"inspect lists a {item['kind']} that reaches past the image's end"
        if _digest(stored) != item["sha256"]:
            return f"inspect lists a {item['kind']} with another digest"
    return None


def serialised(outcome: Outcome) -> str | None:
    """What is wrong with the objects as JSON, or None."""
    for fields in outcome.objects:
        line = json.dumps(fields, ensure_ascii=True, allow_nan=False)
        if len(line.splitlines()) != 1:
            return "an object of more than one line"
        if "PRIVATE KEY" in line:
            return "an object with a private key"
    return None


def _structure(output: bytes, entries: list[Entry]) -> str | None:
    """Whether the new partition is whole: entries, erased flash, and an integrity entry."""
    end = entries[-1].end if entries else 0
    if not all(entry.intact for entry in entries):
        return "an entry of the output is not intact"
    if not entries or output[end:].strip(b"\xff") or len(output) % SECTOR:
        return "the output is not entries and erased flash up to whole sectors"
    for before, entry in zip([0, *(e.end for e in entries)], entries, strict=False):
        digest = hashlib.sha256(output[:before]).digest()
        if entry.type == TLV_INTEGRITY and entry.data != digest:
            return "an integrity entry that does not match"
    return None


def entry_ends(data: bytes) -> list[int]:
    """Where a TLV image can be cut without a trace: behind each entry but the last."""
    return [entry.end for entry in walk(data)][:-1]


def _exempt(fixture: Fixture, damaged: bytes, found: Counter[Material]) -> Exempt | None:
    end = _entry_cut(fixture, damaged)
    if end is not None and found == fixture.baseline & mended(walk(fixture.data[:end])):
        return Exempt(ENTRY_CUT, end)
    if _is_other_key_id(fixture, damaged, found):
        return Exempt(OTHER_KEY_ID, CUST_FLASH_KEY_ID)
    if _is_repair(fixture, found):
        pairs = enumerate(zip(fixture.data, damaged, strict=False))
        return Exempt(REPAIR, next(at for at, (old, new) in pairs if old != new))
    return None


def _entry_cut(fixture: Fixture, damaged: bytes) -> int | None:
    """Where the image was cut, or erased to its end, exactly behind a TLV entry; or None."""
    for end in entry_ends(fixture.data):
        if damaged[:end] == fixture.data[:end] and not damaged[end:].strip(b"\xff"):
            return end
    return None


def _is_other_key_id(fixture: Fixture, damaged: bytes, found: Counter[Material]) -> bool:
    """Byte 32 is another key id, bytes 33..35 hold nothing, all else is as it was."""
    at, magic = CUST_FLASH_DS_MAGIC
    first, stop = CUST_FLASH_KEY_ID, CUST_FLASH_KEY_ID + 4
    if (
        fixture.data[:4] == TLV_MAGIC
        or fixture.data[at : at + 4] != magic
        or damaged[first] > MAX_KEY_ID
        or damaged[:first] + damaged[stop:] != fixture.data[:first] + fixture.data[stop:]
    ):
        return False
    expected: Counter[Material] = Counter()
    for (kind, subtype, flags, data), number in fixture.baseline.items():
        if kind == TLV_CONTEXT:
            data = data[:4] + damaged[first : first + 1] + data[5:]
        expected[kind, subtype, flags, data] = number
    return found == expected


@cache
def _inputs() -> frozenset[bytes]:
    contents = [path.read_bytes() for path in Path(FIXTURES / "inputs").iterdir()]
    return frozenset([*contents, *(data + b"\0" for data in contents)])


def _is_repair(fixture: Fixture, found: Counter[Material]) -> bool:
    """A fixture that holds damaged items holds, besides, one of them as it was written."""
    more = found - fixture.baseline
    return (
        "item-crc" in fixture.needs
        and not fixture.baseline - found
        and all(data in _inputs() for _, _, _, data in more)
    )


def _told(fixture: Fixture, found: Counter[Material], changes: tuple[str, ...]) -> bool:
    """Nothing but baseline material; what was accepted to be lost is named, or lay nowhere."""
    left_out = [change for change in changes if change.startswith("left out: ")]
    lost = fixture.baseline - found
    return not found - fixture.baseline and all(
        any(_names(change, one, fixture) for change in left_out) for one in lost
    )


def _names(change: str, lost: Material, fixture: Fixture) -> bool:
    """By its kind, as nameless bytes, or by its place: damage can change an entry's name."""
    kind, subtype, _, data = lost
    places = [
        entry.offset
        for entry in walk(fixture.data)
        if (entry.type, entry.subtype, entry.data) == (kind, subtype, data)
    ]
    return (
        TLV_NAMES[kind] in change
        or NAMELESS in change
        or any(f" at {place:#x}, damaged" in change for place in places)
    )


def _difference(expected: Counter[Material], found: Counter[Material]) -> str:
    def names(items: Counter[Material]) -> str:
        return ", ".join(
            f"type {kind}[{subtype}] flags {flags:#04x} {len(data)} bytes"
            for kind, subtype, flags, data in sorted(items.elements())
        )

    return f"exit 0, but lost: {names(expected - found)}; new: {names(found - expected)}"
