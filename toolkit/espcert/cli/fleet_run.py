"""A run of `espcert fleet audit` or `migrate`, from its options to its exit code."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from typing import Any, NoReturn

import typer

from espcert.catalogue import ERROR
from espcert.cli import common, fleet_summary
from espcert.cli.fleet_options import Asked
from espcert.cli.fleet_progress import progress
from espcert.fleet import cluster, engine, kept, reporting, runs
from espcert.fleet.redaction import redact
from espcert.fleet.reporting import FleetReport
from espcert.fleet.settings import Request
from espcert.fleet.sources import parse_shard
from espcert.fleet.task import Task
from espcert.fleet.workers import LocalPool, Pool, cores


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
    needed = kept.of_request(request, runs.journal_of(request, asked.journal))
    # Only the journal knows which of the files that are there are reports of its own.
    reporting.check(asked.reports, needed, force=True)
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
    written = reporting.write_noted(report, begun.journal, asked.reports, force=asked.force)
    worst = max(begun.journal.counts("exit_code"), default=0)
    if any(finding["severity"] == ERROR for finding in report.across):
        worst = max(worst, 1)
    if not asked.as_json and not asked.quiet:
        fleet_summary.print_summary(begun, report, asked, written.paths)
        fleet_summary.complain_of_failures(begun.journal, report)
    if written.failure is not None:
        raise written.failure
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
