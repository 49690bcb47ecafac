"""Makes a fleet: modules of every layout, each with a certificate of its own, some damaged."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support import FIXTURES
from tests.toolkit import pki
from tests.toolkit.pki import entry, make_ca, make_leaf

import espcert
from espcert_formats import tlv

DAMAGED, FOREIGN = 0.05, 0.01
LAYOUTS: Final = ("tlv", "cust_flash", "cust_flash_legacy", "nvs", "nvs_legacy")
FIXED: Final = sorted((FIXTURES / "images").glob("*.bin"))
SIZE: Final = 0x6000


def module(number: int, ca: pki.Issued) -> bytes:
    """A partition with a certificate of its own; a fixture as it is, now and then."""
    if number % 8 == 7:
        return FIXED[number // 8 % len(FIXED)].read_bytes()
    until = 2026 + number % 5 if number % 11 == 0 else 2049
    device = make_leaf(ca, f"module {number}", until=until)
    entries = [
        entry("ca_cert", ca.pem + b"\0"),
        entry("device_cert", device.pem + b"\0"),
        entry("private_key", pki.key_bytes(device.key)),
    ]
    data = bytes(tlv.chain(entries, integrity=number % 2 == 0)).ljust(SIZE, b"\xff")
    layout = LAYOUTS[number % len(LAYOUTS)]
    if layout == "tlv":
        return data
    reading = espcert.detect(espcert.locate(data))
    converted = espcert.convert(reading, layout)
    assert converted.output is not None, converted.findings
    return converted.output


def images(count: int, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """Relative path and bytes of each image: 5 % damaged, 1 % foreign."""
    chance = random.Random(seed)
    ca = make_ca("Fleet CA")
    for number in range(count):
        data = module(number, ca)
        draw = chance.random()
        if draw < FOREIGN:
            data = hashlib.shake_256(b"%d" % number).digest(SIZE)
        elif draw < FOREIGN + DAMAGED:
            at = chance.randrange(len(data) // 4)
            data = data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]
        yield f"{number % 7}/m{number:05}.bin", data


def make(folder: Path, count: int, seed: int = 1) -> list[Path]:
    """Write a fleet below a folder; the paths, sorted."""
    made = []
    for name, data in images(count, seed):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        made.append(path)
    return sorted(made)
