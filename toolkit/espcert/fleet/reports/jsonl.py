"""The exact report: JSON Lines. The first line has the run, the last ones what modules share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from espcert import files
from espcert.fleet.reports import Report


def write(report: Report, path: Path, *, force: bool = False) -> None:
    """Write `{"schema", "run"}`, the records, and `{"schema", "across"}`, one object a line."""
    with files.written_atomically(path, force=force) as file:
        for found in _objects(report):
            file.write(json.dumps(found, allow_nan=False).encode() + b"\n")


def _objects(report: Report) -> Iterator[Any]:
    yield {"schema": 1, "run": report.header}
    yield from report.records()
    for finding in report.across:
        yield {"schema": 1, "across": finding}
