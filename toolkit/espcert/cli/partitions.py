"""`espcert partitions`: list the partition table of a whole flash image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from espcert import flash_table
from espcert.cli import common
from espcert.cli.common import (
    ChipOption,
    ImagesArgument,
    JsonOption,
    QuietOption,
)
from espcert.cli.opening_options import reads_images
from espcert.opening import AS_IT_IS, Opening
from espcert.text import printable


@reads_images
def command(
    images: ImagesArgument,
    opening: Opening = AS_IT_IS,
    chip: ChipOption = None,  # noqa: ARG001 - shared by every verb that reads images
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the partition table of each flash IMAGE, and what its partitions hold."""

    def list_one(name: str) -> int:
        found = flash_table.to_json(flash_table.open_table(name, opening), opening.label)
        if as_json:
            common.print_object(name, found)
        elif not quiet:
            for line in _lines(name, found):
                common.say(line)
        return 0

    common.for_each(images, list_one, as_json=as_json)


_MD5_WORDS = {True: "its MD5 is right", False: "its MD5 is WRONG", None: "it has no MD5 row"}


def _lines(name: str, found: dict[str, Any]) -> Iterator[str]:
    how = ", decrypted" if found["table_encrypted"] else ""
    shown = printable(common.shown_name(name))
    md5 = _MD5_WORDS[found["md5_ok"]]
    yield f"{shown}: partition table at {found['table_offset']:#x}, {md5}{how}"
    width = max((len(row["label"]) for row in found["rows"]), default=0)
    for row in found["rows"]:
        flags = " encrypted" if row["flags"] & 1 else ""
        flags += " readonly" if row["flags"] & 2 else ""
        yield (
            f"  {row['label']:<{width}}  type {row['type']:#04x}  subtype {row['subtype']:#04x}  "
            f"{row['offset']:#10x}  {row['size']:#9x}  {row['layout'] or '-'}{flags}"
        )
