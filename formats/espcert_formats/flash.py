"""Flash: its sectors, and what erased flash looks like."""

from __future__ import annotations

from typing import Final

SECTOR: Final = 0x1000
"""Bytes that are erased together; offsets and sizes of partitions are multiples of it."""

_BLANK: Final = b"\xff" * 0x10000


def is_erased(data: bytes) -> bool:
    """Whether all bytes are 0xFF. Comparing is many times faster than stripping."""
    return all(
        data[at : at + len(_BLANK)] == _BLANK[: len(data) - at]
        for at in range(0, len(data), len(_BLANK))
    )


def first_written(data: bytes, start: int = 0, stop: int | None = None) -> int | None:
    """Offset of the first byte in [start, stop) that is not 0xFF, or None."""
    area = data[start:stop]
    if is_erased(area):
        return None
    return start + len(area) - len(area.lstrip(b"\xff"))
