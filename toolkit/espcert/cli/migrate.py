"""`espcert migrate`: rewrite an image as a current TLV partition."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from espcert import detection, files
from espcert.cli import common, proof
from espcert.cli.common import (
    ChipOption,
    ImageArgument,
    JsonOption,
    QuietOption,
)
from espcert.cli.opening_options import reads_images
from espcert.cli.outputs import (
    AcceptOption,
    DryRunOption,
    EncryptedOption,
    EncryptOutputOption,
    ForceOption,
    NoIntegrityOption,
    OutputOption,
    PartitionOnlyOption,
    SizeOption,
    check_outputs,
    require_output,
)
from espcert.cli.proof import (
    AtOption,
    CaOption,
    EfuseOption,
    HmacKeyOption,
    KeyPasswordOption,
)
from espcert.errors import UnreadableError, UsageError
from espcert.opening import AS_IT_IS, Opening, open_image

if TYPE_CHECKING:
    from espcert.migration import Migration

DeviceCertOption = Annotated[
    str | None,
    typer.Option(
        "--device-cert",
        metavar="FILE",
        help="A device certificate that the source lacks.",
        show_default=False,
    ),
]
CaCertOption = Annotated[
    str | None,
    typer.Option(
        "--ca-cert",
        metavar="FILE",
        help="A CA certificate that the source lacks.",
        show_default=False,
    ),
]
TableOutOption = Annotated[
    Path | None,
    typer.Option(
        "--table-out",
        metavar="FILE",
        help="Write the flash image's new partition table, too: binary, or CSV for *.csv.",
        show_default=False,
    ),
]
PlanOutOption = Annotated[
    Path | None,
    typer.Option(
        "--plan-out",
        metavar="FILE",
        help="Write the esptool commands that bring it to the module, as a shell script.",
        show_default=False,
    ),
]


MAX_CERTIFICATE_SIZE = 1 << 20


@reads_images
def command(
    image: ImageArgument,
    output: OutputOption = None,
    size: SizeOption = None,
    accept: AcceptOption = None,
    device_cert: DeviceCertOption = None,
    ca_cert: CaCertOption = None,
    no_integrity: NoIntegrityOption = False,
    hmac_key: HmacKeyOption = None,
    efuse: EfuseOption = None,
    ca: CaOption = None,
    at: AtOption = None,
    key_password: KeyPasswordOption = None,
    partition_only: PartitionOnlyOption = False,
    table_out: TableOutOption = None,
    plan_out: PlanOutOption = None,
    encrypted: EncryptedOption = None,
    encrypt_output: EncryptOutputOption = False,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    opening: Opening = AS_IT_IS,
    chip: ChipOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Rewrite IMAGE as a current TLV partition, proven before OUT appears."""
    from espcert import migration

    with common.outcome():
        given = proof.means(
            chip=chip, hmac_key=hmac_key, efuse=efuse, ca=ca, at=at, key_password=key_password
        )
    wanted = _Wanted(output, table_out, plan_out, dry_run, force, as_json, quiet)

    def migrate_one(name: str) -> int:
        read = [name, device_cert, ca_cert, hmac_key, efuse, key_password, *(ca or ())]
        _check_files(read, wanted)
        options = migration.Options(
            size, not no_integrity, frozenset(accept or ()), means=given,
            device_cert=_certificate(device_cert), ca_cert=_certificate(ca_cert),
            partition_only=partition_only, encrypted=encrypted,
            encrypt_output=encrypt_output,
        )  # fmt: skip
        source = open_image(name, opening)
        for path in wanted.files:
            files.refuse_input_as_output(list(source.inputs), path)
        return _finish(migration.migrate(detection.detect(source), options), wanted)

    common.for_each([image], migrate_one, as_json=as_json)


class _Wanted(NamedTuple):
    """What is to be written where, and what is to be printed."""

    output: Path | None
    table: Path | None
    plan: Path | None
    dry_run: bool
    force: bool
    as_json: bool
    quiet: bool

    @property
    def files(self) -> list[Path]:
        """The files that are to be written."""
        return [path for path in (self.output, self.table, self.plan) if path is not None]


def _finish(result: Migration, wanted: _Wanted) -> int:
    """Write and print. The exit code."""
    from espcert import migration

    written = _write(result, wanted)
    beside = [str(path) if path and written else None for path in (wanted.table, wanted.plan)]
    if wanted.as_json:
        found = migration.to_json(result, written, table_output=beside[0], plan_output=beside[1])
        common.print_object(result.reading.image.name, found)
    else:
        _print(result, written, beside, quiet=wanted.quiet)
    return 1 if result.refused else 0


def _check_files(read: list[str | None], wanted: _Wanted) -> None:
    require_output(wanted.output, dry_run=wanted.dry_run)
    check_outputs(read, wanted.files, replace=wanted.force or wanted.dry_run)


def _certificate(name: str | None) -> bytes | None:
    if name is None:
        return None
    try:
        return files.read_image(name, MAX_CERTIFICATE_SIZE)
    except UnreadableError as error:
        raise UsageError(error.code, f"{name}: over 1 MiB, too large for a certificate") from error


def _write(result: Migration, wanted: _Wanted) -> str | None:
    """The path of the file that was written, None where nothing was."""
    if result.file is None:
        return None
    _require_table(result, wanted)
    beside = list(_beside(result, wanted))
    if wanted.dry_run or wanted.output is None:
        return None
    for path, data in beside:
        files.write_atomically(path, data, force=wanted.force)
    files.write_atomically(wanted.output, result.file, force=wanted.force)
    return str(wanted.output)


def _require_table(result: Migration, wanted: _Wanted) -> None:
    """Raise UsageError where something of the partition table is wanted, and there is none."""
    from espcert.image import FLASH

    given = {"--table-out": wanted.table, "--plan-out": wanted.plan}
    names = ", ".join(name for name, path in given.items() if path is not None)
    if not names or result.flashing is not None:
        return
    if result.reading.image.container != FLASH:
        text = "needs a whole flash image, which holds the partition table"
    else:
        text = "there is no sound partition table of the new partition's size to change"
    raise UsageError("no-table", f"{names}: {text}")


def _beside(result: Migration, wanted: _Wanted) -> Iterator[tuple[Path, bytes]]:
    """The files that are written beside the image, and what they hold."""
    from espcert import flash_plan

    if result.flashing is None:
        return
    table, as_text = result.flashing.table, wanted.table and wanted.table.suffix.lower() == ".csv"
    if wanted.table is not None:
        yield wanted.table, flash_plan.table_csv(result).encode() if as_text else table
    if wanted.plan is not None:
        binary = None if wanted.table is None or as_text else str(wanted.table.absolute())
        written = str((wanted.output or wanted.plan).absolute())
        folder = str(wanted.plan.parent.absolute())
        yield wanted.plan, os.fsencode(flash_plan.script(result, written, binary, folder))


def _print(
    result: Migration, written: str | None, beside: list[str | None], *, quiet: bool
) -> None:
    from espcert.cli import migration_report

    migration_report.print_report(result, written, migration_report.Beside(*beside), quiet=quiet)
