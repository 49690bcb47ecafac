"""Every damage of the sweep, numbered: the same number is the same damage on every machine."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

CUT: Final = "cut"
FLIP: Final = "flip"
ZEROS: Final = "zeros"
ERASED: Final = "erased"
RANDOM: Final = "random"

KINDS: Final = (CUT, FLIP, ZEROS, ERASED, RANDOM)

FILL_LENGTHS: Final = (4, 16, 64, 256, 1024)
BLOCK: Final = 16
"""Fills start at every 16-byte boundary, those of 4 bytes at every word."""


class Damage(NamedTuple):
    """What is done to an image: from `offset` on, `length` bytes (of a cut: all bytes)."""

    kind: str
    offset: int
    length: int
    bit: int = 0

    def __str__(self) -> str:
        if self.kind == CUT:
            return f"cut to {self.offset} ({self.offset:#x}) bytes"
        if self.kind == FLIP:
            return f"bit {self.bit} of byte {self.offset} ({self.offset:#x}) flipped"
        return f"{self.length} bytes at {self.offset} ({self.offset:#x}) made {self.kind}"

    def apply(self, data: bytes) -> bytes:
        """The damaged image."""
        if self.kind == CUT:
            return data[: self.offset]
        stop = min(self.offset + self.length, len(data))
        return data[: self.offset] + self._filling(data)[: stop - self.offset] + data[stop:]

    def _filling(self, data: bytes) -> bytes:
        if self.kind == FLIP:
            return bytes((data[self.offset] ^ 1 << self.bit,))
        if self.kind == RANDOM:
            return hashlib.shake_128(f"{self.length}/{self.offset}".encode()).digest(self.length)
        return (b"\xff" if self.kind == ERASED else b"\x00") * self.length


def _step(length: int) -> int:
    return min(length, BLOCK)


def count(kind: str, size: int) -> int:
    """How many damages of a kind there are for an image of `size` bytes."""
    if kind == CUT:
        return size
    if kind == FLIP:
        return 8 * size
    return sum(-(-size // _step(length)) for length in FILL_LENGTHS)


def at(kind: str, size: int, number: int) -> Damage:
    """The damage with this number."""
    if kind == CUT:
        return Damage(CUT, number, size - number)
    if kind == FLIP:
        return Damage(FLIP, number // 8, 1, number % 8)
    for length in FILL_LENGTHS:
        places = -(-size // _step(length))
        if number < places:
            return Damage(kind, number * _step(length), length)
        number -= places
    raise IndexError(number)


@dataclass(frozen=True, slots=True)
class Order:
    """An order of all damages of one kind that spreads any first part of it evenly."""

    total: int
    first: int
    stride: int

    @classmethod
    def seeded(cls, total: int, seed: str) -> Order:
        """Another order for each seed."""
        digest = hashlib.sha256(seed.encode()).digest()
        stride = int.from_bytes(digest[:8], "big") % total or 1
        while math.gcd(stride, total) != 1:
            stride += 1
        return cls(total, int.from_bytes(digest[8:16], "big") % total, stride)

    def __iter__(self) -> Iterator[int]:
        return ((self.first + i * self.stride) % self.total for i in range(self.total))
