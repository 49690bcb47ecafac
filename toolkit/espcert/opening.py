"""Open an IMAGE: a partition, a whole flash image, or material in files of text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from espcert import files
from espcert import image as images
from espcert.image import Image


@dataclass(frozen=True, slots=True)
class Opening:
    """How an IMAGE is to be read.

    `label` is the partition's, `table_offset` where a flash image has its table. `files_root` is
    the directory to which the files of a CSV are relative, None for the CSV's own.
    """

    label: str | None = None
    table_offset: int | None = None
    files_root: Path | None = None


AS_IT_IS = Opening()


def open_image(name: str, given: Opening = AS_IT_IS) -> Image:
    """Read an IMAGE (`-` is standard input) and locate the partition in it.

    Raises UsageError where there is no such file, UnreadableError where it is too large or names
    no partition, FileError where it cannot be read.
    """
    return images.locate(
        files.read_image(name), name=name, label=given.label, table_offset=given.table_offset
    )
