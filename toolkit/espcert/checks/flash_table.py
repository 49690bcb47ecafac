"""The partition table of the flash image that holds the partition, where it is in one."""

from __future__ import annotations

from collections.abc import Iterator

from espcert import table_faults
from espcert.checks.context import Context
from espcert.findings import Finding


def check(context: Context) -> Iterator[Finding]:
    """Findings on the table. Their places are those in flash, so that they have no offset."""
    if context.image is not None:
        for code, message in table_faults.faults(context.image):
            yield Finding(code, message)
