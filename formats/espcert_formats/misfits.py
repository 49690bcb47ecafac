"""What the layouts of esp_secure_cert_mgr 1.x cannot hold, which TLV can."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from espcert_formats import items as kinds
from espcert_formats.items import Item, Misfit

_DS_LENGTHS: Final = " or ".join(str(length) for length in kinds.DS_MAX_BITS)


def one_of_each(items: Iterable[Item], limits: Mapping[str, int], layout: str) -> Iterator[Misfit]:
    """The items that do not fit a layout with one plain entry of each kind.

    `limits` are the kinds that the layout holds besides DS material, with the most bytes of each.
    Seals are nobody's concern here: they belong to the bytes of one image.
    """
    for item in items:
        if item.kind in kinds.SEALS:
            continue
        text = _odd_entry(item, layout)
        if text is None:
            rule = _ds_material if item.kind in kinds.DS_MATERIAL else _plain
            text = rule(item, limits, layout)
        if text is not None:
            yield Misfit(item, text)


def _odd_entry(item: Item, layout: str) -> str | None:
    """What only TLV entries have: subtypes, and flags that mean something."""
    if item.index:
        return f"subtype {item.index}; {layout} holds one item of a kind, subtype 0"
    if item.protection not in (None, kinds.PLAINTEXT):
        return f"a key that is {item.protection}; {layout} holds plaintext keys and DS keys"
    if item.flags not in (None, 0, 0xFF):
        return f"flags {item.flags:#04x}; {layout} has no flags"
    return None


def _plain(item: Item, limits: Mapping[str, int], layout: str) -> str | None:
    most = limits.get(item.kind)
    if most is None:
        return f"{layout} has no place for it"
    if not item.data:
        return f"no bytes; {layout} cannot tell that from no item"
    if len(item.data) > most:
        return f"{len(item.data)} bytes; {layout} holds at most {most}"
    return None


def _ds_material(item: Item, _limits: Mapping[str, int], layout: str) -> str | None:
    if item.kind == kinds.DS_CONTEXT:
        return _context(item, layout)
    if item.kind == kinds.DS_IV and len(item.data) != kinds.DS_IV_LENGTH:
        return f"{len(item.data)} bytes; an IV has {kinds.DS_IV_LENGTH}"
    if item.kind == kinds.DS_CIPHERTEXT and len(item.data) not in kinds.DS_MAX_BITS:
        return f"{len(item.data)} bytes; {layout} holds {_DS_LENGTHS}"
    return None


def _context(item: Item, layout: str) -> str | None:
    """A context of which more than bits and key id says something, in words."""
    if item.rsa_bits is None or item.efuse_key_id is None:
        return f"{len(item.data)} bytes; {layout} needs its key size and key id"
    if item.data != kinds.ds_context_data(item.rsa_bits, item.efuse_key_id):
        return f"bytes besides key size and key id; {layout} holds only those"
    return None


def ds_sizes(items: Iterable[Item], layout: str) -> Iterator[Misfit]:
    """Ciphertexts whose entry names another key size than the context, which is all that stays."""
    material = list(items)
    bits = {one.index: one.rsa_bits for one in material if one.kind == kinds.DS_CONTEXT}
    for item in material:
        if item.kind != kinds.DS_CIPHERTEXT or item.rsa_length is None:
            continue
        named, stays = (item.rsa_length + 1) * 32, bits.get(item.index)
        if named != stays:
            text = f"its entry names a key of {named} bits, the context one of {stays}"
            yield Misfit(item, f"{text}; {layout} holds one size")
