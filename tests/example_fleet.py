"""A made-up fleet for the report: real answers of the library on the fixtures, multiplied.

Deterministic: the same numbers give the same fleet, so pictures and tests can be repeated.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from tests.support import FIXTURES

import espcert
from espcert import detection, verification
from espcert.errors import UnreadableError
from espcert.image import Image, locate

Record = dict[str, Any]

AT: Final = datetime(2026, 3, 2, 8, 0, tzinfo=timezone.utc)
HEADER: Final[Record] = {
    "tool": "espcert",
    "version": espcert.__version__,
    "verb": "audit",
    "options": {
        "strict": False,
        "ca": ["factory-ca.pem"],
        "expires_within": 180,
        "sources": ["line-2"],
        "redact": True,
    },
    "at": "2026-03-02T08:00:00Z",
    "started": "2026-03-02T08:00:03Z",
    "finished": "2026-03-02T08:02:41Z",
    "journal_sha256": "3f" * 32,
    "skipped": {"hidden": 12, "too-large": 1},
    "left": 0,
}
SHARES: Final = {"ok": 78, "warning": 13, "error": 6, "unread": 3}
"""How many of a hundred modules there are of each kind."""


@dataclass
class Fleet:
    """What a report is made of, in memory."""

    rows: list[Record]
    across: list[Record] = field(default_factory=list)
    header: Record = field(default_factory=lambda: dict(HEADER))

    def records(self) -> Iterator[Record]:
        return iter(self.rows)


def image_of(data: bytes, name: str) -> Image:
    return locate(data, name=name)


def certificate_of(reading: espcert.Reading) -> Record:
    """Subject, serial and end of the first device certificate."""
    items = espcert.inspect(reading)["items"]
    found: Record = next((item for item in items if item["kind"] == "device_cert"), {})
    return {name: found.get(name) for name in ("subject", "serial", "not_after")}


def record_of(data: bytes, name: str) -> Record:
    """What `detect` and `verify` say of one image, as a record."""
    base: Record = {"schema": 1, "source": name, "id": name, "status": "done", "exit_code": 0}
    reading = espcert.detect(image_of(data, name))
    base |= detection.to_json(reading)
    try:
        contents = reading.require()
    except UnreadableError as error:
        failure = {"code": error.code, "message": error.message}
        return base | {"status": "failed", "exit_code": error.exit_code, "error": failure}
    found = espcert.verify(contents, at=AT)
    verdict = verification.verdict(found)
    answer = verification.to_json(reading, found, verdict)
    return base | answer | certificate_of(reading) | {"exit_code": int(verdict == "error")}


@functools.cache
def kinds() -> dict[str, list[Record]]:
    """Real records of the fixtures, by verdict."""
    sorts: dict[str, list[Record]] = {name: [] for name in SHARES}
    for path in sorted((FIXTURES / "images").glob("*.bin")):
        record = record_of(path.read_bytes(), path.name)
        sorts[record.get("verdict") or "unread"].append(record)
    noise = random.Random(7).randbytes(0x6000)
    for name, data in {"erased.bin": b"\xff" * 0x6000, "empty.bin": b"", "cut.bin": noise}.items():
        sorts["unread"].append(record_of(data, name))
    return sorts


def module(number: int, chance: random.Random) -> Record:
    """One module of the fleet: an answer on a fixture under a name and a certificate of its own."""
    sort = chance.choices(list(SHARES), list(SHARES.values()))[0]
    choices = kinds()[sort]
    # Few kinds of module make up most of a fleet.
    record = dict(choices[min(int(chance.expovariate(0.35)), len(choices) - 1)])
    batch = f"batch-{number // 400 + 1:02}"
    record |= {"source": f"line-2/{batch}/module-{number:06}.bin", "id": f"module-{number:06}"}
    if record.get("subject"):
        ends = AT + timedelta(days=chance.randrange(-200, 4200))
        record |= {
            "subject": f"CN=module-{number:06},O=Example Devices",
            "serial": f"{chance.getrandbits(120):030x}",
            "not_after": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
        }
    return record


def shared(code: str, rows: list[Record], what: str, hint: str, severity: str = "error") -> Record:
    """A finding between modules."""
    sources = [row["source"] for row in rows]
    text = f"{len(sources)} modules {what}"
    return {
        "code": code, "severity": severity, "message": text, "sources": sources[:1000],
        "count": len(sources), "hint": hint,
    }  # fmt: skip


def fleet(size: int, seed: int = 1) -> Fleet:
    """A fleet of so many modules."""
    chance = random.Random(seed)
    rows = [module(number, chance) for number in range(1, size + 1)]
    same_key = shared(
        "shared-private-key",
        rows[9:13],
        "have the same private key",
        "revoke the certificates; provision all but one anew",
    )
    same_serial = shared(
        "shared-serial",
        rows[40:42],
        "have certificates with one serial number",
        "find out which certificate is right",
        "warning",
    )
    made = Fleet(rows, [same_key, same_serial] if size > 50 else [])
    made.header["total"] = size
    return made
