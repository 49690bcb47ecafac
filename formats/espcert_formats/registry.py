"""The layouts, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Final, Protocol, cast

from espcert_formats import cust_flash, nvs, tlv
from espcert_formats.items import Contents, Evidence, Field


class Layout(Protocol):
    """What a layout's module offers."""

    def recognise(self, data: bytes, label: str | None = None) -> Evidence | None:
        """Tell whether the firmware's own magic of this layout is there, and why."""

    def read(self, data: bytes, label: str | None = None) -> Contents:
        """Read the partition; raises FormatError and nothing else."""

    def fields(self, data: bytes) -> Iterator[Field]:
        """Name the stretches of the partition, for a map."""


def _layout(module: ModuleType) -> Layout:
    return cast(Layout, module)


LAYOUTS: Final[tuple[Layout, ...]] = (_layout(tlv), _layout(cust_flash), _layout(nvs))


def find(data: bytes, label: str | None = None) -> tuple[Layout, Evidence] | None:
    """The first layout that recognises the bytes, or None."""
    for layout in LAYOUTS:
        evidence = layout.recognise(data, label)
        if evidence is not None:
            return layout, evidence
    return None
