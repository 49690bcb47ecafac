"""Write NVS partitions with credentials, by ESP-IDF's own generator.

It is called in memory and with values that were checked before: where it does not like its input,
it ends the process, loops for ever on sizes that are no whole pages, or writes to standard error.
Sources: esp-idf-nvs-partition-gen 0.3.0; the order of the keys is that of esp-secure-cert-tool
2.1.6, nvs_format.py, and of ESP-IDF v4.4, examples/protocols/mqtt/ssl_ds/configure_ds.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from io import BytesIO
from typing import Final, NamedTuple

from espcert_formats.errors import FormatError
from espcert_formats.nvs_log import MIN_PAGES, PAGE_SIZE

MAX_TEXT: Final = 3967
"""Characters of a string that the generator takes; one more fills a page to its last slot."""
_MOST_PAGES: Final = 16
"""Pages up to which room is looked for where no size is given: far more than credentials need."""


class Entry(NamedTuple):
    """A value to write: its key, one of the generator's encodings, and its bytes or number."""

    key: str
    encoding: str
    value: bytes | int


def write(namespace: str, entries: Iterable[Entry], size: int | None, layout: str) -> bytes:
    """A partition of `size` bytes with the entries, in their order, in one namespace.

    Without a size it has as few pages as hold them, one of them free, and three at least. Raises
    FormatError where they do not fit, or the size is none that read/write NVS can have.
    """
    listed = list(entries)
    if size is not None:
        if size < MIN_PAGES * PAGE_SIZE or size % PAGE_SIZE:
            expected = f"whole pages of {PAGE_SIZE:#x} bytes, {MIN_PAGES} at least"
            raise FormatError(layout, expected=expected, found=f"a size of {size:#x}")
        made = _generate(namespace, listed, size)
        if made is None:
            raise _too_small(layout, size)
        return made
    for pages in range(MIN_PAGES, _MOST_PAGES):
        made = _generate(namespace, listed, pages * PAGE_SIZE)
        if made is not None:
            return made
    raise _too_small(layout, _MOST_PAGES * PAGE_SIZE)


def _too_small(layout: str, size: int) -> FormatError:
    return FormatError(
        layout,
        expected="room for all entries and one free page",
        found=f"a size of {size:#x}",
        hint="give the partition a larger size",
    )


def _generate(namespace: str, entries: Iterable[Entry], size: int) -> bytes | None:
    """The partition, None where it is too small."""
    from esp_idf_nvs_partition_gen import nvs_partition_gen as generator

    out = BytesIO()
    # One page is kept back for the firmware; the generator adds it when it closes the partition.
    usable = size - PAGE_SIZE
    made = generator.nvs_open(out, usable, version=generator.Page.VERSION2)
    with contextlib.suppress(generator.InsufficientSizeError):
        generator.write_entry(made, namespace, "namespace", "", "")
        for entry in entries:
            generator.write_entry(made, entry.key, "data", entry.encoding, entry.value)
        generator.nvs_close(made)
        return out.getvalue()
    return None
