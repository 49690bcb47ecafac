"""The esptool commands that bring a migrated partition to a module, and those that undo it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from espcert import image as images
from espcert.errors import UsageError
from espcert.flashing import Flashing, table_line
from espcert.migration import Migration
from espcert_formats import partition_table
from espcert_formats.flash import SECTOR
from espcert_formats.partition_table import Row

BACKUP_PARTITION = "backup-partition.bin"
BACKUP_TABLE = "backup-table.bin"


def plan(migration: Migration, written: str, table_file: str | None = None) -> str | None:
    """A shell script, or None where the partition's place in flash is not known.

    `written` is the file that was written, `table_file` that of the new table, where it was.
    Raises UsageError where the commands need a file of the new table and there is none, and where
    the flash is encrypted and what was written is not.
    """
    flashing, table = migration.flashing, migration.reading.image.table
    if flashing is None or table is None:
        return None
    used = migration.reading.image.encryption
    if used is not None and used.of_flash and not flashing.sealed:
        raise UsageError(
            "encrypted-output",
            "--plan-out: the flash is encrypted; --encrypt-output makes what its commands write",
        )
    if migration.partition_only and table_file is None and flashing.after != flashing.before:
        raise UsageError(
            "no-table", "--plan-out: the row of the table changes; --table-out FILE.bin is needed"
        )
    return "\n".join(_lines(migration, flashing, written, table_file, table.offset)) + "\n"


def _lines(
    migration: Migration, flashing: Flashing, written: str, table_file: str | None, at: int
) -> Iterator[str]:
    esptool = f"esptool --chip {migration.chip or 'auto'} --after no-reset"
    row, changed = flashing.before, flashing.after != flashing.before
    yield "#!/bin/sh"
    yield "# Made by espcert migrate; for esptool 5. Read it before you run it."
    yield "set -eu"
    yield ""
    yield "# 1. Keep what the module has now, and make sure that it was read right."
    regions = [(row.offset, row.size, BACKUP_PARTITION)]
    regions += [(at, SECTOR, BACKUP_TABLE)] if changed else []
    for offset, size, name in regions:
        yield f"{esptool} read-flash {offset:#x} {size:#x} {name}"
        yield f"{esptool} verify-flash {offset:#x} {name}"
    yield ""
    partition = written
    if not migration.partition_only:
        partition = f"{Path(written).name}.partition"
        yield "# 2. Cut the new partition out of the new flash image."
        yield _cut(written, partition, row.offset, row.size)
        yield ""
    yield "# 3. Write the new partition. From here to the end of step 4 the device may not find its"
    yield "#    partition: do not let it start in between."
    yield from _write(esptool, row.offset, partition)
    if changed:
        yield ""
        yield "# 4. Write the new partition table."
        table = table_file or f"{Path(written).name}.table"
        if table_file is None:
            yield _cut(written, table, at, SECTOR)
        yield from _write(esptool, at, table)
    yield ""
    yield "# The way back, together with the old firmware:"
    back = " ".join(f"{offset:#x} {name}" for offset, _, name in regions)
    yield f"# {esptool} write-flash {back}"


def _write(esptool: str, offset: int, name: str) -> Iterator[str]:
    quoted = shlex.quote(name)
    yield f"{esptool} write-flash {offset:#x} {quoted}"
    yield f"{esptool} verify-flash {offset:#x} {quoted}"


def _cut(source: str, target: str, offset: int, size: int) -> str:
    names = f"if={shlex.quote(source)} of={shlex.quote(target)}"
    return f"dd {names} bs={SECTOR} skip={offset // SECTOR} count={-(-size // SECTOR)}"


def table_csv(migration: Migration) -> str:
    """The new table as the CSV of gen_esp32part.py: text, which is never encrypted.

    Raises UsageError where that tool would make another table of it.
    """
    flashing, table = migration.flashing, migration.reading.image.table
    assert flashing is not None
    assert table is not None
    return rows_csv(flashing.after if row == flashing.before else row for row in table.rows)


def rows_csv(rows: Iterable[Row]) -> str:
    """Rows of a table as the CSV of gen_esp32part.py.

    Raises UsageError where that tool would make another table of it.
    """
    lines = ["# Name, Type, SubType, Offset, Size, Flags"]
    for row in rows:
        _refuse_unwritable(row)
        lines.append(table_line(row))
    return "".join(f"{line}\n" for line in lines)


_KNOWN_FLAGS: Final = partition_table.FLAG_ENCRYPTED | partition_table.FLAG_READONLY
_CSV_LABEL: Final = re.compile(r"(?![# ])[^,$]*[^,$ ]")
"""The tool splits lines at commas, strips fields, skips comments and puts in variables.

Source: ESP-IDF 102122904ad, gen_esp32part.py, PartitionTable.from_csv.
"""


def _refuse_unwritable(row: Row) -> None:
    label = row.label.decode("ascii", "replace")
    shown = images.label_text(row)
    if not label.isascii() or not label.isprintable() or _CSV_LABEL.fullmatch(label) is None:
        found = f'the label "{shown}"'
    elif row.flags & ~_KNOWN_FLAGS:
        found = f'the flags {row.flags:#x} of "{shown}"'
    else:
        return
    text = f"a CSV cannot hold {found}; a file that does not end in .csv gets the binary table"
    raise UsageError("no-csv", f"--table-out: {text}")
