"""One HMAC key lies in one eFuse block: what it opens tells what it cannot be expected to open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from espcert.checks.context import Context
from espcert.findings import Finding, item_name
from espcert_formats import items as kinds

_PROVEN: Final = frozenset({"ds-proven", "hmac-proven"})
_NOT_OPENED: Final = {
    "ds-wrong-key": "ds-not-proven",
    "hmac-not-opened": "hmac-not-proven",
    "derived-foreign": "hmac-not-proven",
    "derived-out-of-range": "hmac-not-proven",
}
_HMAC_UP: Final = -1
"""Stands for the block with the purpose HMAC_UP, which no DS key uses: a block has one purpose."""


def sort_out(context: Context, found: Iterable[Finding]) -> Iterator[Finding]:
    """The findings, where the key that was given is that of another block, without its failures."""
    found = list(found)
    blocks = dict(_blocks(context))
    own = {blocks.get(one.item) for one in found if one.code in _PROVEN}
    for finding in found:
        block = blocks.get(finding.item)
        if context.keys.hmac_key is None or finding.code not in _NOT_OPENED or not own - {block}:
            yield finding
            continue
        text = "the HMAC key given is that of another eFuse block, so that this is not proven"
        code = _NOT_OPENED[finding.code]
        yield Finding(code, f"{finding.item}: {text}", finding.item, finding.offset)


def _blocks(context: Context) -> Iterator[tuple[str | None, int]]:
    """By item the key block that it needs."""
    for item in context.contents.items:
        if item.kind == kinds.DS_CONTEXT and item.efuse_key_id is not None:
            yield item_name(kinds.DS_CIPHERTEXT, item.index), item.efuse_key_id
        elif item.kind not in kinds.DS_MATERIAL:
            yield item_name(item.kind, item.index), _HMAC_UP
