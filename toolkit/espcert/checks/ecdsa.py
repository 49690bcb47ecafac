"""Keys in the ECDSA peripheral: what is left in flash, where the key lies, and whose it is."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from espcert import keypairs
from espcert.checks import private_key
from espcert.checks.context import Context, is_hmac_encrypted
from espcert.chips import Chip
from espcert.findings import Finding, item_name
from espcert.keys import Lookup
from espcert_formats import items as kinds
from espcert_formats.items import Item

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

CURVES: Final = ("secp192r1", "secp256r1", "secp384r1")
"""What the ECDSA peripherals of all chips know. Source: ESP-IDF 102122904ad, rom/ecdsa.h."""

_P384: Final = "secp384r1"
_KEY_BLOCKS: Final = range(4, 10)
"""eFuse blocks of BLOCK_KEY0 to BLOCK_KEY5. Source: ESP-IDF, esp_efuse_chip.h, EFUSE_BLK_KEY0."""


def check(context: Context) -> Iterator[Finding]:
    """Findings on every key that the ECDSA peripheral holds.

    What all of them need is found once, since a hostile image may have thousands.
    """
    keys = context.whole(kinds.PRIVATE_KEY)
    users = [item for item in keys if item.protection == kinds.ECDSA_PERIPHERAL]
    configs = _first_configs(context) if users else {}
    public_of = functools.cache(context.device_key)
    if not keys:
        yield from _without_entry(context)
    for item in users:
        yield from _leak(item, context)
        yield from _place(item, configs.get(item.index), public_of(item.index), context)


def _without_entry(context: Context) -> Iterator[Finding]:
    """Security configs whose key no entry mentions, as esp-secure-cert-tool 2.1.6 leaves them."""
    for config in context.whole(kinds.SECURITY_CONFIG):
        name = item_name(config.kind, config.index)
        wanted = f"an empty {item_name(kinds.PRIVATE_KEY, config.index)} entry with flags 0x08"
        message = f"{name}: names the eFuse block of a key, expected {wanted} beside it"
        yield Finding("ecdsa-entry-missing", message, name, config.offset)


def _first_configs(context: Context) -> dict[int, Item]:
    """The first security config of each index, which firmware reads; a damaged one if need be."""
    configs = context.contents.of_kind(kinds.SECURITY_CONFIG)
    whole = {config.index: config for config in reversed(configs) if config.intact is not False}
    return {config.index: config for config in configs} | whole


# --- What the entry carries ---------------------------------------------------------------------


def is_leaked(item: Item) -> bool:
    """Whether the entry of a key in the ECDSA peripheral carries a private key after all.

    A key under a password counts; bytes that are no key do not, and neither do damaged ones.
    """
    return (
        item.kind == kinds.PRIVATE_KEY
        and item.protection == kinds.ECDSA_PERIPHERAL
        and item.intact is not False
        and keypairs.is_key(item.data)
    )


def _leak(item: Item, context: Context) -> Iterator[Finding]:
    leaked = is_leaked(item)
    if not item.data or (is_hmac_encrypted(item) and not leaked):
        return
    name = item_name(item.kind, item.index)
    what = "a private key" if leaked else "bytes that are no private key"
    message = (
        f"{name}: the flags 0x{item.flags or 0:02x} say that the key is in eFuse, and yet the "
        f"entry carries {what} (length {len(item.data)}), expected none"
    )
    yield Finding("leaked-key", message, name, item.offset)
    password = context.key_password if keypairs.is_encrypted(item.data) else None
    private = keypairs.load_private_key(item.data, password)
    if private is not None:
        yield from private_key.judge(private, item, context)


# --- Where the key lies -------------------------------------------------------------------------


def _place(
    item: Item, config: Item | None, public: PublicKeyTypes | None, context: Context
) -> Iterator[Finding]:
    yield from _curve(item, public, context.chip)
    if config is None or config.intact is False:
        yield _config_missing(item, config)
        config = None
    else:
        yield from _block(config, _curve_name(public), context.chip)
    yield from _proof(item, config, public, context)


def _config_missing(item: Item, damaged: Item | None) -> Finding:
    name = item_name(item.kind, item.index)
    wanted = item_name(kinds.SECURITY_CONFIG, item.index)
    state = "is damaged" if damaged else "is not there"
    message = f"{name}: {wanted}, which names the eFuse block of the key, {state}"
    return Finding("ecdsa-config-missing", message, name, item.offset)


def _curve_name(public: PublicKeyTypes | None) -> str | None:
    """The library's name of the curve; None where there is no key, or none with a curve."""
    curve = getattr(public, "curve", None)
    return None if curve is None else str(curve.name)


def _curve(item: Item, public: PublicKeyTypes | None, chip: Chip | None) -> Iterator[Finding]:
    name, curve = item_name(item.kind, item.index), _curve_name(public)
    shown = "" if public is None else keypairs.key_name(public)
    if public is not None and curve not in CURVES:
        message = f"{name}: the device certificate's key is {shown}, expected P-192, P-256 or P-384"
        yield Finding("ecdsa-curve", message, name, item.offset)
    if chip is None:
        return
    if not chip.ecdsa_curves:
        message = f"{name}: {chip.name} has no ECDSA peripheral"
        yield Finding("ecdsa-chip", message, name, item.offset)
    elif curve in CURVES and curve not in chip.ecdsa_curves:
        message = f"{name}: the ECDSA peripheral of {chip.name} does not know {shown}"
        yield Finding("ecdsa-chip", message, name, item.offset)


def _block(config: Item, curve: str | None, chip: Chip | None) -> Iterator[Finding]:
    name = item_name(config.kind, config.index)
    blocks = _blocks_of(chip)
    expected = f"expected {blocks[0]} to {blocks[-1]}"
    if config.efuse_block is None:
        message = f"{name}: {len(config.data)} bytes that name no eFuse block, {expected}"
        yield Finding("ecdsa-block", message, name, config.offset)
        return
    high, low = divmod(config.efuse_block, 16)
    two = high > 0 and curve in (_P384, None)
    named = (high, low) if two else (config.efuse_block,)
    wrong = [block for block in named if block not in blocks]
    if wrong or (two and high == low):
        shown = f"blocks {high} and {low}" if two else f"block {config.efuse_block}"
        message = f"{name}: names eFuse {shown} as the place of the key, {expected}"
        yield Finding("ecdsa-block", message, name, config.offset)
    elif curve == _P384 and not two:
        message = f"{name}: names eFuse block {low} only, expected the high block in bits 7..4, too"
        yield Finding("ecdsa-p384-block", message, name, config.offset)


def _blocks_of(chip: Chip | None) -> range:
    """The key blocks of a chip; those of most chips where the chip would not use them anyway."""
    if chip is None or not chip.ecdsa_curves:
        return _KEY_BLOCKS
    return range(chip.first_key_block, chip.first_key_block + chip.key_blocks)


# --- Whose key it is ----------------------------------------------------------------------------


def _proof(
    item: Item, config: Item | None, public: PublicKeyTypes | None, context: Context
) -> Iterator[Finding]:
    """What an eFuse dump shows of the key, and whether it is that of the certificate."""
    name, curve = item_name(item.kind, item.index), _curve_name(public)
    if config is None or config.efuse_block is None or public is None or curve not in CURVES:
        message = f"{name}: the key is in eFuse, and here is nothing to compare it with"
        yield Finding("ecdsa-not-proven", message, name, item.offset)
        return
    lookup = context.keys.ecdsa(config.efuse_block, curve)
    for code, text in lookup.problems:
        yield Finding(code, f"{name}: {text}", name, item.offset)
    if lookup.key is None:
        message = f"{name}: the key is in eFuse, where only the device can use it"
        yield Finding("ecdsa-not-proven", message, name, item.offset)
    else:
        yield _compared(item, lookup, public, curve)


def _compared(item: Item, lookup: Lookup, public: PublicKeyTypes, curve: str) -> Finding:
    """The key of an eFuse block against the device certificate."""
    name, where = item_name(item.kind, item.index), lookup.where or "the eFuse dump"
    private = _private_key(lookup.key or b"", curve)
    if private is not None and keypairs.signs_for(private, public):
        message = f"{name}: the key in {where} is that of the device certificate"
        return Finding("ecdsa-proven", message, name, item.offset)
    if any(code == "efuse-purpose" for code, _ in lookup.problems):
        message = f"{name}: what is in {where} is a key for something else"
        return Finding("ecdsa-not-proven", message, name, item.offset)
    found = "is no key of its curve" if private is None else "is another one"
    message = f"{name}: the key in {where} {found}, expected that of the device certificate"
    return Finding("ecdsa-foreign", message, name, item.offset)


def _private_key(scalar: bytes, curve: str) -> EllipticCurvePrivateKey | None:
    """The key of a big-endian scalar; None where the scalar is 0 or beyond the curve's order."""
    from cryptography.hazmat.primitives.asymmetric import ec

    curves: dict[str, type[ec.EllipticCurve]] = {
        "secp192r1": ec.SECP192R1,
        "secp256r1": ec.SECP256R1,
        "secp384r1": ec.SECP384R1,
    }
    try:
        return ec.derive_private_key(int.from_bytes(scalar, "big"), curves[curve]())
    except ValueError:
        return None
