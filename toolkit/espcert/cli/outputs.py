"""Options of verbs that write a file, and the checks of it before any work starts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from espcert import files
from espcert.cli import common
from espcert.errors import UsageError

OutputOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="OUT", help="Where to write.", show_default=False),
]
SizeOption = Annotated[
    int | None,
    typer.Option(
        "--size",
        metavar="N",
        parser=common.parse_integer,
        help="The partition's size in bytes.  [default: the image's]",
        show_default=False,
    ),
]
AcceptOption = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        metavar="CODE",
        help="Take what is refused otherwise; a code of a finding.",
        show_default=False,
    ),
]
EncryptOutputOption = Annotated[
    bool,
    typer.Option(
        "--encrypt-output",
        help="Encrypt what is written with the image's flash encryption key.",
    ),
]
PartitionOnlyOption = Annotated[
    bool,
    typer.Option("--partition-only", help="Of a whole flash image write the partition alone."),
]
NoIntegrityOption = Annotated[
    bool,
    typer.Option(
        "--no-integrity", help="Write no integrity entry (a current image keeps its own)."
    ),
]
EncryptedOption = Annotated[
    bool | None,
    typer.Option(
        "--encrypted/--no-encrypted",
        help="Set or clear the flag `encrypted` of the row in a flash image.",
        show_default=False,
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Do everything but create the file.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace an existing OUT.")]


def check_outputs(read: Iterable[str | None], outputs: Iterable[Path], *, replace: bool) -> None:
    """Raise UsageError where an output cannot be created as asked, or is one of the files read.

    With `replace` files that exist may be replaced, or nothing is written in the end.
    """
    names = [name for name in read if name is not None]
    if names.count(files.STDIN) > 1:
        raise UsageError("stdin-twice", "standard input (-) can be read only once")
    wanted = list(outputs)
    for output in wanted:
        refuse_stdout(output)
        files.refuse_input_as_output(names, output)
        files.check_output(output, force=replace)
    files.refuse_same_place(wanted)


def refuse_stdout(output: Path | None) -> None:
    """Raise UsageError where a partition would be written to standard output."""
    if str(output) == files.STDIN:
        raise UsageError("bad-output", "-o -: a partition holds secrets; it is written to a file")


def require_output(output: Path | None, *, dry_run: bool) -> None:
    """Raise UsageError where nothing is said of where to write."""
    if output is None and not dry_run:
        raise UsageError("no-output", "-o OUT is missing (or --dry-run)")
