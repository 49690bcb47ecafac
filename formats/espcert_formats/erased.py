"""Erased flash: bytes that are 0xFF."""

from __future__ import annotations


def is_erased(data: bytes) -> bool:
    """Whether all bytes are 0xFF. One comparison is many times faster than stripping."""
    return data == b"\xff" * len(data)


def first_written(data: bytes, start: int = 0, stop: int | None = None) -> int | None:
    """Offset of the first byte in [start, stop) that is not 0xFF, or None."""
    area = data[start:stop]
    if is_erased(area):
        return None
    return start + len(area) - len(area.lstrip(b"\xff"))
