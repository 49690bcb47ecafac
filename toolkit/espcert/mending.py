"""Mend what can be mended without guessing. Everything that is mended is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from espcert import certificates, encoding, keypairs
from espcert.catalogue import ERROR
from espcert.checks.context import is_hmac_encrypted
from espcert.checks.ecdsa import CURVES, is_leaked
from espcert.findings import Finding, item_name
from espcert_formats import items as kinds
from espcert_formats.items import Item

LEAKED_KEY: Final = "leaked-key"
_TEXTS: Final = kinds.CERTIFICATES | {kinds.PRIVATE_KEY}


class Mend(NamedTuple):
    """An item as it is stored, as it will be written, and what was done in words."""

    before: Item
    after: Item
    code: str
    change: str


def mends(items: Iterable[Item], found: Iterable[Finding], accept: Collection[str]) -> list[Mend]:
    """What can be mended among these items without guessing.

    `found` are the findings on the image: a key is left where anything else speaks against it.
    A finding that is accepted is not mended.
    """
    wrong = {one.item for one in found if one.severity == ERROR and one.code != LEAKED_KEY}
    mended = (_empty_entry(item, wrong) or _with_nul(item) for item in items)
    return [mend for mend in mended if mend is not None and mend.code not in accept]


def _empty_entry(item: Item, wrong: Collection[str | None]) -> Mend | None:
    """The entry without the key that it says is held in eFuse."""
    name = item_name(item.kind, item.index)
    doubted = {name, item_name(kinds.SECURITY_CONFIG, item.index)} & set(wrong)
    if not is_leaked(item) or doubted or not _fits_peripheral(item.data):
        return None
    change = (
        f"{name}: plaintext key of {len(item.data)} bytes → empty entry, as the key is held in "
        "eFuse; if it was never burned there, the old dump is its only copy"
    )
    return Mend(item, dataclasses.replace(item, data=b""), LEAKED_KEY, change)


def _fits_peripheral(data: bytes) -> bool:
    curve = getattr(keypairs.load_private_key(data), "curve", None)
    return curve is not None and curve.name in CURVES


def _with_nul(item: Item) -> Mend | None:
    if not _lacks_nul(item):
        return None
    after = dataclasses.replace(item, data=item.data + b"\0")
    name = item_name(item.kind, item.index)
    return Mend(item, after, "pem-without-nul", f"{name}: trailing NUL added, as PEM needs it")


def _lacks_nul(item: Item) -> bool:
    if item.kind not in _TEXTS or is_hmac_encrypted(item):
        return False
    if item.protection not in (None, kinds.PLAINTEXT):
        return False
    if encoding.encoding_of(item.data) != encoding.PEM or item.data[-1:] == b"\0":
        return False
    if item.kind in kinds.CERTIFICATES:
        return bool(certificates.parse(item.data))
    known = keypairs.load_private_key(item.data) is not None
    return known or keypairs.is_encrypted(item.data)
