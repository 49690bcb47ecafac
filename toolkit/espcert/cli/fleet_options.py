"""The options of `espcert fleet` that its verbs share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer

from espcert.cli import common
from espcert.cli.common import ChipOption, JsonOption, QuietOption
from espcert.cli.opening_options import LabelOption, TableOffsetOption, with_options
from espcert.cli.proof import AtOption, CaOption, KeyPasswordOption
from espcert.fleet.task import MAX_SIZE

SourcesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Files, directories, patterns, manifests; @FILE or -: a list, one path a line.",
        show_default=False,
    ),
]
HmacKeysOption = Annotated[
    Path | None,
    typer.Option(
        "--hmac-keys",
        metavar="DIR",
        help="A directory with the modules' HMAC keys: STEM.bin or STEM.hex.",
        show_default=False,
    ),
]
ExpiresWithinOption = Annotated[
    int | None,
    typer.Option(
        "--expires-within",
        metavar="DAYS",
        parser=common.parse_integer,
        help="Also tell of device certificates that expire so soon.",
        show_default=False,
    ),
]
MaxSizeOption = Annotated[
    int | None,
    typer.Option(
        "--max-size",
        metavar="BYTES",
        parser=common.parse_integer,
        help="Skip larger files.  [default: 128 MiB]",
        show_default=False,
    ),
]
ShardOption = Annotated[
    str,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Only every N-th source, by hash, from the I-th; `fleet merge` joins.",
        show_default=False,
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        min=1,
        max=4096,
        help="How many processes work.  [default: one per core]",
        show_default=False,
    ),
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Work on a Dask cluster: tcp://HOST:PORT, tls://HOST:PORT, or local.",
        show_default=False,
    ),
]
JournalOption = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        metavar="FILE",
        help="Where finished images are noted, so that the run can be interrupted.",
        show_default=False,
    ),
]
RehashOption = Annotated[
    bool,
    typer.Option(
        "--rehash", help="Compare inputs and outputs by their digests, not by size and time."
    ),
]
ReportOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Write a report: .jsonl, .csv, .parquet, .html, .sarif or .xml; repeatable.",
        show_default=False,
    ),
]
RedactOption = Annotated[
    bool,
    typer.Option(
        "--redact", help="Digests instead of paths, subjects and serials in what is told."
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace existing outputs and reports.")]


class Asked(NamedTuple):
    """What every run of a fleet is asked for."""

    chip: str | None
    label: str | None
    table_offset: int | None
    hmac_keys: Path | None
    ca: tuple[str, ...]
    at: datetime | None
    key_password: str | None
    expires_within: int | None
    max_size: int
    shard: str
    jobs: int | None
    scheduler: str | None
    journal: Path | None
    rehash: bool
    reports: tuple[Path, ...]
    redact: bool
    force: bool
    as_json: bool
    quiet: bool


def asked(
    hmac_keys: HmacKeysOption = None,
    ca: CaOption = None,
    at: AtOption = None,
    key_password: KeyPasswordOption = None,
    expires_within: ExpiresWithinOption = None,
    label: LabelOption = None,
    partition_table_offset: TableOffsetOption = None,
    chip: ChipOption = None,
    max_size: MaxSizeOption = None,
    shard: ShardOption = "1/1",
    jobs: JobsOption = None,
    scheduler: SchedulerOption = None,
    journal: JournalOption = None,
    rehash: RehashOption = False,
    report: ReportOption = None,
    redact: RedactOption = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Asked:
    """The shared options, as one value."""
    largest = MAX_SIZE if max_size is None else max_size
    return Asked(
        chip, label, partition_table_offset, hmac_keys, tuple(ca or ()), at, key_password,
        expires_within, largest, shard, jobs, scheduler, journal, rehash, tuple(report or ()),
        redact, force, as_json, quiet,
    )  # fmt: skip


runs_a_fleet: Final[Callable[[Callable[..., None]], Callable[..., None]]] = with_options(
    asked, "asked"
)
"""Gives a verb the shared options in place of its parameter `asked`."""
