"""The partition as a hex dump coloured by field. Secrets are drawn as dots."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from rich.text import Text

from espcert import certificates
from espcert.cli.tables import KIND_STYLES, console
from espcert.detection import Reading
from espcert.text import printable
from espcert_formats import items as kinds
from espcert_formats.items import Field, Item

WIDTH: Final = 16
BATCH: Final = 256
"""Lines printed at once."""
METADATA_STYLE: Final = "bright_white"
HIDDEN: Final = "··"
_PRIVATE_MARK: Final = b"PRIVATE KEY"


class _Area(NamedTuple):
    """A stretch of one field; `shown` tells whether its bytes may be printed."""

    start: int
    stop: int
    name: str
    style: str
    shown: bool


def print_map(reading: Reading, *, show_secrets: bool) -> None:
    """Draw the partition. Bytes that are no public field are hidden, unless asked for."""
    data = reading.image.partition
    out = console()
    out.print()
    lines = _named_lines(data, list(_areas(reading, show_secrets=show_secrets)))
    while batch := list(itertools.islice(lines, BATCH)):
        out.print(Text("\n").join(batch), soft_wrap=True)


def _named_lines(data: bytes, areas: list[_Area]) -> Iterator[Text]:
    """The lines, the first of each field with its name."""
    previous = ""
    for line, area in _lines(data, areas):
        name = "" if area.name == previous else printable(area.name)
        previous = area.name
        yield line + Text(f"  {name}", style=area.style)


def _areas(reading: Reading, *, show_secrets: bool) -> Iterator[_Area]:
    """The whole partition without gaps: fields in order, and what lies between them."""
    contents, layout = reading.require(), reading.layout
    assert layout is not None
    data, position = reading.image.partition, 0
    owners = {span.offset: item for item in contents.items for span in item.spans}
    for field in sorted(layout.fields(data)):
        stop = min(field.offset + field.length, len(data))
        if field.offset > position:
            yield _between(data, position, field.offset, show_secrets=show_secrets)
        if stop > max(position, field.offset):
            start = max(position, field.offset)
            shown = show_secrets or _is_public(field, owners)
            style = KIND_STYLES.get(field.kind or "", METADATA_STYLE)
            yield _Area(start, stop, field.name, style, shown)
            position = stop
    if position < len(data):
        yield _between(data, position, len(data), show_secrets=show_secrets)


def _between(data: bytes, start: int, stop: int, *, show_secrets: bool) -> _Area:
    """Bytes of no field. Old keys survive in them (erased NVS entries), so they are hidden."""
    blank = not data[start:stop].strip(b"\xff") or not data[start:stop].strip(b"\0")
    name = "" if blank else "belongs to no item"
    return _Area(start, stop, name, "bright_black", blank or show_secrets)


def _is_public(field: Field, owners: Mapping[int, Item]) -> bool:
    if field.kind is None:
        return True
    if field.kind not in kinds.PUBLIC_KINDS:
        return False
    if field.kind not in kinds.CERTIFICATES:
        return True
    owner = owners.get(field.offset)
    return owner is not None and _is_certificate(owner.data)


def _is_certificate(data: bytes) -> bool:
    """Whether the bytes are certificates and hold no private key beside them."""
    return _PRIVATE_MARK not in data and bool(certificates.parse(data))


def _lines(data: bytes, areas: list[_Area]) -> Iterator[tuple[Text, _Area]]:
    """Lines of at most 16 bytes, each of one area; equal or hidden lines are drawn once."""
    for area in areas:
        repeated: bytes | str = b""
        skipping = False
        for start in _line_starts(area):
            stop = min(start - start % WIDTH + WIDTH, area.stop)
            chunk = data[start:stop]
            said = chunk if area.shown else len(chunk) * HIDDEN
            if said == repeated and len(chunk) == WIDTH and stop < area.stop:
                if not skipping:
                    yield Text("       *", style="bright_black"), area
                skipping = True
                continue
            skipping = False
            repeated = said
            yield _line(start, chunk, area), area


def _line_starts(area: _Area) -> Iterator[int]:
    yield area.start
    yield from range(area.start - area.start % WIDTH + WIDTH, area.stop, WIDTH)


def _line(start: int, chunk: bytes, area: _Area) -> Text:
    column = start % WIDTH
    cells = [f"{byte:02x}" if area.shown else HIDDEN for byte in chunk]
    shown = "".join(_character(byte) if area.shown else "·" for byte in chunk)
    text = Text(f"{start:08x}  ", style="bright_black")
    text.append("   " * column + " ".join(cells), style=area.style)
    text.append("   " * (WIDTH - column - len(chunk)))
    text.append("  " + " " * column + shown.ljust(WIDTH - column), style=area.style)
    return text


def _character(byte: int) -> str:
    return chr(byte) if 0x20 <= byte < 0x7F else "."
