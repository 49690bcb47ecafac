"""Why a module is an error: which of its findings count as one in its run.

A record holds its findings as the single verb tells them, each with the severity of its code. Under
`--strict` warnings are errors, and under `--require-proof` what says that a key is not proven:
reports show the findings with the severities with which they counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from espcert.catalogue import ERROR, WARNING
from espcert.findings import SEVERITIES
from espcert.fleet.reports import Report
from espcert.verification import UNPROVEN

Record = Mapping[str, Any]


def raised(options: Mapping[str, Any]) -> frozenset[str]:
    """Codes that are errors in a run with these options, whatever their severity."""
    return UNPROVEN if options.get("require_proof") else frozenset()


def judged(record: Record, options: Mapping[str, Any]) -> Record:
    """The record with its findings as they counted, worst first; itself where none is raised."""
    found = record.get("findings") or ()
    if record.get("verdict") != ERROR:
        return record
    codes, strict = raised(options), bool(options.get("strict"))

    def counted(finding: Record) -> Record:
        raises = finding["code"] in codes or (strict and finding["severity"] == WARNING)
        return {**finding, "severity": ERROR} if raises else finding

    shown = sorted(map(counted, found), key=lambda one: SEVERITIES.index(one["severity"]))
    return {**record, "findings": shown}


def records(report: Report) -> Iterator[Record]:
    """All records of a report, each with its findings as they counted."""
    options = report.header.get("options") or {}
    for record in report.records():
        yield judged(record, options)
