"""Flash encryption for tests: AES-XTS of its own, from the facts, and espsecure as it is.

Nothing here uses the code under test. Source of the XTS scheme: esptool bb72741,
espsecure/__init__.py, _flash_encryption_operation_aes_xts.
"""

from __future__ import annotations

import hashlib
import random
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from tests.cli.test_unreadable_images import ROW

UNIT = 128
FlaggedRows = list[tuple[str, int, int, int, int, int]]
"""Label, type, subtype, offset, size, flags."""


@dataclass(frozen=True)
class Scheme:
    """A way to encrypt flash, with a key for it and one that does not fit."""

    name: str
    key: bytes
    wrong: bytes

    def encrypt(self, data: bytes, address: int) -> bytes:
        return self._apply(data, address, decrypt=False)

    def decrypt(self, data: bytes, address: int) -> bytes:
        return self._apply(data, address, decrypt=True)

    def _apply(self, data: bytes, address: int, *, decrypt: bool) -> bytes:
        if self.name == "esp32":
            return espsecure(self.key, data, address, decrypt=decrypt)
        return xts(self.key, data, address, decrypt=decrypt)

    def options(self, folder: Path, *, wrong: bool = False) -> tuple[str, ...]:
        """The command's options, the key in a file of its own."""
        path = folder / ("wrong.key" if wrong else "flash.key")
        path.write_bytes(self.wrong if wrong else self.key)
        return ("--flash-encryption-key", str(path), "--flash-encryption", self.name)


def _key(name: str, length: int) -> bytes:
    return random.Random(name).randbytes(length)


XTS_128 = Scheme("xts", _key("xts 128", 32), _key("xts 128 wrong", 32))
XTS_256 = Scheme("xts", _key("xts 256", 64), _key("xts 256 wrong", 64))
ESP32 = Scheme("esp32", _key("esp32", 32), _key("esp32 wrong", 32))
SCHEMES = {"xts-128": XTS_128, "xts-256": XTS_256, "esp32": ESP32}


def xts(key: bytes, data: bytes, address: int, *, decrypt: bool = False) -> bytes:
    """Units of 128 bytes, each reversed before and after; `address` begins one."""
    assert address % UNIT == 0
    assert len(data) % 16 == 0
    out = b""
    for at in range(0, len(data), UNIT):
        tweak = struct.pack("<QQ", address + at, 0)
        cipher = Cipher(algorithms.AES(key), modes.XTS(tweak))
        step = cipher.decryptor() if decrypt else cipher.encryptor()
        unit = data[at : at + UNIT].ljust(UNIT, b"\0")[::-1]
        out += step.update(unit)[::-1]
    return out[: len(data)]


@cache
def espsecure(
    key: bytes, data: bytes, address: int, *, decrypt: bool = False, scheme: str = "esp32"
) -> bytes:
    """What the tool writes."""
    action = "decrypt-flash-data" if decrypt else "encrypt-flash-data"
    more = ["--aes-xts"] if scheme == "xts" else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "key").write_bytes(key)
        (folder / "in").write_bytes(data)
        files = ["--keyfile", "key", "--output", "out", "in"]
        command = [sys.executable, "-m", "espsecure", action, "--address", hex(address)]
        subprocess.run([*command, *more, *files], cwd=folder, check=True, capture_output=True)
        return (folder / "out").read_bytes()


def flagged_table(rows: FlaggedRows) -> bytes:
    """A partition table as gen_esp32part.py writes it, with the flags of its rows."""
    listed = b"".join(
        ROW.pack(b"\xaa\x50", kind, subtype, offset, size, label.encode(), flags)
        for label, kind, subtype, offset, size, flags in rows
    )
    digest = b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(listed).digest()
    return (listed + digest).ljust(0xC00, b"\xff")
