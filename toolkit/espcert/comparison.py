"""Whether two lists of items are the same material, whatever their layouts and orders."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from espcert.findings import item_name
from espcert_formats import items as kinds
from espcert_formats.checksum import sha256
from espcert_formats.items import Item

if TYPE_CHECKING:
    from espcert.detection import Reading

Material = tuple[str, int, bytes, str | None, int]
"""What must survive of an item: kind, index, bytes, protection, flags."""

_DIGITS: Final = 16
"""Digits of a digest that are shown: enough to tell two apart."""


def material(items: Iterable[Item]) -> Counter[Material]:
    """Items as a multiset of what must survive: seals aside, flags 0xFF meaning 0x00."""
    return Counter(
        (
            item.kind,
            item.index,
            item.data,
            item.protection,
            0 if item.flags in (None, 0xFF) else item.flags,
        )
        for item in items
        if item.kind not in kinds.SEALS
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """An item that is not the same on both sides; `only_in` is "a" or "b", None for both."""

    item: str
    text: str
    only_in: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The object in the line of `espcert diff --json`."""
        return {"item": self.item, "only_in": self.only_in, "text": self.text}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two images and how they differ; `items` counts those of A that are no seals.

    `damaged` are (file name, item) of what is compared although its checksum does not match.
    """

    a: Reading
    b: Reading
    items: int
    differences: tuple[Difference, ...]
    damaged: tuple[tuple[str, str], ...]


def compare(a: Reading, b: Reading) -> Comparison:
    """Compare what two images hold. Raises UnreadableError where one is no known layout."""
    left, right = a.require(), b.require()
    damaged = tuple(
        (reading.image.name, item_name(item.kind, item.index))
        for reading in (a, b)
        for item in reading.require().items
        if item.intact is False
    )
    count = sum(item.kind not in kinds.SEALS for item in left.items)
    return Comparison(a, b, count, tuple(differences(left.items, right.items)), damaged)


def to_json(found: Comparison) -> dict[str, Any]:
    """The object of `espcert diff --json`, without `schema` and `file`, which is A."""
    return {
        "other": found.b.image.name,
        "equal": not found.differences,
        "differences": [difference.to_json() for difference in found.differences],
        "damaged": [{"file": name, "item": item} for name, item in found.damaged],
    }


def differences(a: Iterable[Item], b: Iterable[Item]) -> Iterator[Difference]:
    """How two partitions differ in kind, index, bytes and protection of their items."""
    left, right = _by_name(a), _by_name(b)
    for name in sorted({*left, *right}):
        here, there = left[name] - right[name], right[name] - left[name]
        both = min(here.total(), there.total())
        pairs = zip(here.elements(), there.elements(), strict=False)
        for before, after in pairs:
            yield Difference(name, f"{_words(before)} in A, {_words(after)} in B")
        for side, rest in (("a", here), ("b", there)):
            for one in list(rest.elements())[both:]:
                yield Difference(name, f"only in {side.upper()}: {_words(one)}", side)


_Shown = tuple[bytes, str | None]


def _by_name(items: Iterable[Item]) -> defaultdict[str, Counter[_Shown]]:
    found: defaultdict[str, Counter[_Shown]] = defaultdict(Counter)
    for item in items:
        if item.kind not in kinds.SEALS:
            found[item_name(item.kind, item.index)][item.data, item.protection] += 1
    return found


def _words(shown: _Shown) -> str:
    """Length, digest and protection; never the bytes."""
    data, protection = shown
    how = f", {protection}" if protection else ""
    return f"{len(data)} bytes, SHA-256 {sha256(data)[:_DIGITS]}...{how}"
