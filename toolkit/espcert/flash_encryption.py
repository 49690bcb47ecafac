"""Flash encryption: its key, and what it makes of bytes at an address, by esptool's `espsecure`.

espsecure runs as a separate program over files in a private directory. Source of the schemes, key
lengths and alignments: esptool bb72741, espsecure/__init__.py (_load_hardware_key,
_flash_encryption_operation_esp32, _flash_encryption_operation_aes_xts).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from espcert.errors import FileError, UnreadableError, UsageError
from espcert.files import STDIN, read_image, reason_of

XTS: Final = "xts"
ESP32: Final = "esp32"
KEY_LENGTHS: Final = {XTS: (16, 32, 64), ESP32: (24, 32)}
"""Bytes of a key file by scheme."""

BLOCK: Final = 16
"""Bytes that are encrypted as one; addresses and lengths are multiples of it."""
MAX_ADDRESS: Final = 1 << 32
MAX_CRYPT_CONF: Final = 0xF
MAX_KEY_FILE_SIZE: Final = 4096
TIMEOUT: Final = 300
"""Seconds after which espsecure counts as hanging; 16 MiB take it some ten."""

_ERASED_BLOCK: Final = b"\xff" * BLOCK


@dataclass(frozen=True, slots=True)
class FlashEncryption:
    """A flash encryption key with its scheme: `xts`, or `esp32` for the ESP32 itself.

    `crypt_conf` is the ESP32's FLASH_CRYPT_CONFIG, None for what it has by default. `address` is
    where in flash an image lies that is a bare partition, None where that is not known.

    Raises UsageError where they contradict each other.
    """

    key: bytes = field(repr=False)
    scheme: str
    crypt_conf: int | None = None
    address: int | None = None

    def __post_init__(self) -> None:
        if self.scheme not in KEY_LENGTHS:
            raise UsageError("bad-scheme", "--flash-encryption: expected xts or esp32")
        if len(self.key) not in KEY_LENGTHS[self.scheme]:
            lengths = ", ".join(map(str, KEY_LENGTHS[self.scheme]))
            raise UsageError(
                "bad-flash-key",
                f"the flash encryption key has {len(self.key)} bytes, expected one of {lengths} "
                f"for {self.scheme}",
            )
        half = len(self.key) // 2
        if self.scheme == XTS and half >= BLOCK and self.key[:half] == self.key[half:]:
            raise UsageError("bad-flash-key", "the flash encryption key's halves are the same")
        if self.crypt_conf is not None:
            self._check_crypt_conf(self.crypt_conf)
        if self.address is not None and (self.address % BLOCK or self.address >= MAX_ADDRESS):
            raise UsageError(
                "bad-address",
                f"--flash-address {self.address:#x}: expected a multiple of 16 below 4 GiB",
            )

    def _check_crypt_conf(self, crypt_conf: int) -> None:
        if self.scheme != ESP32:
            raise UsageError("bad-crypt-conf", "--flash-crypt-conf: only for the scheme esp32")
        if crypt_conf > MAX_CRYPT_CONF:
            raise UsageError("bad-crypt-conf", f"--flash-crypt-conf {crypt_conf:#x}: at most 0xf")

    @property
    def name(self) -> str:
        """The scheme in words."""
        if self.scheme == ESP32:
            return "ESP32 scheme"
        return "XTS-AES-256" if len(self.key) == KEY_LENGTHS[XTS][-1] else "XTS-AES-128"

    def decrypt(self, data: bytes, address: int) -> bytes:
        """The plain text of what lies at a flash address, in whole blocks of 16 bytes.

        Blocks of 0xFF are flash that is erased, not ciphertext, and stay so.
        Raises UsageError where esptool is missing, FileError where espsecure fails.
        """
        whole = data[: len(data) - len(data) % BLOCK]
        if not whole:
            return b""
        plain = self._run("decrypt-flash-data", whole, address)
        return _with_erased_blocks(whole, plain)

    def encrypt(self, data: bytes, address: int) -> bytes:
        """The ciphertext of bytes at a flash address; both are multiples of 16.

        Raises UsageError where esptool is missing, FileError where espsecure fails.
        """
        return self._run("encrypt-flash-data", data, address)

    def _run(self, action: str, data: bytes, address: int) -> bytes:
        require_espsecure()
        options = ["--address", hex(address)]
        options += ["--aes-xts"] if self.scheme == XTS else []
        if self.crypt_conf is not None:
            options += ["--flash-crypt-conf", hex(self.crypt_conf)]
        try:
            result = _espsecure([action, *options], self.key, data)
        except OSError as error:
            text = f"espsecure could not be run: {reason_of(error)}"
            raise FileError("espsecure-failed", text) from error
        if len(result) != len(data):
            raise FileError("espsecure-failed", f"espsecure wrote {len(result)} of {len(data)}")
        return result


def load(
    name: str, scheme: str, crypt_conf: int | None = None, address: int | None = None
) -> FlashEncryption:
    """A flash encryption key from its file.

    Raises UsageError for what cannot be one, FileError where reading fails.
    """
    if name == STDIN:
        raise UsageError("bad-flash-key", "--flash-encryption-key -: a key is read from a file")
    try:
        key = read_image(name, MAX_KEY_FILE_SIZE)
    except UnreadableError:
        text = f"{name}: over {MAX_KEY_FILE_SIZE} bytes, too large for a flash encryption key"
        raise UsageError("bad-flash-key", text) from None
    return FlashEncryption(key, scheme, crypt_conf, address)


def _with_erased_blocks(raw: bytes, plain: bytes) -> bytes:
    if _ERASED_BLOCK not in raw:
        return plain
    result = bytearray(plain)
    for at in range(0, len(raw), BLOCK):
        if raw[at : at + BLOCK] == _ERASED_BLOCK:
            result[at : at + BLOCK] = _ERASED_BLOCK
    return bytes(result)


# --- espsecure ---------------------------------------------------------------------------------


def require_espsecure() -> None:
    """Raise UsageError where no espsecure with the commands of esptool 5 is installed."""
    from importlib import metadata, util

    try:
        version = metadata.version("esptool")
    except metadata.PackageNotFoundError:
        version = ""
    major = version.partition(".")[0]
    if not major.isdecimal() or int(major) < 5 or util.find_spec("espsecure") is None:
        raise UsageError(
            "no-esptool",
            "flash encryption needs esptool 5 or later: pip install 'espcert[esptool]'",
        )


def _espsecure(arguments: list[str], key: bytes, data: bytes) -> bytes:
    """What espsecure writes for an input.

    It runs inside the private directory: `python -m` looks for modules in the current one first.
    """
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory(prefix="espcert-") as name:
        folder = Path(name)
        for file, content in (("key", key), ("in", data), ("out", b"")):
            _store(folder / file, content)
        files = ["--keyfile", "key", "--output", "out", "in"]
        try:
            done = subprocess.run(
                [sys.executable, "-m", "espsecure", *arguments, *files],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            text = f"espsecure did not end within {TIMEOUT} s and was stopped"
            raise FileError("espsecure-failed", text) from None
        if done.returncode:
            text = f"espsecure failed with exit code {done.returncode}; is esptool 5 sound?"
            raise FileError("espsecure-failed", text)
        return (folder / "out").read_bytes()


def _store(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
