"""What a verification found, for people: worst first, with what to do, and one closing line."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Final

import typer

from espcert.catalogue import CATALOGUE, ERROR, INFO, WARNING
from espcert.cli.common import say, shown_name
from espcert.cli.words import headline
from espcert.detection import Reading
from espcert.findings import Finding
from espcert.text import printable
from espcert.verification import verdict

_COLOURS: Final = {ERROR: typer.colors.RED, WARNING: typer.colors.YELLOW, INFO: None}
_TITLES: Final = {ERROR: "Errors", WARNING: "Warnings", INFO: "Good to know"}
_NOTHING_TO_DO: Final = "nothing"
_NOT_PROVEN: Final = "-not-proven"


def print_report(reading: Reading, found: list[Finding], *, strict: bool, quiet: bool) -> None:
    """The findings and the verdict; with `quiet` only errors, on standard error."""
    result = verdict(found, strict=strict)
    if quiet:
        if result == ERROR:
            name = printable(shown_name(reading.image.name))
            typer.echo(f"espcert: {name}: {_closing(found, result)}", err=True)
        return
    say(headline(reading))
    for severity, group in itertools.groupby(found, key=lambda finding: finding.severity):
        say(_painted(f"{_TITLES[severity]}:", severity))
        for line in _lines(group):
            say(line)
    say(_painted(_closing(found, result), result))


def _lines(group: Iterator[Finding]) -> Iterator[str]:
    """The findings of one severity, those of one code together, with their hint once."""
    for code, findings in itertools.groupby(group, key=lambda finding: finding.code):
        for finding in findings:
            yield f"  {_where(finding)}{printable(finding.message)} [{code}]"
        hint = CATALOGUE[code].hint
        if not hint.startswith(_NOTHING_TO_DO):
            yield f"      → {hint}"


def _where(finding: Finding) -> str:
    """The offset, unless the message names it."""
    if finding.offset is None or f"at {finding.offset:#x}" in finding.message:
        return ""
    return f"{finding.offset:#x}  "


def _closing(found: list[Finding], result: str) -> str:
    """One line that says whether the module will work."""
    errors = sum(finding.severity == ERROR for finding in found)
    warnings = sum(finding.severity == WARNING for finding in found)
    counted = " and ".join(
        _count(number, word) for number, word in ((errors, ERROR), (warnings, WARNING)) if number
    )
    if errors:
        return f"NOT SOUND: {counted}. This will not work as it is."
    if result == ERROR:
        return f"NOT SOUND (--strict): {counted}."
    if warnings:
        return f"SOUND, with {counted} to look at.{_open_question(found)}"
    return f"SOUND.{_open_question(found)}"


def _open_question(found: list[Finding]) -> str:
    if any(finding.code.endswith(_NOT_PROVEN) for finding in found):
        return " The private key itself is not proven: see above."
    return ""


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _painted(text: str, severity: str) -> str:
    colour = _COLOURS.get(severity)
    if colour is None or os.environ.get("NO_COLOR"):
        return text
    return typer.style(text, fg=colour, bold=True)
