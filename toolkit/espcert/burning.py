"""Keys that must be burned into eFuses: the commands of espefuse, and the blocks they leave.

Sources: esptool 5.6.0, espefuse/efuse/base_operations.py (_adjust_key_data_for_blocks,
_get_next_key_block) and espefuse/efuse/<chip>/fields.py (KEY_PURPOSES).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from espcert import encoding, keypairs
from espcert.chips import Chip
from espcert.efuse import KEY_LENGTH, EfuseDump, KeyBlock
from espcert.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

DS_PURPOSE: Final = "HMAC_DOWN_DIGITAL_SIGNATURE"
HMAC_UP: Final = "HMAC_UP"

_P192: Final = "secp192r1"
_P384: Final = "secp384r1"
_ECDSA: Final = "ECDSA_KEY"
_ECDSA_P192: Final = "ECDSA_KEY_P192"
_ECDSA_P384: Final = "ECDSA_KEY_P384"
"""espefuse's name for a key that fills the named block and the next free one."""

_ORIGIN: Final = "the burned module"

IRREVERSIBLE: Final = "burning eFuses cannot be undone: a wrong key or block is lost for good"


@dataclass(frozen=True, slots=True)
class Burn:
    """A key to burn: `purpose` and the first of `blocks` are what espefuse is told.

    `file` names the key file in commands, `before` is a command that makes it, None where it is
    at hand in a form that espefuse takes. `note` says what else must be true.
    """

    purpose: str
    blocks: tuple[KeyBlock, ...]
    file: str
    before: str | None = None
    note: str | None = None


def hmac_burn(chip: Chip, key: bytes, key_id: int, purpose: str, file: KeyFile) -> Burn:
    """Burn 32 bytes of HMAC key into BLOCK_KEY`key_id`. Raises UsageError for no such block."""
    _require_block(chip, key_id)
    block = KeyBlock(key_id, purpose, key, origin=_ORIGIN)
    return Burn(purpose, (block,), file.ready, file.before)


def ecdsa_burn(chip: Chip, private: EllipticCurvePrivateKey, key_id: int, file: KeyFile) -> Burn:
    """Burn a key for the ECDSA peripheral into BLOCK_KEY`key_id`.

    A key on P-384 fills two blocks: the named one has the high part, the next one the low part.
    Raises UsageError for a block that the chip does not have or that takes no such key.
    """
    curve, value = private.curve.name, private.private_numbers().private_value
    _require_block(chip, key_id)
    if key_id in chip.not_for_ecdsa:
        text = f"BLOCK_KEY{key_id} of {chip.name} takes no key for the ECDSA peripheral"
        raise RefusedError("ecdsa-block", f"--efuse-key-id {key_id}: {text}: a fault of the chip")
    if curve == _P384:
        low_id = (key_id + 1) % chip.key_blocks
        stored = value.to_bytes(2 * KEY_LENGTH, "little")
        blocks = (
            KeyBlock(key_id, f"{_ECDSA_P384}_H", stored[KEY_LENGTH:], origin=_ORIGIN),
            KeyBlock(low_id, f"{_ECDSA_P384}_L", stored[:KEY_LENGTH], origin=_ORIGIN),
        )
        return Burn(_ECDSA_P384, blocks, file.ready, file.before, _p384_note(chip, low_id))
    purpose = _ECDSA_P192 if curve == _P192 and chip.curve_purposes is not False else _ECDSA
    block = KeyBlock(key_id, purpose, value.to_bytes(KEY_LENGTH, "little"), origin=_ORIGIN)
    note = _REVISION_NOTE if purpose == _ECDSA_P192 and chip.curve_purposes is None else None
    return Burn(purpose, (block,), file.ready, file.before, note)


_REVISION_NOTE: Final = "this key purpose needs revision 3.0 or later of the chip"


def _p384_note(chip: Chip, low_id: int) -> str:
    free = f"BLOCK_KEY{low_id} must be free, too: espefuse burns the lower part of the key into it"
    return f"{free}; {_REVISION_NOTE}" if chip.curve_purposes is None else free


def _require_block(chip: Chip, key_id: int) -> None:
    if not 0 <= key_id < chip.key_blocks:
        text = f"{chip.name} has the key blocks 0 to {chip.key_blocks - 1}"
        raise UsageError("bad-key-id", f"--efuse-key-id {key_id}: {text}")


# --- Key files as espefuse takes them ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyFile:
    """How commands name a key file. `before` makes the file `ready` of the one that is at hand."""

    ready: str
    before: str | None = None


UNNAMED: Final = KeyFile("<key file>")


def hmac_key_file(name: str, data: bytes) -> KeyFile:
    """The file of an HMAC key; espefuse takes 32 bytes, not hexadecimal digits."""
    if len(data) == KEY_LENGTH:
        return KeyFile(name)
    ready = f"{name}.bin"
    return KeyFile(ready, f"(umask 077; xxd -r -p {shlex.quote(name)} {shlex.quote(ready)})")


def ecdsa_key_file(name: str, data: bytes) -> KeyFile:
    """The file of a private key; espefuse takes PEM without a password."""
    der = encoding.encoding_of(data) != encoding.PEM
    if not der and not keypairs.is_encrypted(data):
        return KeyFile(name)
    ready = f"{name}.plain.pem"
    form = " -inform DER" if der else ""
    return KeyFile(ready, f"openssl pkey{form} -in {shlex.quote(name)} -out {shlex.quote(ready)}")


# --- All keys of a module ------------------------------------------------------------------------


def burned(chip: Chip, burns: Iterable[Burn]) -> EfuseDump:
    """The key blocks of a module into which all of this is burned.

    Raises RefusedError where two different keys, or one for two purposes, would share a block.
    """
    blocks: dict[int, KeyBlock] = {}
    for block in (block for burn in burns for block in burn.blocks):
        if blocks.setdefault(block.number, block) != block:
            text = f"{block.name} would have to hold two different keys"
            raise RefusedError("efuse-block-twice", f"{text}: give each an eFuse key id of its own")
    return EfuseDump("burned", chip.name, tuple(blocks[number] for number in sorted(blocks)))


def commands(chip: Chip, burns: Iterable[Burn]) -> list[str]:
    """The shell commands that burn all keys, in order; the same key only once."""
    lines = [line for burn in burns for line in _lines(chip, burn)]
    return list(dict.fromkeys(lines))


def _lines(chip: Chip, burn: Burn) -> Iterator[str]:
    if burn.before is not None:
        yield burn.before
    file = burn.file if burn.file == UNNAMED.ready else shlex.quote(burn.file)
    first = burn.blocks[0].name
    yield f"espefuse --chip {chip.name} burn-key {first} {file} {burn.purpose}"


def notes(burns: Sequence[Burn]) -> list[str]:
    """What must be true before the commands are run."""
    return list(dict.fromkeys(burn.note for burn in burns if burn.note is not None))
