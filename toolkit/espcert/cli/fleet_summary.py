"""What is said of a fleet at its end: which images failed and why, and figures of the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from espcert.catalogue import ERROR
from espcert.cli import common
from espcert.cli.fleet_options import Asked
from espcert.cli.fleet_progress import counts_text
from espcert.fleet.journal import Journal
from espcert.fleet.plan import Plan
from espcert.fleet.reporting import FleetReport
from espcert.fleet.reports import reasons
from espcert.fleet.runs import Begun
from espcert.text import printable

FAILURES: Final = 5
"""Images that failed of which is said why."""
CODES: Final = 12
ACROSS: Final = 10
"""Codes, and findings between modules, that the summary lists."""


def complain_of_failures(journal: Journal, report: FleetReport) -> None:
    """The first images that failed, the worst first, on standard error; the rest is counted."""
    for record in report.failures(FAILURES):
        common.complain(_failure(record))
    codes = journal.counts("exit_code")
    rest = sum(codes.values()) - codes.get(0, 0) - FAILURES
    if rest > 0:
        common.complain(f"and {rest:,} more, see --report or --json")


def _failure(record: Mapping[str, Any]) -> str:
    """Source, reason and code of an image that failed, in one line."""
    source, error = record["source"], record.get("error")
    wrong = [one for one in record["findings"] if one["severity"] == ERROR]
    told = error if error is not None else wrong[0]
    named = told["message"].startswith(f"{source}: ")
    text = told["message"] if named else f"{source}: {told['message']}"
    more = f" and {len(wrong) - 1} more" if error is None and len(wrong) > 1 else ""
    return f"{text} [{told['code']}]{more}"


def print_summary(begun: Begun, report: FleetReport, asked: Asked, reports: Sequence[Path]) -> None:
    """Verdicts, codes, findings between modules, and `reports`' names, on standard output."""
    journal = begun.journal
    _print_counts(journal, begun.plan, report)
    codes = journal.codes(reasons.raised(report.options))
    for code, number in codes[:CODES]:
        common.say(f"  {number:>9,}       {code}")
    if len(codes) > CODES:
        common.say(f"                  and {len(codes) - CODES:,} more, see --report")
    _print_across(report)
    if not asked.redact:
        _print_files(journal, reports)


def _print_counts(journal: Journal, plan: Plan, report: FleetReport) -> None:
    counted = journal.verdicts()
    total = sum(counted.values())
    shard = report.options.get("shard")
    common.say(f"{total:,} images: {counts_text(counted) or f'shard {shard} has none'}")
    if plan.skipped:
        listed = ", ".join(f"{number:,} {reason}" for reason, number in plan.skipped.items())
        common.say(f"  not looked at   {listed}")


def _print_across(report: FleetReport) -> None:
    for finding in report.across[:ACROSS]:
        common.say(f"  across          {finding['message']} [{finding['code']}]")
        common.say(f"                  {_first(finding)}")
    if len(report.across) > ACROSS:
        rest = sum(report.across_counts.values()) - ACROSS
        common.say(f"                  and {rest:,} more, see --report")


def _first(finding: Mapping[str, Any]) -> str:
    return printable(", ".join(finding["sources"][:3]))


def _print_files(journal: Journal, reports: Sequence[Path]) -> None:
    if not journal.temporary:
        common.say(f"  journal         {printable(str(journal.path))}")
    for path in reports:
        common.say(f"  report          {printable(str(path))}")
