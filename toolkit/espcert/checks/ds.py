"""RSA keys for the DS peripheral: what the bytes show without the HMAC key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from espcert import certificates
from espcert.chips import CHIPS, DS_RSA_BITS, MAX_EFUSE_KEY_ID
from espcert.findings import Finding, item_name
from espcert_formats import items as kinds
from espcert_formats.items import Item


def check(items: Sequence[Item], chip: str | None) -> Iterator[Finding]:
    """Findings on the DS material of each index."""
    material = [item for item in items if item.kind in kinds.DS_MATERIAL]
    for index in sorted({item.index for item in material}):
        group = {item.kind: item for item in reversed(material) if item.index == index}
        missing = list(missing_parts(group))
        for what in missing:
            name = item_name(kinds.DS_CIPHERTEXT, index)
            yield Finding("ds-incomplete", f"{name}: {what}", name)
        if not missing:
            yield from _context(group, items)
            yield from _chip(group[kinds.DS_CIPHERTEXT], chip)


def missing_parts(group: dict[str, Item]) -> Iterator[str]:
    """What is missing for a whole DS key, in words; nothing where it is whole."""
    for kind in (kinds.DS_CIPHERTEXT, kinds.DS_IV, kinds.DS_CONTEXT):
        item = group.get(kind)
        if item is None:
            yield f"there is no {kind}"
        elif item.intact is not False:
            yield from _malformed(item)


def _malformed(item: Item) -> Iterator[str]:
    if item.kind == kinds.DS_CIPHERTEXT and len(item.data) not in kinds.DS_MAX_BITS:
        yield f"ds_ciphertext has {len(item.data)} bytes, expected 1200 or 1584"
    elif item.kind == kinds.DS_IV and len(item.data) != kinds.DS_IV_LENGTH:
        yield f"ds_iv has {len(item.data)} bytes, expected {kinds.DS_IV_LENGTH}"
    elif item.kind == kinds.DS_CONTEXT and None in (item.rsa_bits, item.efuse_key_id):
        yield "ds_context lacks the key size or the eFuse key id"
    elif item.kind == kinds.DS_CONTEXT and (not item.rsa_bits or item.rsa_bits % 32):
        yield f"ds_context names an RSA key of {item.rsa_bits} bits, which none has"


def _context(group: dict[str, Item], items: Sequence[Item]) -> Iterator[Finding]:
    context, ciphertext = group[kinds.DS_CONTEXT], group[kinds.DS_CIPHERTEXT]
    name = item_name(kinds.DS_CONTEXT, context.index)
    if context.efuse_key_id is not None and context.efuse_key_id > MAX_EFUSE_KEY_ID:
        yield Finding(
            "ds-key-id",
            f"{name}: eFuse key id {context.efuse_key_id}, expected 0 to {MAX_EFUSE_KEY_ID}",
            name,
            context.offset,
        )
    problem = _size_problem(context, ciphertext, items)
    if problem is not None:
        yield Finding("ds-key-size", f"{name}: {problem}", name, context.offset)


def _size_problem(context: Item, ciphertext: Item, items: Sequence[Item]) -> str | None:
    bits = context.rsa_bits or 0
    most = kinds.DS_MAX_BITS.get(len(ciphertext.data), max(DS_RSA_BITS))
    if bits not in DS_RSA_BITS or bits > most:
        return (
            f"an RSA key of {bits} bits, which a ciphertext of {len(ciphertext.data)} cannot hold"
        )
    if ciphertext.rsa_length is not None and ciphertext.rsa_length != bits // 32 - 1:
        return f"an RSA key of {bits} bits, while DS_DATA says {(ciphertext.rsa_length + 1) * 32}"
    certified = _certified_bits(items)
    if certified is not None and certified != bits:
        shown = f"RSA {certified}" if certified else "no RSA key"
        return f"an RSA key of {bits} bits, while the device certificate has {shown}"
    return None


def _certified_bits(items: Sequence[Item]) -> int | None:
    """Bits of the device certificate's RSA key, 0 for another kind of key, None for no telling."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    for item in items:
        if item.kind == kinds.DEVICE_CERT and item.index == 0 and item.intact is not False:
            key = certificates.public_key(item.data)
            if key is None:
                return None
            return key.key_size if isinstance(key, RSAPublicKey) else 0
    return None


def _chip(ciphertext: Item, chip: str | None) -> Iterator[Finding]:
    wanted = CHIPS[chip].ds_ciphertext_length if chip else len(ciphertext.data)
    if wanted != len(ciphertext.data):
        name = item_name(kinds.DS_CIPHERTEXT, ciphertext.index)
        expected = f"{wanted} for {chip}" if wanted else f"none: {chip} has no DS peripheral"
        yield Finding(
            "ds-chip",
            f"{name}: {len(ciphertext.data)} bytes of ciphertext, expected {expected}",
            name,
            ciphertext.offset,
        )
