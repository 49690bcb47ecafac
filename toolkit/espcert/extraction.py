"""The contents of a partition as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath

from espcert import files, pem_directory, trees
from espcert.errors import UsageError
from espcert_formats.items import Contents


def directories_for(names: list[str], base: Path) -> dict[str, Path]:
    """The directory of each IMAGE below `base`, by its name without suffix.

    Raises UsageError where two would share one.
    """
    result: dict[str, Path] = {}
    taken: set[str] = set()  # in one case: some file systems do not tell A from a
    for name in names:
        stem = "stdin" if name == files.STDIN else PurePath(name).stem
        directory = base / (stem if stem.strip(".") else "image")
        if directory.name.casefold() in taken:
            raise UsageError(
                "same-directory",
                f"{name}: two IMAGEs would be extracted to {directory}; take one at a time",
            )
        taken.add(directory.name.casefold())
        result[name] = directory
    return result


def extract(
    contents: Contents, directory: Path, *, inputs: Sequence[str] = (), force: bool = False
) -> list[Path]:
    """Write every item and an index that makes them exact: a PEM directory.

    All files are created 0600. Raises UsageError where a file exists (and not `force`) or is one
    of the `inputs`, FileError where the system refuses.
    """
    payloads = pem_directory.payloads(contents.items, contents.layout)
    trees.write(directory, payloads, inputs=inputs, force=force)
    return [directory / name for name in payloads]
