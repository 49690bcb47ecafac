"""Findings: one fact each about an image, with a stable code of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from espcert.catalogue import CATALOGUE, ERROR, INFO, WARNING

if TYPE_CHECKING:
    from espcert_formats.items import Item

SEVERITIES: Final = (ERROR, WARNING, INFO)
"""Worst first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding. `item` is "kind" or "kind[index]"; `offset` counts from the partition's start.

    `message` says what was found and what was expected. `in_migration` makes the severity that
    of `migrate`, which for some codes differs from that of `verify`.
    """

    code: str
    message: str
    item: str | None = None
    offset: int | None = None
    in_migration: bool = False

    @property
    def severity(self) -> str:
        """`error`, `warning` or `info`."""
        kind = CATALOGUE[self.code]
        return kind.migration if self.in_migration and kind.migration else kind.severity

    @property
    def hint(self) -> str:
        """What to do."""
        return CATALOGUE[self.code].hint

    def to_json(self) -> dict[str, Any]:
        """The object of the contract."""
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "item": self.item,
            "offset": self.offset,
            "hint": self.hint,
        }


def item_name(kind: str, index: int = 0) -> str:
    """How a finding names an item."""
    return f"{kind}[{index}]" if index else kind


def of_item(code: str, item: Item, text: str, offset: int | None = None) -> Finding:
    """A finding on an item, whose name begins the message; `offset` is the item's by default."""
    name = item_name(item.kind, item.index)
    return Finding(code, f"{name}: {text}", name, item.offset if offset is None else offset)


def worst(findings: Iterable[Finding]) -> str:
    """The worst severity among findings; `info` where there is none."""
    shown = {finding.severity for finding in findings}
    return next((severity for severity in SEVERITIES if severity in shown), INFO)
