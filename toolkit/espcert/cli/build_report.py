"""What was built, how its keys get into the module, or why it was refused, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import typer

from espcert import detection
from espcert.building import Built
from espcert.burning import IRREVERSIBLE
from espcert.catalogue import WARNING
from espcert.cli.common import say
from espcert.cli.words import KEY_WORDS
from espcert.findings import Finding
from espcert.text import printable, size_text
from espcert.verification import PROVEN, UNPROVEN
from espcert_formats import items as kinds


def print_report(
    name: str,
    built: Built,
    written: str | None,
    beside: Sequence[str],
    *,
    sized: bool,
    quiet: bool,
) -> None:
    """The outcome on standard output; a refusal and warnings on standard error.

    `beside` are the files that were written beside the partition.
    """
    if built.refused:
        for line in _refusal(name, built):
            typer.echo(line, err=True)
        return
    if quiet:
        return
    for line in (*_summary(name, built), *_files(built, written, beside, sized=sized)):
        say(line)
    for line in _burning(built):
        say(line)
    for finding in built.findings:
        if finding.severity == WARNING:
            typer.echo(_finding_line(finding), err=True)


def _refusal(name: str, built: Built) -> Iterator[str]:
    count = len(built.blocking)
    errors = "1 error" if count == 1 else f"{count} errors"
    yield f"espcert: {printable(name)}: refused, nothing written: {errors}"
    for finding in built.blocking:
        yield _finding_line(finding)
        yield f"      {finding.hint}"


def _finding_line(finding: Finding) -> str:
    return f"  {finding.severity}: {printable(finding.message)} [{finding.code}]"


def _summary(name: str, built: Built) -> Iterator[str]:
    contents = built.contents
    yield f"{printable(name)}: tlv, {KEY_WORDS[detection.key_of(contents)]}"
    held = [item for item in contents.items if item.kind != kinds.INTEGRITY]
    listed = ", ".join(f"{item.kind} ({len(item.data)})" for item in held)
    yield f"  holds     {listed}"
    yield f"  proven    read back, {len(held)} items equal to what was given"
    for finding in built.findings:
        if finding.code in PROVEN | UNPROVEN:
            lead = "unproven" if finding.code in UNPROVEN else ""
            yield f"  {lead:<10}{printable(finding.message)}"


def _files(
    built: Built, written: str | None, beside: Sequence[str], *, sized: bool
) -> Iterator[str]:
    size = built.contents.size
    if not sized:
        yield f"  size      {size:#x}; --size N if the partition is larger"
    text = f"({size_text(size)}, {built.contents.end} bytes used"
    if written is None:
        yield f"  dry run   nothing written {text})"
        return
    yield f"  written   {printable(written)} {text}, mode 0600)"
    for path in beside:
        yield f"            {printable(path)} (mode 0600)"


def _burning(built: Built) -> Iterator[str]:
    """The commands that burn the keys, and what to know before they are run."""
    if not built.commands:
        return
    yield ""
    yield "Burn the key before the partition is used:"
    yield f"  !  {IRREVERSIBLE}"
    for note in built.notes:
        yield f"  !  {note}"
    for command in built.commands:
        yield f"  {printable(command)}"
