"""Mend what can be mended without guessing. Everything that is mended is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Final, NamedTuple

from espcert import certificates, encoding, keypairs
from espcert.checks.context import is_hmac_encrypted
from espcert.checks.ecdsa import is_leaked
from espcert.findings import item_name
from espcert_formats import items as kinds
from espcert_formats.items import Item

MENDED_CODES: Final = ("pem-without-nul", "leaked-key")
"""Findings that do not stand where the item that they name is mended."""

_TEXTS: Final = kinds.CERTIFICATES | {kinds.PRIVATE_KEY}


class Mend(NamedTuple):
    """An item as it is stored, as it will be written, and what was done in words."""

    before: Item
    after: Item
    code: str
    change: str


def mends(items: Iterable[Item]) -> list[Mend]:
    """What can be mended among these items."""
    return [mend for item in items if (mend := _mend(item)) is not None]


def _mend(item: Item) -> Mend | None:
    name = item_name(item.kind, item.index)
    if is_leaked(item):
        change = (
            f"{name}: plaintext key of {len(item.data)} bytes → empty entry, as the key is held in "
            "eFuse; if it was never burned there, the old dump is its only copy"
        )
        return Mend(item, dataclasses.replace(item, data=b""), "leaked-key", change)
    if _lacks_nul(item):
        after = dataclasses.replace(item, data=item.data + b"\0")
        return Mend(item, after, "pem-without-nul", f"{name}: trailing NUL added, as PEM needs it")
    return None


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
