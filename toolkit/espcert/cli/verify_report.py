"""What a verification found, for people: worst first, with what to do, and one closing line."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from typing import Final

import typer

from espcert.catalogue import CATALOGUE, ERROR, INFO, WARNING
from espcert.cli.common import say, shown_name
from espcert.cli.words import headline
from espcert.detection import Reading
from espcert.findings import Finding
from espcert.text import printable
from espcert.verification import UNPROVEN, VERDICT_OK

_COLOURS: Final = {ERROR: typer.colors.RED, WARNING: typer.colors.YELLOW, INFO: None}
_TITLES: Final = {ERROR: "Errors", WARNING: "Warnings", INFO: "Good to know"}
_NOTHING_TO_DO: Final = "nothing to do"


def print_report(reading: Reading, found: list[Finding], judged: str, *, quiet: bool) -> None:
    """The findings and the verdict; with `quiet` only what fails, on standard error."""
    if quiet:
        _print_failures(reading, found, judged)
        return
    say(headline(reading))
    for note in reading.image.notes:
        say(f"  {printable(note)}")
    for severity, group in itertools.groupby(found, key=lambda finding: finding.severity):
        say(_painted(f"{_TITLES[severity]}:", severity))
        for line in _lines(group):
            say(line)
    say(_painted(_closing(found, judged), judged))


def _print_failures(reading: Reading, found: list[Finding], judged: str) -> None:
    if judged != ERROR:
        return
    name = printable(shown_name(reading.image.name))
    typer.echo(f"espcert: {name}: {_closing(found, judged)}", err=True)
    for finding in found:
        if finding.severity == ERROR:
            typer.echo(f"  {_line(finding)}", err=True)


def print_total(images: int, verdicts: Counter[str]) -> None:
    """One line for many images."""
    sound = verdicts[VERDICT_OK] + verdicts[WARNING]
    warned = f" ({verdicts[WARNING]} with warnings)" if verdicts[WARNING] else ""
    unread = images - verdicts.total()
    failed = f", {unread} could not be read" if unread else ""
    say(f"{images} images: {sound} sound{warned}, {verdicts[ERROR]} not sound{failed}")


def _lines(group: Iterator[Finding]) -> Iterator[str]:
    """The findings of one severity, those of one code together, with their hint once."""
    for code, findings in itertools.groupby(group, key=lambda finding: finding.code):
        for finding in findings:
            yield f"  {_line(finding)}"
        hint = CATALOGUE[code].hint
        if hint != _NOTHING_TO_DO:
            yield f"      → {hint}"


def _line(finding: Finding) -> str:
    """Offset (unless the message names it), message and code."""
    where = "" if finding.offset is None else f"{finding.offset:#x}"
    lead = "" if not where or where in finding.message.split(": ")[0] else f"{where}  "
    return f"{lead}{printable(finding.message)} [{finding.code}]"


def _closing(found: list[Finding], judged: str) -> str:
    """One line that says whether the module will work."""
    errors = sum(finding.severity == ERROR for finding in found)
    warnings = sum(finding.severity == WARNING for finding in found)
    counted = " and ".join(
        _count(number, word) for number, word in ((errors, ERROR), (warnings, WARNING)) if number
    )
    unproven = any(finding.code in UNPROVEN for finding in found)
    doubt = " The private key itself is not proven: see above." if unproven else ""
    if errors:
        return f"NOT SOUND: {counted}. Do not ship or flash it before that is mended."
    if judged == ERROR:
        return f"NOT SOUND, as it was asked to be strict{f': {counted}' if counted else ''}.{doubt}"
    if warnings:
        return f"SOUND, with {counted} to look at.{doubt}"
    return f"SOUND.{doubt}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _painted(text: str, severity: str) -> str:
    colour = _COLOURS.get(severity)
    if colour is None or os.environ.get("NO_COLOR"):
        return text
    return typer.style(text, fg=colour, bold=True)
