"""Checks: small functions from what an image holds to findings, one module a subject."""

from __future__ import annotations

from datetime import datetime

from espcert.checks import certificates, ds, structure
from espcert.detection import Reading
from espcert.findings import Finding


def run(reading: Reading, *, at: datetime, chip: str | None = None) -> list[Finding]:
    """All findings on an image that was read. `at` is the clock for the certificates."""
    contents = reading.require()
    return [
        *structure.check(reading),
        *structure.missing(item for item in contents.items if item.intact is not False),
        *ds.check(contents.items, chip),
        *certificates.check(contents.items, at),
    ]
