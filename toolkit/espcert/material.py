"""Contents of files that are no dump: items without a place in flash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from espcert_formats import items as kinds
from espcert_formats.items import (
    LABEL,
    LABEL_PRE_PROV,
    TYPE_SECURE_CERT,
    Anomaly,
    Contents,
    Item,
    Traits,
)

_LABELS: Final = (LABEL, LABEL_PRE_PROV)
"""Files have no label of their own, so that none contradicts them."""


def contents(layout: str, title: str, items: Iterable[Item], evidence: tuple[str, ...]) -> Contents:
    """The contents of files, in the order in which they list the items; no byte has an offset."""
    listed = tuple(items)
    return Contents(
        layout=layout,
        traits=Traits(title, _LABELS, TYPE_SECURE_CERT, placed=False),
        label=None,
        revision=None,
        size=0,
        end=0,
        current=False,
        items=listed,
        anomalies=(*_damaged(listed), *_duplicates(listed)),
        evidence=evidence,
    )


def _damaged(items: Sequence[Item]) -> Iterator[Anomaly]:
    """Files carry no checksum, but their index may say that the source's did not match."""
    for item in items:
        if item.intact is False:
            found = "an item that was damaged in the image from which it was extracted"
            yield Anomaly(kinds.ITEM_CRC, 0, found, "an intact one", item.kind, item.index)


def _duplicates(items: Sequence[Item]) -> Iterator[Anomaly]:
    seen: set[tuple[str, int]] = set()
    for item in items:
        key = (item.kind, item.index)
        if key in seen and item.kind != kinds.INTEGRITY:
            found, expected = "a second one", "one of each kind and index"
            yield Anomaly(kinds.DUPLICATE_ENTRY, 0, found, expected, *key)
        seen.add(key)
