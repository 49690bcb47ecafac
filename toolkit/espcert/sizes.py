"""Sizes that a partition can be asked to have."""

from __future__ import annotations

from typing import Final

from espcert.errors import UsageError
from espcert_formats.flash import SECTOR

MAX_SIZE: Final = 0x10000000
"""Bytes: the largest flash that these modules have."""


def require_size(size: int | None) -> None:
    """Raise UsageError where a size that was asked for is none that a partition can have."""
    if size is None:
        return
    if size > MAX_SIZE:
        raise UsageError("bad-size", f"--size {size:#x}: no flash is larger than {MAX_SIZE:#x}")
    if size <= 0 or size % SECTOR:
        raise UsageError(
            "bad-size", f"--size {size:#x}: a partition has whole sectors of {SECTOR:#x} bytes"
        )
