"""`espcert convert`: write what an image holds in another layout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from espcert import detection
from espcert.cli import common
from espcert.cli.common import ChipOption, ImageArgument, JsonOption, QuietOption
from espcert.cli.opening_options import reads_images
from espcert.cli.outputs import (
    AcceptOption,
    DryRunOption,
    EncryptOutputOption,
    ForceOption,
    OutputOption,
    SizeOption,
    check_outputs,
    refuse_stdout,
    require_output,
)
from espcert.opening import AS_IT_IS, Opening, open_image
from espcert.text import printable, size_text

if TYPE_CHECKING:
    from espcert.conversion import Conversion

ToOption = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="LAYOUT",
        help="tlv, cust_flash, cust_flash_legacy, nvs, nvs_legacy, nvs_esp_ds, csv or pem.",
        show_default=False,
    ),
]
NoIntegrityOption = Annotated[
    bool, typer.Option("--no-integrity", help="Write no integrity entry into TLV.")
]
EspcertCsvOption = Annotated[
    bool,
    typer.Option(
        "--espcert-csv",
        help="Give a CSV the column `flags`, for what the official format cannot express.",
    ),
]


@reads_images
def command(
    image: ImageArgument,
    to: ToOption,
    output: OutputOption = None,
    size: SizeOption = None,
    accept: AcceptOption = None,
    no_integrity: NoIntegrityOption = False,
    espcert_csv: EspcertCsvOption = False,
    encrypt_output: EncryptOutputOption = False,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    opening: Opening = AS_IT_IS,
    chip: ChipOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write what IMAGE holds in another layout, compared item by item before OUT appears."""
    from espcert import conversion

    wanted = _Wanted(output, dry_run, force, as_json, quiet)

    def convert_one(name: str) -> int:
        options = conversion.Options(
            to, size, frozenset(accept or ()), chip, not no_integrity,
            output.name if output and to == conversion.CSV else "esp_secure_cert.csv", espcert_csv,
            encrypt_output,
        )  # fmt: skip
        require_output(output, dry_run=dry_run)
        refuse_stdout(output)
        if to != conversion.PEM:
            check_outputs([name], [output] if output else [], replace=force or dry_run)
        result = conversion.convert(detection.detect(open_image(name, opening)), options)
        return _finish(result, wanted)

    common.for_each([image], convert_one, as_json=as_json)


class _Wanted(NamedTuple):
    """What is to be written where, and what is to be printed."""

    output: Path | None
    dry_run: bool
    force: bool
    as_json: bool
    quiet: bool


def _finish(result: Conversion, wanted: _Wanted) -> int:
    """Write and print. The exit code."""
    from espcert import conversion, library

    written = None
    if not result.refused and wanted.output is not None and not wanted.dry_run:
        library.save(result, wanted.output, force=wanted.force)
        written = str(wanted.output)
    if wanted.as_json:
        common.print_object(result.reading.image.name, conversion.to_json(result, written))
    else:
        _print(result, written, quiet=wanted.quiet)
    return 1 if result.refused else 0


def _print(result: Conversion, written: str | None, *, quiet: bool) -> None:
    """The outcome on standard output; a refusal and warnings on standard error."""
    from espcert import conversion
    from espcert.cli import refusals

    if result.refused:
        for line in refusals.refusal(result.reading.image.name, result.findings):
            typer.echo(line, err=True)
        return
    if quiet:
        return
    for line in _summary(result, written):
        common.say(line)
    for finding in result.findings:
        typer.echo(refusals.finding_line(finding), err=True)
    left = sorted(_left(written)) if written is not None and result.to == conversion.PEM else []
    strangers = [name for name in left if name not in result.files]
    if strangers:
        listed = ", ".join(map(printable, strangers[:8]))
        typer.echo(f"  warning: {printable(written or '')} also holds {listed}", err=True)


def _left(directory: str) -> list[str]:
    """The names in a directory that was written, those of earlier files included."""
    return os.listdir(directory)  # noqa: PTH208 - names are all that is asked for


def _summary(result: Conversion, written: str | None) -> Iterator[str]:
    from espcert import conversion
    from espcert.findings import item_name

    contents = result.contents
    assert contents is not None
    name = printable(common.shown_name(result.reading.image.name))
    yield f"{name}: {result.reading.require().layout} → {result.to}"
    for note in result.reading.image.notes:
        yield f"  read      {printable(note)}"
    kept = [item for item in contents.items if item.kind != "integrity"]
    listed = (f"{item_name(item.kind, item.index)} ({len(item.data)})" for item in kept)
    yield f"  holds     {', '.join(listed)}"
    yield f"  proven    read back, {len(kept)} items equal to the source's byte for byte"
    for change in result.changes:
        yield f"  changed   {printable(change)}"
    row = conversion.wanted_row(result)
    if row is not None:
        yield f"  row       {printable(row)}"
    if result.sealed is not None:
        at = result.reading.image.address
        yield f"  encrypted for {at:#x}, and decrypted again for proof"
    size = size_text(len(result.output or b""))
    if result.files:
        folders = sorted({f"{Path(name).parent}/" for name in result.files} - {"./"})
        size = f"{len(result.files)} files{''.join(f', also in {one}' for one in folders)}"
    if written is None:
        yield f"  dry run   nothing written ({size})"
    else:
        yield f"  written   {printable(written)} ({size}, mode 0600)"
