"""A run of `espcert fleet audit` or `migrate`, from its options to its exit code."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, NoReturn

import typer

from espcert.catalogue import ERROR
from espcert.cli import common
from espcert.cli.fleet_options import Asked
from espcert.cli.fleet_progress import counts_text, progress
from espcert.fleet import cluster, engine, reporting, runs
from espcert.fleet.redaction import redact
from espcert.fleet.reporting import FleetReport
from espcert.fleet.reports import reasons
from espcert.fleet.settings import Request
from espcert.fleet.sources import parse_shard
from espcert.fleet.task import Task
from espcert.fleet.workers import LocalPool, Pool, cores
from espcert.text import printable

CODES: Final = 12
"""Codes that the summary counts."""


def task_of(verb: str, asked: Asked, **more: Any) -> Task:
    """What the options ask to be done with every image."""
    at = asked.at or datetime.now(timezone.utc)
    return Task(
        verb,
        (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).replace(microsecond=0),
        chip=asked.chip,
        label=asked.label,
        table_offset=asked.table_offset,
        hmac_keys=None if asked.hmac_keys is None else str(asked.hmac_keys),
        ca=asked.ca,
        key_password=asked.key_password,
        expires_within=asked.expires_within,
        max_size=asked.max_size,
        force=asked.force,
        **more,
    )


def run(sources: Sequence[str], asked: Asked, task: Task, output: str | None) -> NoReturn:
    """Do it, say what came of it, and exit with the worst code."""
    reporting.check(asked.reports, force=asked.force, journal=asked.journal)
    request = Request(
        tuple(sources),
        task,
        output,
        parse_shard(asked.shard),
        asked.rehash,
        asked.at is not None,
        tuple(map(str, asked.reports)),
        elsewhere=asked.scheduler is not None and asked.scheduler != cluster.LOCAL,
    )
    with _cluster(asked) as found:
        begun = runs.begin(request, asked.journal)
        try:
            code = _work(begun, asked, found)
        finally:
            begun.journal.close()
    raise typer.Exit(code)


def _cluster(asked: Asked) -> AbstractContextManager[cluster.Cluster | None]:
    """The cluster that is asked for, ready to work; none for processes of this machine."""
    if asked.scheduler is None:
        return contextlib.nullcontext()
    cluster.check(asked.scheduler, asked.jobs)
    return cluster.Cluster(asked.scheduler, asked.jobs or cores())


def _work(begun: runs.Begun, asked: Asked, found: cluster.Cluster | None) -> int:
    if begun.journal.temporary and not asked.quiet:
        common.complain("without --journal FILE this run cannot be gone on with")
    try:
        _all_images(begun, asked, found)
    except KeyboardInterrupt:
        _interrupted(begun)
        return common.EXIT_INTERRUPTED
    runs.end(begun.journal)
    report = FleetReport(begun.journal, redacted=asked.redact)
    reporting.write(report, asked.reports, force=asked.force)
    worst = max(begun.journal.counts("exit_code"), default=0)
    if any(finding["severity"] == ERROR for finding in report.across):
        worst = max(worst, 1)
    if not asked.as_json and not asked.quiet:
        _sum_up(begun, report, asked.reports)
    return worst


def _all_images(begun: runs.Begun, asked: Asked, found: cluster.Cluster | None) -> None:
    plan, task = begun.plan, begun.task
    if not plan.left:
        return
    jobs = min(asked.jobs or cores(), plan.left)
    pool: Pool = LocalPool(task, jobs) if found is None else found.pool(task)
    with progress(plan.left, quiet=asked.quiet) as shown:

        def tell(records: list[dict[str, Any]]) -> None:
            shown.add(records)
            if asked.as_json:
                for record in records:
                    told = redact(record) if asked.redact else record
                    common.say(json.dumps(told, allow_nan=False))

        engine.run(begun.journal, plan, task, pool, tell, rehash=asked.rehash)


def _interrupted(begun: runs.Begun) -> None:
    done = sum(begun.journal.counts("status").values())
    common.complain(f"interrupted: {done:,} of {begun.plan.total:,} images are done")
    if begun.journal.temporary:
        common.complain("nothing of it is kept: there was no --journal FILE")
    else:
        common.complain(f"the same command goes on; the journal is {begun.journal.path}")


def _sum_up(begun: runs.Begun, report: FleetReport, reports: Sequence[Path]) -> None:
    counted = begun.journal.verdicts()
    total = sum(counted.values())
    common.say(f"{total:,} images: {counts_text(counted)}")
    skipped = begun.plan.skipped
    if skipped:
        listed = ", ".join(f"{number:,} {reason}" for reason, number in skipped.items())
        common.say(f"  not looked at   {listed}")
    codes = begun.journal.codes(reasons.raised(report.options))
    for code, number in codes[:CODES]:
        common.say(f"  {number:>9,}       {code}")
    for finding in report.across[:10]:
        first = ", ".join(finding["sources"][:3])
        common.say(f"  across          {finding['message']} [{finding['code']}]")
        common.say(f"                  {printable(first)}")
    if not begun.journal.temporary:
        common.say(f"  journal         {printable(str(begun.journal.path))}")
    for path in reports:
        common.say(f"  report          {printable(str(path))}")
