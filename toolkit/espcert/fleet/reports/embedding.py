"""The rows that the HTML report carries inside: the worst ones, as columns, gzip and base64.

Two kinds of text go into the page: one with all columns of the table, and one with what a row
opens to, a line for each `DETAILS_A_LINE` rows, of which the page unpacks only the one it needs.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from espcert.catalogue import ERROR as SEVERE
from espcert.fleet.reports import figures, wording
from espcert.fleet.reports.figures import Figures, Record
from espcert.text import printable

MAX_ROWS: Final = 100_000
DETAILS_A_LINE: Final = 500
MAX_FINDINGS: Final = 50
"""Findings of one row that the page shows; the rest are counted."""
MAX_PARTNERS: Final = 20
"""Other modules that a row names where it shares something with them."""

_FACTS: Final = ("id", "label", "revision", "chip_family", "output")
_RANKS: Final = (
    (wording.ERROR, wording.FAILED, wording.UNREADABLE),
    (wording.WARNING, wording.OK, wording.SKIPPED),
)


def pack(value: object) -> str:
    """JSON, gzip, base64: only letters, digits, `+`, `/` and `=`. The same for equal values."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


@dataclass(frozen=True, slots=True)
class Embedded:
    """What goes into the page: `table` and the lines of `details`, packed, and how many rows."""

    table: str
    details: str
    rows: int


class Interned:
    """Numbers for values, in the order in which they are first seen."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self.numbers: dict[str, int] = {value: number for number, value in enumerate(values)}

    def __call__(self, value: str) -> int:
        return self.numbers.setdefault(value, len(self.numbers))


@dataclass(slots=True)
class Columns:
    """The table of the page while it is filled."""

    codes: Interned
    clock: figures.Clock
    layouts: Interned = field(default_factory=Interned)
    keys: Interned = field(default_factory=Interned)
    table: dict[str, list[Any]] = field(
        default_factory=lambda: {
            name: []
            for name in (
                "rank",
                "id",
                "source",
                "state",
                "layout",
                "key",
                "subject",
                "serial",
                "expires",
                "ends",
                "codes",
            )
        }
    )
    lines: list[str] = field(default_factory=list)
    open: list[dict[str, Any]] = field(default_factory=list)

    def add(self, record: Record, rank: int, shared: Sequence[Record]) -> None:
        """Append one row."""
        trouble = figures.trouble_of(record)
        codes = [finding["code"] for finding in record.get("findings") or ()]
        codes += [trouble[0]] if trouble else []
        codes += [finding["code"] for finding in shared]
        row = {
            "rank": rank,
            "source": printable(record["source"]),
            "id": _own_id(record),
            "state": wording.STATES.index(figures.state_of(record)),
            "layout": self.layouts(figures.layout_of(record)),
            "key": self.keys(figures.key_of(record)),
            "subject": printable(record.get("subject") or ""),
            "serial": printable(record.get("serial") or ""),
            "expires": (record.get("not_after") or "")[:10],
            "ends": figures.ending_of(record, self.clock),
            "codes": [self.codes(code) for code in dict.fromkeys(codes)],
        }
        for name, value in row.items():
            self.table[name].append(value)
        self._add_details(_details(record, shared, self.codes))

    def _add_details(self, details: dict[str, Any]) -> None:
        self.open.append(details)
        if len(self.open) == DETAILS_A_LINE:
            self.close()

    def close(self) -> None:
        """Pack the details gathered so far into a line."""
        if self.open:
            self.lines.append(pack(self.open))
            self.open = []


def _own_id(record: Record) -> str:
    """The id of a module where it is not the name of its file, else nothing."""
    name = str(record.get("id") or "")
    return "" if PurePosixPath(record["source"]).stem == name else printable(name)


def _details(
    record: Record, shared: Sequence[Record], number: Callable[[str], int]
) -> dict[str, Any]:
    """What a row opens to: facts, findings as [code, message, item, offset], what it shares."""
    findings = record.get("findings") or ()
    found = [
        [
            number(finding["code"]),
            printable(finding["message"]),
            printable(finding.get("item") or ""),
            finding.get("offset"),
        ]
        for finding in findings[:MAX_FINDINGS]
    ]
    trouble = figures.trouble_of(record)
    if trouble:
        found.append([number(trouble[0]), printable(trouble[1]), "", None])
    facts = {name: printable(str(record[name])) for name in _FACTS if record.get(name) is not None}
    return {
        "facts": facts,
        "findings": found,
        "more": max(0, len(findings) - MAX_FINDINGS),
        "shared": [_shared(finding, record["source"], number) for finding in shared],
    }


def _shared(finding: Record, source: str, number: Callable[[str], int]) -> list[Any]:
    """[code, message, other modules named, how many there are besides them]."""
    partners = [other for other in finding["sources"][: MAX_PARTNERS + 1] if other != source]
    named = [printable(other) for other in partners[:MAX_PARTNERS]]
    others = finding["count"] - 1
    return [
        number(finding["code"]), printable(finding["message"]), named, max(0, others - len(named)),
    ]  # fmt: skip


def by_source(across: Sequence[Record]) -> dict[str, list[Record]]:
    """The findings between modules, for each source that they name."""
    found: dict[str, list[Record]] = {}
    for finding in across:
        for source in finding["sources"]:
            found.setdefault(source, []).append(finding)
    return found


def rank_of(record: Record, shared: Sequence[Record]) -> int:
    """The place of a module in a list that has the worst first."""
    state = figures.state_of(record)
    worse, better = _RANKS
    if state in worse:
        return worse.index(state)
    if any(finding["severity"] == SEVERE for finding in shared):
        return len(worse)
    return len(worse) + 1 + better.index(state)


Records = Callable[[], Iterator[Record]]


def _worst(
    records: Records, shared: Mapping[str, Sequence[Record]], limit: int
) -> Iterator[tuple[int, Record]]:
    """The worst records, at most `limit`, each with its rank, in the order of their sources.

    One pass counts the ranks and a second one takes what each may have: a list of all records is
    never held.
    """
    counted = Counter(_rank(record, shared) for record in records())
    left: dict[int, int] = {}
    for rank, number in sorted(counted.items()):
        left[rank] = min(number, limit - sum(left.values()))
    for record in records():
        rank = _rank(record, shared)
        if left[rank]:
            left[rank] -= 1
            yield rank, record


def _rank(record: Record, shared: Mapping[str, Sequence[Record]]) -> int:
    return rank_of(record, shared.get(record["source"], ()))


def embed(
    records: Records, across: Sequence[Record], counted: Figures, words: Mapping[str, str],
    limit: int = MAX_ROWS,
) -> Embedded:  # fmt: skip
    """The rows of the page, with all names that they refer to by number."""
    shared = by_source(across)
    columns = Columns(Interned(counted.groups), counted.clock)
    for rank, record in _worst(records, shared, limit):
        columns.add(record, rank, shared.get(record["source"], ()))
    columns.close()
    names = {
        "states": [[state, words[state]] for state in wording.STATES],
        "layouts": list(columns.layouts.numbers),
        "keys": list(columns.keys.numbers),
        "codes": [
            [printable(text) for text in (group.code, group.severity, group.meaning, group.hint)]
            for group in counted.groups.values()
        ],
    }
    table = pack({"names": names, "columns": columns.table, "detailsALine": DETAILS_A_LINE})
    return Embedded(table, " ".join(columns.lines), len(columns.table["source"]))
