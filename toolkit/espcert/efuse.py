"""Key blocks of an eFuse dump, in every form that espefuse and QEMU write.

All binary forms hold the blocks as the chip has them in memory, BLOCK0 first, little-endian; the
register file of espefuse's virtual chip is stored back to front. Sources: esptool 5.6.0,
espefuse/efuse/base_operations.py (dump, summary), token.py, emulate_efuse_controller_base.py;
ESP-IDF 102122904ad, tools/idf_py_actions/qemu_ext.py.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from espcert.chips import CHIPS, KEY_PURPOSES, Bits, Chip
from espcert.errors import UnreadableError, UsageError
from espcert.files import STDIN, read_image

MAX_DUMP_SIZE: Final = 1 << 20
"""A console log with a JSON summary has some 100 KB."""

KEY_LENGTH: Final = 32
NOT_A_PURPOSE: Final = "FORBIDDEN_STATE"
"""espefuse's name for a number that is no key purpose."""

JOINT: Final = "joint dump"
SPLIT: Final = "split dump"
TOKEN: Final = "token"
SUMMARY: Final = "JSON summary"
CONSOLE: Final = "console dump"
VIRTUAL: Final = "virtual eFuse file"
QEMU: Final = "QEMU eFuse image"

_READ_REGISTERS: Final = 0x2C
"""Where BLOCK0 begins in the register file of every chip but the ESP32."""

_REGISTERS: Final = 0x200
_QEMU_SIZE: Final = 0x400
_WRITE_REGISTERS: Final = 32
"""Bytes of the register file that hold what is to be burned; espefuse clears them afterwards."""

_ESP32_REGISTERS: Final = 0x120
_ESP32_BLOCK1: Final = 0x38

_FIRST_WITH_FIFTH_BITS: Final = 3
"""Major revision from which on a chip uses its `fifth_bits`."""

_TOKEN_PARTS: Final = 5
"""Magic, chip, revision, at least one block and the error registers."""


@dataclass(frozen=True, slots=True)
class KeyBlock:
    """BLOCK_KEY`number`: its purpose by name (None: not known) and its 32 bytes.

    `key` is in memory order, as an HMAC key file has it; None where the block is not readable.
    A QEMU image shows the key of a block that is `read_protected` on the module. `possible` are
    the purposes that different chips would have, where the dump does not tell the chip. `origin`
    says in words whose block it is.
    """

    number: int
    purpose: str | None
    key: bytes | None = field(repr=False)
    read_protected: bool = False
    possible: tuple[str, ...] = ()
    origin: str = "the eFuse dump"

    @property
    def name(self) -> str:
        """The block's name in espefuse."""
        return f"BLOCK_KEY{self.number}"


@dataclass(frozen=True, slots=True)
class EfuseDump:
    """The key blocks of a dump by number, the form it has, and the chip where it is known."""

    form: str
    chip: str | None
    blocks: tuple[KeyBlock, ...]

    def block(self, number: int) -> KeyBlock | None:
        """BLOCK_KEY`number`, or None where the dump does not have it."""
        return next((block for block in self.blocks if block.number == number), None)


def load(name: str, chip: str | None) -> EfuseDump:
    """The key blocks of a dump in a file; `chip` is one of CHIPS, or None where not known.

    Of a split dump, `name` is any of its files, or the name that espefuse was given.
    Raises UsageError for what is no dump, or one of another chip; FileError where reading fails.
    """
    if name == STDIN:
        raise _bad("-: an eFuse dump is read from a file, not from standard input")
    try:
        data = _read(name)
    except UsageError as error:
        path = Path(name)
        blocks = _series(path, path.stem) if error.code == "not-found" else []
        if not blocks:
            raise
        data = b""
    else:
        blocks = _siblings(name, data)
    try:
        return _joined(SPLIT, blocks, chip) if blocks else read(data, chip)
    except UsageError as error:
        raise UsageError(error.code, f"{name}: {error.message}") from None


def read(data: bytes, chip: str | None) -> EfuseDump:
    """The key blocks of a dump in one file; see `load`."""
    text = _text(data)
    if text is None:
        return _binary(data, chip)
    token = re.search(r"EFSR:[A-Za-z0-9_:-]+", text)
    if token is not None:
        return _token(token[0], chip)
    start = re.search(r'\{\s*"', text)
    if start is not None:
        return _summary(text, start.start(), chip)
    rows = re.findall(r"\[\d+ *\] dump:((?: [0-9A-Fa-f]{8})+)", text)
    if rows:
        return _joined(CONSOLE, _console(rows), _agreed(chip, _announced(text)))
    raise _unknown(f"text of {len(data)} bytes without a dump in it")


def _bad(message: str) -> UsageError:
    return UsageError("bad-efuse", message)


def _unknown(found: str) -> UsageError:
    return _bad(
        f"{found}, expected what espefuse writes (dump --format joint, split or token; summary "
        "--format json; --path-efuse-file) or a QEMU eFuse image"
    )


# --- Files -------------------------------------------------------------------------------------


def _read(name: str) -> bytes:
    try:
        return read_image(name, MAX_DUMP_SIZE)
    except UnreadableError as error:
        raise _bad(f"{name}: over {MAX_DUMP_SIZE >> 20} MiB, larger than any eFuse dump") from error


def _series(path: Path, stem: str) -> list[bytes]:
    """The blocks of a split dump from the files STEM0, STEM1 and so on beside `path`."""
    blocks = []
    for number in range(max(len(chip.block_lengths) for chip in CHIPS.values())):
        try:
            blocks.append(_read(str(path.parent / f"{stem}{number}{path.suffix}")))
        except UsageError:
            break
    return blocks


def _siblings(name: str, data: bytes) -> list[bytes]:
    """All blocks of the split dump that a file belongs to; none where it is no single block."""
    if all(len(data) not in chip.block_lengths for chip in CHIPS.values()):
        return []
    path = Path(name)
    for digits in (2, 1):
        number = path.stem[-digits:]
        if re.fullmatch("10|[0-9]", number):
            blocks = _series(path, path.stem[:-digits])
            if data in blocks[int(number) : int(number) + 1] and _chips_of(blocks):
                return blocks
    alone = "; a key alone is given with --hmac-key" if len(data) == KEY_LENGTH else ""
    raise _bad(
        f"{name}: {len(data)} bytes, which is one eFuse block, and the other files of a split "
        f"dump are not all beside it{alone}"
    )


def _text(data: bytes) -> str | None:
    """The file as text, None where it is binary. PowerShell redirects output as UTF-16."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") and b"\0\0" not in data:
        return data.decode("utf-16", errors="replace")
    return None if b"\0" in data else data.decode("utf-8-sig", errors="replace")


# --- The chip ----------------------------------------------------------------------------------


def _announced(text: str) -> str | None:
    """The chip that espefuse names before its output."""
    lines = r"(?:Detecting chip type\.\.\.|Connected to|Loading eFuses for) *(ESP32[-A-Z0-9]*)"
    names = [name.replace("-", "").lower() for name in re.findall(lines, text)]
    return next((name for name in names if name in CHIPS), None)


def _agreed(chip: str | None, named: str | None) -> str | None:
    if chip is not None and named is not None and chip != named:
        raise _bad(f"a dump of {named}, expected one of {chip}")
    return chip or named


def _chips_of(blocks: Sequence[bytes]) -> list[Chip]:
    """The chips that have blocks of these lengths."""
    lengths = tuple(map(len, blocks))
    return [chip for chip in CHIPS.values() if chip.block_lengths == lengths]


# --- Blocks in memory order --------------------------------------------------------------------


def _joined(form: str, blocks: Sequence[bytes], chip: str | None) -> EfuseDump:
    candidates = _chips_of(blocks)
    if not candidates:
        size = sum(map(len, blocks))
        raise _bad(f"a {form} of {len(blocks)} blocks, {size} bytes, which no chip has")
    return _dump(form, b"".join(blocks), candidates, chip)


def _binary(data: bytes, chip: str | None) -> EfuseDump:
    joint = [one for one in CHIPS.values() if one.dump_length == len(data)]
    if joint:
        return _dump(JOINT, data, joint, chip)
    others = [one for one in CHIPS.values() if one.name != "esp32"]
    if len(data) == _REGISTERS and not any(data[-_WRITE_REGISTERS:]):
        return _dump(VIRTUAL, data[::-1][_READ_REGISTERS:], others, chip)
    if len(data) == _ESP32_REGISTERS:
        registers, esp32 = data[::-1], CHIPS["esp32"]
        memory = registers[: esp32.key_offset] + registers[_ESP32_BLOCK1:]
        return _dump(VIRTUAL, memory, [esp32], chip)
    if len(data) == _QEMU_SIZE and not any(data[_REGISTERS - _READ_REGISTERS :]):
        return _dump(QEMU, data, others, chip)
    raise _unknown(f"{len(data)} bytes")


def _console(rows: Iterable[str]) -> list[bytes]:
    """The blocks of `espefuse dump` without a file; it prints words as numbers."""
    return [b"".join(int(word, 16).to_bytes(4, "little") for word in row.split()) for row in rows]


def _dump(form: str, memory: bytes, candidates: Sequence[Chip], chip: str | None) -> EfuseDump:
    """Read the blocks as the chip has them; `candidates` are those that can have this form."""
    names = [candidate.name for candidate in candidates]
    if chip is not None and chip not in names:
        other = names[0] if len(names) == 1 else "another chip"
        raise _bad(f"a {form} of {other}, expected one of {chip}")
    if chip is None and len(names) == 1:
        chip = names[0]
    if chip is None:
        return EfuseDump(form, None, _guessed(memory, candidates))
    return EfuseDump(form, chip, tuple(_blocks(CHIPS[chip], memory)))


def _blocks(chip: Chip, memory: bytes) -> Iterator[KeyBlock]:
    purposes = list(_purposes(chip, memory))
    for number in range(chip.key_blocks):
        start = chip.key_offset + KEY_LENGTH * number
        key = memory[start : start + KEY_LENGTH]
        yield KeyBlock(
            number,
            KEY_PURPOSES.get(purposes[number], NOT_A_PURPOSE) if purposes else None,
            key if any(key) else None,
            bool(_value(memory, chip.read_disable[number])),
        )


def _purposes(chip: Chip, memory: bytes) -> Iterator[int]:
    """KEY_PURPOSE_n by number, with the fifth bit where the chip's revision has it."""
    revision = _value(memory[chip.block_lengths[0] :], *chip.major_revision)
    wide = chip.fifth_bits if revision >= _FIRST_WITH_FIFTH_BITS else ()
    for number, bits in enumerate(chip.purpose_bits):
        yield _value(memory, bits, *wide[number : number + 1])


def _value(block: bytes, *parts: Bits) -> int:
    """A number whose parts, the lowest first, lie in a block; 0 without parts."""
    value = shift = 0
    for bits in parts:
        word = int.from_bytes(block[4 * bits.word : 4 * bits.word + 4], "little")
        value |= (word >> bits.low & (1 << bits.width) - 1) << shift
        shift += bits.width
    return value


# --- A chip that is not known ------------------------------------------------------------------

_PAIRS: Final = (
    {"XTS_AES_256_KEY_1", "XTS_AES_256_KEY_2"},
    {"XTS_AES_256_PSRAM_KEY_1", "XTS_AES_256_PSRAM_KEY_2"},
    {"ECDSA_KEY_P384_L", "ECDSA_KEY_P384_H"},
)


def _guessed(memory: bytes, candidates: Sequence[Chip]) -> tuple[KeyBlock, ...]:
    """The blocks of a dump whose chip is not known.

    Chips with blocks of the same lengths have the purposes in different places. A chip's reading
    counts where its purposes and its burned blocks fit each other; first of all where nothing but
    keys was burned, then where there are keys at all. A purpose on which such readings differ is
    not known.
    """
    readings = [(chip, tuple(_blocks(chip, memory))) for chip in candidates if chip.purpose_bits]
    possible = [blocks for chip, blocks in readings if _possible(chip, blocks)]
    fitting = [blocks for blocks in possible if not _has_user_data(blocks)]
    keyed = [blocks for blocks in possible if _has_purposes(blocks)]
    without = [blocks for _, blocks in readings if not _has_purposes(blocks)]
    counting = fitting or keyed or (without if len(without) == len(readings) else [])
    if counting:
        return _common(counting)
    return tuple(replace(block, purpose=None) for block in readings[0][1])


def _has_purposes(blocks: Iterable[KeyBlock]) -> bool:
    return any(block.purpose != "USER" for block in blocks)


def _possible(chip: Chip, blocks: Sequence[KeyBlock]) -> bool:
    """Whether the chip knows these purposes, and each is that of a block that was burned."""
    known = {KEY_PURPOSES[number] for number in chip.purposes}
    used = {block.purpose for block in blocks if block.purpose != "USER"}
    empty = any(
        block.purpose != "USER" and block.key is None and not block.read_protected
        for block in blocks
    )
    halved = any(len(pair & used) == 1 for pair in _PAIRS)
    return used <= known and not empty and not halved


def _has_user_data(blocks: Iterable[KeyBlock]) -> bool:
    """Whether a block was burned that has no purpose but the user's."""
    return any(
        block.purpose == "USER" and (block.key is not None or block.read_protected)
        for block in blocks
    )


def _common(readings: Sequence[tuple[KeyBlock, ...]]) -> tuple[KeyBlock, ...]:
    """The blocks of the first reading, with what all readings make of their purposes."""
    blocks = []
    for number, block in enumerate(readings[0]):
        found = [one for reading in readings for one in reading[number : number + 1]]
        names = tuple(dict.fromkeys(one.purpose for one in found if one.purpose is not None))
        agreed = len(names) == 1
        blocks.append(block if agreed else replace(block, purpose=None, possible=names))
    return tuple(blocks)


# --- Text --------------------------------------------------------------------------------------


def _token(token: str, chip: str | None) -> EfuseDump:
    """EFSR:chip:revision, then a piece for each block, the error registers, and a CRC-32."""
    prefix, _, checksum = token.rpartition(":")
    crc = zlib.crc32(f"{prefix}:".encode()).to_bytes(4, "little")
    parts = prefix.split(":")
    if len(parts) < _TOKEN_PARTS or _decoded(checksum) != crc:
        raise _bad("a token whose checksum is wrong; it must be whole and on one line")
    named = CHIPS.get(parts[1])
    if named is None:
        raise _bad(f"a token of {parts[1]}, expected one of {', '.join(CHIPS)}")
    pieces = parts[3:-1]
    if len(pieces) != len(named.block_lengths):
        raise _bad(f"a token of {len(pieces)} blocks, expected {len(named.block_lengths)}")
    pairs = zip(pieces, named.block_lengths, strict=True)
    blocks = [_decoded(piece) or bytes(length) for piece, length in pairs]
    return _joined(TOKEN, blocks, _agreed(chip, named.name))


def _decoded(piece: str) -> bytes:
    """Base64 as in addresses, without padding; nothing where it is none."""
    try:
        return base64.b64decode(piece + "=" * (-len(piece) % 4), b"-_", validate=True)
    except ValueError:
        return b""


def _summary(text: str, start: int, chip: str | None) -> EfuseDump:
    """The key blocks of the first JSON object in a text, which may show some of them only."""
    try:
        # Numbers stay text: a hostile one would take long to convert.
        decoder = json.JSONDecoder(parse_int=str, parse_float=str)
        fields, _ = decoder.raw_decode(text, start)
    except (ValueError, RecursionError):
        raise _unknown("JSON that is damaged or not whole") from None
    most = max(one.key_blocks for one in CHIPS.values())
    numbers = [number for number in range(most) if f"BLOCK_KEY{number}" in fields]
    if not numbers:
        raise _unknown("JSON without BLOCK_KEY0 or another key block")
    chip = _agreed(chip, _announced(text[:start]))
    if chip is not None and numbers[-1] >= CHIPS[chip].key_blocks:
        raise _bad(f"a {SUMMARY} with BLOCK_KEY{numbers[-1]}, which {chip} does not have")
    return EfuseDump(SUMMARY, chip, tuple(_summary_block(fields, number) for number in numbers))


def _summary_block(fields: dict[str, Any], number: int) -> KeyBlock:
    block, purpose = (_entry(fields, f"{kind}{number}") for kind in ("BLOCK_KEY", "KEY_PURPOSE_"))
    value, readable = block.get("value"), block.get("readable") is not False
    text = value if isinstance(value, str) else ""
    named = _purpose_name(purpose.get("value"))
    if "?" in text or not readable:
        return KeyBlock(number, named, None, not readable)
    key = _hex(text)
    if len(key) != KEY_LENGTH:
        raise _bad(f"a {SUMMARY} whose BLOCK_KEY{number} is not {KEY_LENGTH} bytes in hexadecimal")
    return KeyBlock(number, named, key if any(key) else None)


def _entry(fields: dict[str, Any], name: str) -> dict[str, Any]:
    entry = fields.get(name)
    return entry if isinstance(entry, dict) else {}


def _hex(text: str) -> bytes:
    """Bytes in hexadecimal; nothing where it is none."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _purpose_name(value: object) -> str | None:
    """A purpose by the name in KEY_PURPOSES; espefuse has two names for 1 on some chips."""
    if not isinstance(value, str):
        return None
    name = "ECDSA_KEY" if value == "ECDSA_KEY_P256" else value
    return name if name in (*KEY_PURPOSES.values(), "RESERVED") else NOT_A_PURPOSE
