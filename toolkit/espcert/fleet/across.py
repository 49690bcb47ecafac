"""Compare the modules of a fleet with each other: what two of them should never share."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from espcert.catalogue import CATALOGUE
from espcert.fleet import identity
from espcert.fleet.journal import Journal, Row, naming

LISTED: Final = 1000
"""Sources that a finding names."""

MOST: Final = 1000
"""Findings of one code that are told, those of most modules first; all are counted."""

BUDGET: Final = 20_000
"""Sources that all findings together name, so that they fit into memory whatever the fleet."""

FEW: Final = 10

_FILE: Final = "coalesce(inode || ' ' || input_sha256, id)"
"""Tells files apart, of which one may have several names. Not by the number alone: that of a file
that has gone may be another one's since."""

_CODES: Final = {
    identity.PRIVATE_KEY: ("shared-private-key", "have the same private key"),
    identity.DEVICE_CERT: ("shared-device-cert", "have the same device certificate"),
    identity.SERIAL: ("shared-serial", "have different certificates with one serial number"),
    identity.DS_BLOCK: ("shared-ds-block", "hold the same DS ciphertext and IV"),
    identity.HMAC_KEY: ("shared-hmac-key-id", "name the same HMAC key for the same ciphertext"),
}

Finding = dict[str, Any]


def findings(journal: Journal) -> list[Finding]:
    """What modules share, by code; computed on disk.

    Each has `code`, `severity`, `message`, `hint`, `count`, and the first of its `sources`.
    """
    told: list[Finding] = []
    budget = BUDGET
    with naming(journal.path):
        _index(journal)
        for kind in _CODES:
            for group in journal.database.execute(_query(kind), (kind, MOST)).fetchall():
                found = _finding(journal, kind, group, LISTED if budget > LISTED else FEW)
                budget -= len(found["sources"])
                told.append(found)
    return told


def counts(journal: Journal) -> dict[str, int]:
    """How many findings there are of each code, told or not."""
    with naming(journal.path):
        numbers = {
            code: journal.database.execute(
                f"SELECT COUNT(*) FROM ({_query(kind, every=True)})",
                (kind,),
            ).fetchone()[0]
            for kind, (code, _) in _CODES.items()
        }
    return {code: number for code, number in numbers.items() if number}


def _index(journal: Journal) -> None:
    """Made at the end, when one sort does it; a journal that cannot be written does without."""
    with suppress(sqlite3.OperationalError):
        journal.database.execute(
            "CREATE INDEX IF NOT EXISTS by_value ON fingerprints (kind, value, certificate)"
        )


def _query(kind: str, *, every: bool = False) -> str:
    # One certificate in two modules has one serial number, but that is another finding.
    several = " AND COUNT(DISTINCT certificate) > 1" if kind == identity.SERIAL else ""
    limit = "" if every else " ORDER BY modules DESC, value LIMIT ?2"
    # Files are looked up for the few values that several sources have, not for all.
    return (
        "WITH common AS (SELECT value FROM fingerprints WHERE kind = ?1 GROUP BY value "
        f"HAVING COUNT(*) > 1{several}) SELECT value, COUNT(DISTINCT {_FILE}) AS modules "
        "FROM common CROSS JOIN fingerprints USING (value) JOIN sources USING (id) "
        f"JOIN records USING (id) WHERE kind = ?1 GROUP BY value HAVING modules > 1{limit}"
    )


def _finding(journal: Journal, kind: str, group: Row, listed: int) -> Finding:
    code, text = _CODES[kind]
    members = list(_members(journal, kind, group["value"]))
    row = CATALOGUE[code]
    number, images = group["modules"], len({digest for _, digest in members})
    same = "; their images are the same, too: perhaps one module twice" if images == 1 else ""
    return {
        "code": code,
        "severity": row.severity,
        "message": f"{number} modules {text}{same}",
        "hint": row.hint,
        "count": number,
        "sources": [source for source, _ in members[:listed]],
    }


def _members(journal: Journal, kind: str, value: bytes) -> Iterator[tuple[str, str]]:
    """The first name of each file, with the digest of its bytes."""
    query = (
        "SELECT MIN(source) AS first, input_sha256 FROM fingerprints JOIN sources USING (id) "
        f"JOIN records USING (id) WHERE kind = ? AND value = ? GROUP BY {_FILE} "
        "ORDER BY first LIMIT ?"
    )
    for row in journal.database.execute(query, (kind, value, LISTED)):
        yield os.fsdecode(row["first"]), row["input_sha256"]
