"""What several tests need: real images, changes to them, and a builder of NVS partitions.

Nothing here uses the code under test, so that a mistake cannot hide in both.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
IMAGES = SHARED / "images"
FIXTURES = ROOT / "fixtures"

Change = tuple[int, str, str]
"""Offset, operation and operand; see `apply`."""


@cache
def real_image(name: str) -> bytes:
    """One of the real images. Skips the test where they are not at hand."""
    path = IMAGES / name
    if not path.exists():
        pytest.skip(f"{name} is not here: the real images lie in ../shared beside the repository")
    return path.read_bytes()


def real_truth() -> list[dict[str, Any]]:
    """What is known of the real images; empty where they are not at hand."""
    path = IMAGES / "truth.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.exists() else []
    return rows


def fixture_truth() -> list[dict[str, Any]]:
    """What is known of the fixtures; empty where they are not at hand."""
    path = FIXTURES / "truth.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.exists() else []
    return rows


def known_images() -> list[bytes]:
    """All partition images at hand: the fixtures and the real ones."""
    fixtures = [(FIXTURES / row["file"]).read_bytes() for row in fixture_truth()]
    return fixtures + [(IMAGES / row["image"]).read_bytes() for row in real_truth()]


def sha256(data: bytes) -> str:
    """SHA-256 as lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def crc(data: bytes) -> int:
    """The checksum of every layout: CRC-32 with the initial value 0xFFFFFFFF."""
    return zlib.crc32(data, 0xFFFFFFFF)


def apply(data: bytes, changes: Sequence[Change]) -> bytes:
    """The bytes after changes to them, each cut at the image's end."""
    out = bytearray(data)
    for offset, operation, operand in changes:
        if operation in ("append", "drop"):
            out[offset:] = bytes.fromhex(operand)
        else:
            new = _replacement(out, offset, operation, operand)[: max(0, len(out) - offset)]
            out[offset : offset + len(new)] = new
    return bytes(out)


def _replacement(data: bytearray, offset: int, operation: str, operand: str) -> bytes:
    if operation == "xor":
        return bytes(byte ^ int(operand, 16) for byte in data[offset : offset + 1])
    if operation == "set":
        return bytes.fromhex(operand)
    if operation == "cut":
        return b"\xff" * len(data)
    if operation == "copy":
        source, length = (int(part) for part in operand.split(","))
        return bytes(data[source : source + length])
    raise ValueError(operation)


# --- NVS ---------------------------------------------------------------------------------------

NVS_PAGE = 4096
NVS_SLOT = 32
NVS_SLOTS = 126

NVS_ACTIVE, NVS_FULL, NVS_FREEING = 0xFFFFFFFE, 0xFFFFFFFC, 0xFFFFFFF8
NVS_ERASED, NVS_ILLEGAL, NVS_WRITTEN, NVS_EMPTY = 0, 1, 2, 3

NVS_U8, NVS_U16, NVS_STRING, NVS_BLOB = 0x01, 0x02, 0x21, 0x41
NVS_CHUNK, NVS_INDEX = 0x42, 0x48

ERASED_PAGE = b"\xff" * NVS_PAGE


def nvs_header(
    namespace: int, kind: int, span: int, key: str, value: bytes, *, chunk: int = 0xFF
) -> bytes:
    """The 32 bytes of an item's first slot, with its CRC."""
    start = bytes((namespace, kind, span, chunk))
    rest = key.encode().ljust(16, b"\0") + value.ljust(8, b"\xff")
    return start + struct.pack("<I", crc(start + rest)) + rest


def nvs_number(namespace: int, key: str, value: int, kind: int = NVS_U8) -> bytes:
    """An item that is a number."""
    return nvs_header(namespace, kind, 1, key, value.to_bytes(kind & 0x0F, "little"))


def nvs_data(namespace: int, kind: int, key: str, data: bytes, *, chunk: int = 0xFF) -> bytes:
    """An item with data: string, old blob or blob chunk."""
    slots = -(-len(data) // NVS_SLOT)
    value = struct.pack("<HHI", len(data), 0xFFFF, crc(data))
    header = nvs_header(namespace, kind, 1 + slots, key, value, chunk=chunk)
    return header + data.ljust(slots * NVS_SLOT, b"\xff")


def nvs_string(namespace: int, key: str, text: bytes) -> bytes:
    """A string; `text` with its NUL."""
    return nvs_data(namespace, NVS_STRING, key, text)


def nvs_index(namespace: int, key: str, size: int, chunks: int, start: int = 0) -> bytes:
    """The index of a blob in chunks."""
    value = struct.pack("<IBBH", size, chunks, start, 0xFFFF)
    return nvs_header(namespace, NVS_INDEX, 1, key, value)


def nvs_blob(namespace: int, key: str, data: bytes, start: int = 0) -> list[bytes]:
    """The items of a blob that needs one chunk."""
    part = nvs_data(namespace, NVS_CHUNK, key, data, chunk=start)
    return [part, nvs_index(namespace, key, len(data), 1, start)]


def nvs_namespace(name: str, index: int) -> bytes:
    """The item that gives a namespace its index."""
    return nvs_number(0, name, index)


class NvsPage:
    """A page under construction: items are appended, slots and states can be spoilt."""

    def __init__(self, sequence: int, state: int = NVS_ACTIVE, version: int = 0xFE) -> None:
        self.data = bytearray(ERASED_PAGE)
        self.used = 0
        checked = struct.pack("<IB", sequence, version).ljust(24, b"\xff")
        self.data[:28] = struct.pack("<I", state) + checked
        self.data[28:32] = struct.pack("<I", crc(checked))

    def add(self, *items: bytes, state: int = NVS_WRITTEN) -> NvsPage:
        """Append items; `state` is that of all their slots."""
        for item in items:
            if self.free < len(item) // NVS_SLOT:
                raise ValueError("the page is full")
            self.write(self.used, item)
            for slot in range(self.used, self.used + len(item) // NVS_SLOT):
                self.mark(slot, state)
            self.used += len(item) // NVS_SLOT
        return self

    @property
    def free(self) -> int:
        """How many slots are empty."""
        return NVS_SLOTS - self.used

    def write(self, slot: int, data: bytes) -> None:
        """Bytes into slots, whatever their states."""
        at = 64 + slot * NVS_SLOT
        self.data[at : at + len(data)] = data

    def mark(self, slot: int, state: int) -> None:
        """The two bits of a slot in the bitmap."""
        at, shift = 32 + slot // 4, slot % 4 * 2
        self.data[at] = self.data[at] & ~(3 << shift) & 0xFF | state << shift

    def erase(self, first: int, count: int = 1) -> NvsPage:
        """Mark slots as erased; their bytes stay, as in all released firmware."""
        for slot in range(first, first + count):
            self.mark(slot, NVS_ERASED)
        return self


def nvs_image(*pages: NvsPage | bytes, size: int | None = None) -> bytes:
    """A partition of these pages; erased up to `size`, by default one page more, at least three."""
    body = b"".join(bytes(page.data) if isinstance(page, NvsPage) else page for page in pages)
    default = max(3 * NVS_PAGE, len(body) + NVS_PAGE)
    return body.ljust(default if size is None else size, b"\xff")
