"""Keys to prove a partition with: an HMAC key from a file, key blocks from an eFuse dump."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from espcert.chips import CHIPS
from espcert.efuse import EfuseDump, KeyBlock
from espcert.errors import UnreadableError, UsageError
from espcert.files import read_image

Problem = tuple[str, str]
"""Finding code, text."""

HMAC_KEY_LENGTH: Final = 32
MAX_KEY_FILE_SIZE: Final = 4096

BLOCK_MASK: Final = 0x0F
"""The bits of a security config's block that name one block, the low one of two."""

_FOR_DS: Final = ("HMAC_DOWN_DIGITAL_SIGNATURE", "HMAC_DOWN_ALL")
_SCALAR_LENGTHS: Final = {"secp192r1": 24, "secp256r1": 32, "secp384r1": 48}
_HIGH: Final = "ECDSA_KEY_P384_H"
_LOW: Final = "ECDSA_KEY_P384_L"


class Lookup(NamedTuple):
    """What was found for a key that the partition needs.

    `key` is None where none is at hand. `where` names its origin in words. `problems` are
    (finding code, text) of what speaks against it.
    """

    key: bytes | None
    where: str = ""
    problems: tuple[Problem, ...] = ()

    def __repr__(self) -> str:
        return f"Lookup(where={self.where!r}, problems={self.problems!r})"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys at hand: 32 bytes of HMAC key, an eFuse dump, both or none.

    The HMAC key that was given is the one to prove with; what the dump says against it are
    problems. A block burned for another purpose still gives its key: the proof tells more.
    """

    hmac_key: bytes | None = field(default=None, repr=False)
    efuse: EfuseDump | None = None

    def for_ds(self, key_id: int) -> Lookup:
        """The HMAC key of BLOCK_KEY`key_id`, for the DS peripheral."""
        if self.efuse is None:
            return self._given()
        block = self.efuse.block(key_id)
        if block is None:
            return self._given(_missing(f"BLOCK_KEY{key_id}"))
        if block.key is None and not block.read_protected and _purposes(block) == ("USER",):
            return self._given(_blank(block))
        return self._hmac_key_of(block, _purpose_problems(block, _FOR_DS))

    def hmac_up(self) -> Lookup:
        """The HMAC key of the first block whose purpose is HMAC_UP.

        Source: esp_secure_cert_mgr 2296511, esp_secure_cert_tlv_read.c (esp_efuse_find_purpose).
        """
        if self.efuse is None:
            return self._given()
        # Where the chip is not known, the reading counts in which the partition has its key.
        named = [block for block in self.efuse.blocks if block.purpose == "HMAC_UP"]
        named += [block for block in self.efuse.blocks if "HMAC_UP" in block.possible]
        if named:
            return self._hmac_key_of(named[0])
        if _shows_all_purposes(self.efuse):
            return self._given(_missing("block with the purpose HMAC_UP"))
        return self._given()

    def ecdsa(self, block: int, curve: str) -> Lookup:
        """The private scalar, big-endian, that lies in an eFuse block for the ECDSA peripheral.

        `block` is the eFuse block's number as a security config says it, `curve` the library's
        name of the certificate's curve (secp256r1, ...). Only the dump has such keys.
        """
        if self.efuse is None or curve not in _SCALAR_LENGTHS:
            return Lookup(None)
        if curve == "secp384r1":
            return _p384_key(self.efuse, block)
        found = self.efuse.block(_key_number(self.efuse, block))
        if found is None:
            return Lookup(None, "", (_missing(f"key block {block}"),))
        problems = _purpose_problems(found, _ecdsa_purposes(self.efuse.chip, curve))
        return _scalar([found], curve, problems)

    def _given(self, *problems: Problem) -> Lookup:
        where = "" if self.hmac_key is None else "the HMAC key given"
        return Lookup(self.hmac_key, where, problems)

    def _hmac_key_of(self, block: KeyBlock, problems: Sequence[Problem] = ()) -> Lookup:
        """The key that was given or else the block's."""
        if block.key is None:
            return self._given(*problems, _unreadable(block))
        others = self.efuse.blocks if self.efuse else ()
        if self.hmac_key is None or any(self.hmac_key == one.key for one in others if one != block):
            return Lookup(block.key, _where([block]), tuple(problems))
        if self.hmac_key != block.key:
            text = f"{_where([block])} holds another key than the HMAC key given"
            return self._given(*problems, ("efuse-key-differs", text))
        return self._given(*problems)


NO_KEYS: Final = Keys()


def load_hmac_key(name: str) -> bytes:
    """The 32 bytes of an HMAC key file: raw, or 64 hexadecimal digits.

    Raises UsageError for anything else, FileError where reading fails.
    """
    try:
        data = read_image(name, MAX_KEY_FILE_SIZE)
    except UnreadableError:
        raise _bad_key(name, f"over {MAX_KEY_FILE_SIZE} bytes") from None
    return hmac_key_of(data, name)


def hmac_key_of(data: bytes, name: str) -> bytes:
    """The 32 bytes in the bytes of an HMAC key file. Raises UsageError for anything else."""
    key = data if len(data) == HMAC_KEY_LENGTH else _from_hex(data)
    if key is None:
        raise _bad_key(name, f"{len(data)} bytes")
    if not any(key):
        raise _bad_key(name, "only zeros, as a read-protected eFuse block reads")
    return key


def _from_hex(data: bytes) -> bytes | None:
    digits = data.strip()
    if len(digits) != 2 * HMAC_KEY_LENGTH:
        return None
    try:
        key = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return None
    return key if len(key) == HMAC_KEY_LENGTH else None


def _bad_key(name: str, found: str) -> UsageError:
    digits = 2 * HMAC_KEY_LENGTH
    return UsageError(
        "bad-hmac-key",
        f"{name}: {found}, expected {HMAC_KEY_LENGTH} bytes or {digits} hexadecimal digits",
    )


# --- Problems ----------------------------------------------------------------------------------


def _where(blocks: Sequence[KeyBlock]) -> str:
    return f"{' and '.join(block.name for block in blocks)} of {blocks[0].origin}"


def _missing(what: str) -> Problem:
    return "efuse-key-missing", f"the eFuse dump has no {what}"


def _blank(block: KeyBlock) -> Problem:
    text = "is blank: all zero, without a purpose, so that no key was ever burned into it"
    return "efuse-key-missing", f"{_where([block])} {text}"


def _unreadable(block: KeyBlock) -> Problem:
    how = "read-protected" if block.read_protected else "all zero"
    return "efuse-key-unreadable", f"{_where([block])} is {how}: its key is not readable"


def _purpose_problems(block: KeyBlock, wanted: Sequence[str]) -> list[Problem]:
    """What is wrong with a block's purpose; nothing where it is not known."""
    found = _purposes(block)
    if not found or set(found) & set(wanted):
        return []
    text = f"has the purpose {' or '.join(found)}, expected {' or '.join(wanted)}"
    return [("efuse-purpose", f"{_where([block])} {text}")]


def _purposes(block: KeyBlock) -> tuple[str, ...]:
    """What a block may be for; nothing where that is not known."""
    return block.possible if block.purpose is None else (block.purpose,)


def _shows_all_purposes(dump: EfuseDump) -> bool:
    """Whether a purpose that is not seen is not there: a JSON summary may show some blocks only."""
    fewest = min(chip.key_blocks for chip in CHIPS.values() if chip.purpose_bits)
    wanted = CHIPS[dump.chip].key_blocks if dump.chip else fewest
    known = [block for block in dump.blocks if _purposes(block)]
    return len(known) == len(dump.blocks) >= wanted


# --- ECDSA -------------------------------------------------------------------------------------


def _key_number(dump: EfuseDump, block: int) -> int:
    """n of BLOCK_KEYn for the number of an eFuse block."""
    return block - (CHIPS[dump.chip].first_key_block if dump.chip else 4)


def _ecdsa_purposes(chip: str | None, curve: str) -> tuple[str, ...]:
    """The purposes under which the peripheral takes a key of one block."""
    if curve == "secp256r1":
        return ("ECDSA_KEY",)
    own = CHIPS[chip].curve_purposes if chip else None
    if own is None:
        return ("ECDSA_KEY_P192", "ECDSA_KEY")
    return ("ECDSA_KEY_P192",) if own else ("ECDSA_KEY",)


def _scalar(blocks: Sequence[KeyBlock], curve: str, problems: Sequence[Problem] = ()) -> Lookup:
    """The number in these blocks, the lowest first, of which each is stored little-endian.

    Source: esptool, espefuse/efuse/base_operations.py, _adjust_key_data_for_blocks.
    """
    unreadable = [_unreadable(block) for block in blocks if block.key is None]
    if unreadable:
        return Lookup(None, "", (*problems, *unreadable))
    number = int.from_bytes(b"".join(block.key or b"" for block in blocks), "little")
    length = max(_SCALAR_LENGTHS[curve], (number.bit_length() + 7) // 8)
    return Lookup(number.to_bytes(length, "big"), _where(blocks), tuple(problems))


def _p384_key(dump: EfuseDump, block: int) -> Lookup:
    """A key that fills two blocks: 32 bytes in the low one, the upper 16 in the high one.

    `block` is the number of one of the two, or both as the firmware's driver wants them: the
    high one in the upper four bits. Source: ESP-IDF, ecdsa_types.h, HAL_ECDSA_COMBINE_KEY_BLOCKS.
    """
    if block <= BLOCK_MASK:
        return _p384_half(dump, block)
    numbers = (block & BLOCK_MASK, block >> 4)
    low, high = (dump.block(_key_number(dump, number)) for number in numbers)
    if low is None or high is None:
        return Lookup(None, "", (_missing(f"key blocks {numbers[0]} and {numbers[1]}"),))
    problems = [*_purpose_problems(low, (_LOW,)), *_purpose_problems(high, (_HIGH,))]
    return _scalar([low, high], "secp384r1", problems)


def _p384_half(dump: EfuseDump, block: int) -> Lookup:
    """A key of which one block is named; the purposes tell the other."""
    found = dump.block(_key_number(dump, block))
    if found is None:
        return Lookup(None, "", (_missing(f"key block {block}"),))
    if found.purpose not in (_LOW, _HIGH):
        return Lookup(None, "", tuple(_purpose_problems(found, (_LOW, _HIGH))))
    wanted = _HIGH if found.purpose == _LOW else _LOW
    other = _other_half(dump, found, wanted)
    if other is None:
        return Lookup(None, "", (_missing(f"block with the purpose {wanted}"),))
    return _scalar([found, other] if wanted == _HIGH else [other, found], "secp384r1")


def _other_half(dump: EfuseDump, found: KeyBlock, wanted: str) -> KeyBlock | None:
    """The block of a purpose that was burned together with another one.

    espefuse takes the next free block behind the high one for the low one, round the end.
    Source: esptool, espefuse/efuse/base_operations.py, _get_next_key_block.
    """
    at = dump.blocks.index(found)
    order = dump.blocks[at:] + dump.blocks[:at]
    forward = order if wanted == _LOW else order[::-1]
    return next((block for block in forward if block.purpose == wanted), None)
