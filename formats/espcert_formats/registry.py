"""The layouts, in the order in which they are tried."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, cast

from espcert_formats.errors import FormatError
from espcert_formats.items import Contents, Evidence, Field, Item, Misfit

LAYOUTS: Final = ("tlv", "cust_flash", "nvs")
"""Modules of this package, one a layout family."""

NAMES: Final = {
    "tlv": "tlv",
    "cust_flash": "cust_flash",
    "cust_flash_legacy": "cust_flash",
    "nvs": "nvs",
    "nvs_legacy": "nvs",
    "nvs_esp_ds": "nvs",
}
"""Names of layouts → the module that reads and writes them."""

if TYPE_CHECKING:
    from typing import Protocol

    class Layout(Protocol):
        """What a layout's module offers."""

        def starts(self, data: bytes) -> bool:
            """Tell from its first bytes whether an image begins as a partition of this layout."""

        def extent(self, data: bytes, start: int) -> int:
            """Bytes of the partition that begins at `start` of a larger image without a table."""

        def recognise(self, data: bytes, label: str | None = None) -> Evidence | None:
            """Tell whether the firmware's own magic of this layout is there, and why."""

        def read(self, data: bytes, label: str | None = None) -> Contents:
            """Read the partition; raises FormatError and nothing else."""

        def fields(self, data: bytes) -> Iterator[Field]:
            """Name the stretches of the partition, for a map."""

        def misfits(self, items: Iterable[Item], layout: str) -> Iterator[Misfit]:
            """Name the items that a layout of this family cannot hold, and why."""

        def write(self, items: Iterable[Item], size: int | None, layout: str) -> bytes:
            """Write items that fit; raises FormatError where `size` is too small for them."""


def layouts() -> Iterator[Layout]:
    """The layouts, each imported only when it is asked for: most images are of the first ones."""
    return map(_layout, LAYOUTS)


@functools.cache
def _layout(name: str) -> Layout:
    return cast("Layout", importlib.import_module(f"{__package__}.{name}"))


def named(layout: str) -> Layout:
    """The module of a layout. Raises KeyError for other names."""
    return _layout(NAMES[layout])


def starts(data: bytes) -> bool:
    """Whether an image begins as a partition of any layout."""
    return any(layout.starts(data) for layout in layouts())


def recognise(data: bytes, label: str | None = None) -> Evidence | None:
    """What the first layout that recognises the bytes says of them, or None."""
    return next(filter(None, (layout.recognise(data, label) for layout in layouts())), None)


def extent(data: bytes, start: int) -> int:
    """Bytes of the partition that begins at `start` of a larger image, by its own layout."""
    head = data[start : start + 4096]
    return next((one.extent(data, start) for one in layouts() if one.starts(head)), 0)


def read(data: bytes, label: str | None = None) -> tuple[Layout, Contents] | None:
    """The contents as the first layout that recognises the bytes reads them, or None."""
    for layout in layouts():
        try:
            return layout, layout.read(data, label)
        except FormatError:
            continue
    return None
