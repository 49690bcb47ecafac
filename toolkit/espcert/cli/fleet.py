"""`espcert fleet`: audit and migrate many modules, and report on them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from espcert.cli import common
from espcert.cli.fleet_options import (
    Asked,
    ForceOption,
    RedactOption,
    SourcesArgument,
    runs_a_fleet,
)
from espcert.cli.outputs import (
    AcceptOption,
    EncryptedOption,
    NoIntegrityOption,
    PartitionOnlyOption,
    SizeOption,
)
from espcert.cli.verify import FirmwareOption, ProofOption, SigningKeyOption, StrictOption
from espcert.text import printable

group = typer.Typer(
    help="Audit and migrate many modules, and report on them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
)

OutputDirectoryOption = Annotated[
    str,
    typer.Option(
        "-o", "--output", metavar="DIR", help="Where to write: DIR or a URL.", show_default=False
    ),
]
JournalArgument = Annotated[
    Path, typer.Argument(metavar="JOURNAL", help="The journal of a run.", show_default=False)
]
JournalsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="JOURNAL...", help="Journals of shards.", show_default=False),
]
ReportsOption = Annotated[
    list[Path],
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="A report: .jsonl, .csv, .parquet, .html, .sarif or .xml; repeatable.",
        show_default=False,
    ),
]
MergedOption = Annotated[
    Path,
    typer.Option("-o", "--output", metavar="FILE", help="The new journal.", show_default=False),
]


@group.command("audit")
@runs_a_fleet
def audit(
    sources: SourcesArgument,
    asked: Asked,
    firmware: FirmwareOption = None,
    signing_key: SigningKeyOption = None,
    strict: StrictOption = False,
    require_proof: ProofOption = False,
) -> None:
    """Prove what each module's image holds, and what modules share."""
    from espcert.cli import fleet_run
    from espcert.fleet.task import AUDIT

    with common.outcome():
        task = fleet_run.task_of(
            AUDIT,
            asked,
            firmware=tuple(firmware or ()),
            signing_key=signing_key,
            strict=strict,
            require_proof=require_proof,
        )
        fleet_run.run(sources, asked, task, None)


@group.command("migrate")
@runs_a_fleet
def migrate(
    sources: SourcesArgument,
    output: OutputDirectoryOption,
    asked: Asked,
    size: SizeOption = None,
    accept: AcceptOption = None,
    no_integrity: NoIntegrityOption = False,
    partition_only: PartitionOnlyOption = False,
    encrypted: EncryptedOption = None,
) -> None:
    """Rewrite each image as a current TLV partition, below DIR as below its source."""
    from espcert.cli import fleet_run
    from espcert.fleet.task import MIGRATE

    with common.outcome():
        task = fleet_run.task_of(
            MIGRATE,
            asked,
            size=size,
            accept=tuple(sorted(set(accept or ()))),
            integrity=not no_integrity,
            partition_only=partition_only,
            encrypted=encrypted,
        )
        fleet_run.run(sources, asked, task, output)


@group.command("report")
def report(
    journal: JournalArgument,
    output: ReportsOption,
    redact: RedactOption = False,
    force: ForceOption = False,
) -> None:
    """Write reports of a run from its journal."""
    from espcert.fleet import kept, reporting
    from espcert.fleet.journal import read_journal

    with common.outcome():
        reporting.check(output, kept.of_journals([journal]), force=force)
        opened = read_journal(journal)
        try:
            kept.refuse_sources(output, opened)
            told = reporting.FleetReport(opened, redacted=redact)
            if told.header["left"]:
                done, left = told.header["total"], told.header["left"]
                text = f"not finished: {done:,} images are done, {left:,} are not in the reports"
                common.complain(f"{journal}: {text}")
            reporting.write(told, output, force=force)
        finally:
            opened.close()


@group.command("merge")
def merge(journals: JournalsArgument, output: MergedOption) -> None:
    """Join the journals of shards into one."""
    from espcert.fleet.journal import read_journal
    from espcert.fleet.merging import merge as join

    with common.outcome():
        for note in join(journals, output):
            common.complain(note)
        joined = read_journal(output)
        total = sum(joined.counts("status").values())
        joined.close()
        text = f"{total:,} images of {len(journals):,} journals in {printable(str(output))}"
        common.say(text)
