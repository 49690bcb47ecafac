"""Why nothing was written, for people."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence

from espcert.catalogue import ACCEPTABLE, CATALOGUE, ERROR, WARNING
from espcert.cli.common import shown_name
from espcert.findings import Finding
from espcert.text import printable


def refusal(
    name: str, findings: Sequence[Finding], acceptable: Collection[str] = ACCEPTABLE
) -> Iterator[str]:
    """The errors by code, each with what to do, then the warnings. `name` is the IMAGE's.

    `acceptable` are the codes that the verb's `--accept` takes.
    """
    errors = [finding for finding in findings if finding.severity == ERROR]
    count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    yield f"espcert: {printable(shown_name(name))}: refused, nothing written: {count}"
    for code, group in itertools.groupby(errors, key=lambda finding: finding.code):
        yield from map(finding_line, group)
        yield f"      {CATALOGUE[code].hint}"
        if code in acceptable:
            yield f"      or --accept {code}: {CATALOGUE[code].accepted}"
    for finding in findings:
        if finding.severity == WARNING:
            yield finding_line(finding)


def finding_line(finding: Finding) -> str:
    """A finding with its severity and code."""
    return f"  {finding.severity}: {printable(finding.message)} [{finding.code}]"
