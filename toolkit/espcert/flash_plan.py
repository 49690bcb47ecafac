"""The esptool commands that bring a migrated partition to a module, and those that undo it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from espcert import image as images
from espcert.errors import UsageError
from espcert.flashing import Flashing, table_line
from espcert.migration import Migration, encrypts_later
from espcert_formats import partition_table
from espcert_formats.checksum import sha256
from espcert_formats.flash import SECTOR
from espcert_formats.partition_table import Row

BACKUP_PARTITION = "backup-partition.bin"
BACKUP_TABLE = "backup-table.bin"


class Region(NamedTuple):
    """A part of flash that changes: where it lies, its bytes in the source, the backup's name."""

    offset: int
    data: bytes
    backup: str


class Step(NamedTuple):
    """What is done, in words, the commands that do it, and what to heed."""

    title: str
    commands: tuple[str, ...]
    note: str = ""


class Plan(NamedTuple):
    """The steps in their order, the first of which makes the backup, and the command back.

    `made` are the files that the commands make.
    """

    regions: tuple[Region, ...]
    steps: tuple[Step, ...]
    back: str
    made: tuple[str, ...]


def script(migration: Migration, written: str, table_file: str | None, folder: str) -> str:
    """The plan as a shell script, which works in `folder` and stops at a module of another dump.

    The arguments are those of `plan`, names in them absolute or as seen from `folder`.
    Raises UsageError where there is no plan.
    """
    error = obstacle(migration, table_file)
    found = plan(migration, written, table_file)
    if error is not None or found is None:
        raise error or UsageError("no-table", "--plan-out: there is no sound partition table")
    return "".join(f"{line}\n" for line in _script(found, folder, plain=encrypts_later(migration)))


def obstacle(migration: Migration, table_file: str | None = None) -> UsageError | None:
    """Why commands cannot bring to the module what was written; None where they can.

    They need a file of the new table where only the partition was written and its row changes,
    and ciphertext where the flash is encrypted.
    """
    flashing, table = migration.flashing, migration.reading.image.table
    used = migration.reading.image.encryption
    if flashing is None or table is None:
        return None
    if used is not None and used.of_flash and not flashing.sealed:
        return UsageError(
            "encrypted-output",
            "--plan-out: the flash is encrypted; --encrypt-output makes what its commands write",
        )
    changed = flashing.after != flashing.before
    if migration.partition_only and table_file is None and changed:
        return UsageError(
            "no-table", "--plan-out: the row of the table changes; --table-out FILE.bin is needed"
        )
    if changed and table.offset + SECTOR > len(migration.reading.image.data):
        return UsageError("truncated", "--plan-out: the file ends within the table's flash sector")
    return None


def plan(migration: Migration, written: str, table_file: str | None = None) -> Plan | None:
    """What brings the result to a module; None where its place is not known, or `obstacle` says so.

    `written` is the file that was written, `table_file` that of the new table, where it was.
    """
    flashing, table = migration.flashing, migration.reading.image.table
    if flashing is None or table is None or obstacle(migration, table_file) is not None:
        return None
    esptool = f"esptool --chip {migration.chip or 'auto'} --after no-reset"
    regions = tuple(_regions(migration, flashing, table.offset))
    sources = list(_sources(migration, written, table_file, regions))
    steps = [_backup(esptool, regions)]
    cuts = tuple(source.cut for source in sources if source.cut)
    if cuts:
        steps.append(Step("Cut what changes out of the new flash image.", cuts))
    steps += _writes(esptool, regions, [source.name for source in sources])
    back = " ".join(f"{region.offset:#x} {region.backup}" for region in regions)
    made = (
        *(region.backup for region in regions),
        *(source.name for source in sources if source.cut),
    )
    return Plan(regions, tuple(steps), f"{esptool} write-flash {back}", made)


def _regions(migration: Migration, flashing: Flashing, at: int) -> Iterator[Region]:
    data, row = migration.reading.image.data, flashing.before
    yield Region(row.offset, data[row.offset : row.offset + row.size], BACKUP_PARTITION)
    if flashing.after != row:
        yield Region(at, data[at : at + SECTOR], BACKUP_TABLE)


def _backup(esptool: str, regions: Iterable[Region]) -> Step:
    commands = []
    for offset, data, name in regions:
        commands.append(f"{esptool} read-flash {offset:#x} {len(data):#x} {name}")
        commands.append(f"{esptool} verify-flash {offset:#x} {name}")
    return Step(
        "Keep what the module has now, and make sure that it was read right.", tuple(commands)
    )


class _Source(NamedTuple):
    """The file that is written to a region, and the command that makes it where it is not there."""

    name: str
    cut: str


def _sources(
    migration: Migration, written: str, table_file: str | None, regions: Iterable[Region]
) -> Iterator[_Source]:
    there = (written if migration.partition_only else None, table_file)
    for region, name, ending in zip(regions, there, ("partition", "table"), strict=False):
        cut = f"{Path(written).name}.{ending}"
        yield _Source(cut, _cut(written, cut, region)) if name is None else _Source(name, "")


def _cut(source: str, target: str, region: Region) -> str:
    names = f"{shlex.quote(f'if={source}')} {shlex.quote(f'of={target}')}"
    count = -(-len(region.data) // SECTOR)
    return f"dd {names} bs={SECTOR} skip={region.offset // SECTOR} count={count}"


def _writes(esptool: str, regions: Iterable[Region], names: list[str]) -> Iterator[Step]:
    until = "the next step" if len(names) > 1 else "this step"
    note = f"Until {until} is done the device may not find its partition: do not let it start."
    titles = (("Write the new partition.", note), ("Write the new partition table.", ""))
    for (title, heed), region, name in zip(titles, regions, names, strict=False):
        place = f"{region.offset:#x} {shlex.quote(name)}"
        commands = (f"{esptool} write-flash {place}", f"{esptool} verify-flash {place}")
        yield Step(title, commands, heed)


def _script(plan: Plan, folder: str, *, plain: bool) -> Iterator[str]:
    yield "#!/bin/sh"
    yield "# Made by espcert migrate; for esptool 5. Read it before you run it."
    if plain:
        yield "# The partition is flagged as encrypted, and is plain text in the dump and here:"
        yield "# this is for a module whose flash encryption is off. Where it is on, write-flash"
        yield "# needs --encrypt, and verify-flash cannot compare."
    yield "set -eu"
    yield "umask 077"
    yield f"cd {shlex.quote(folder)}"
    yield ""
    yield from _refuse_to_replace(plan.made)
    backup, *rest = plan.steps
    checks = tuple(f"same {sha256(region.data)} {region.backup}" for region in plan.regions)
    check = Step(
        "Make sure that it is the module of the dump, and as it was.",
        checks,
        "To go on knowingly where it is not, remove the lines that begin with `same `.",
    )
    for number, step in enumerate((backup, check, *rest), 1):
        yield ""
        yield f"# {number}. {step.title}"
        if step.note:
            yield f"#    {step.note}"
        yield from step.commands
    yield ""
    yield "# The way back, in the same directory and together with the old firmware:"
    yield f"# {plan.back}"


def _refuse_to_replace(made: Iterable[str]) -> Iterator[str]:
    """A second run would replace the only way back by what the first one wrote."""
    yield f"for name in {' '.join(map(shlex.quote, made))}; do"
    yield '    if [ -e "$name" ]; then'
    yield '        echo "$name is there already, and may be the only way back: move it away" >&2'
    yield "        exit 1"
    yield "    fi"
    yield "done"
    yield "same() {"
    yield "    if command -v sha256sum >/dev/null; then sum=sha256sum; else sum='shasum -a 256'; fi"
    yield '    echo "$1  $2" | $sum -c - && return'
    yield '    echo "$2 differs from the dump that was migrated: another module, or it changed" >&2'
    yield '    echo "since. Nothing was written to it." >&2'
    yield "    exit 1"
    yield "}"


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
