"""What a migration did, or why it was refused, for people."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import typer

from espcert import detection
from espcert.cli.common import say, shown_name
from espcert.cli.words import KEY_WORDS
from espcert.findings import CATALOGUE, INFO, Finding
from espcert.migration import Migration, table_line
from espcert.text import printable, size_text
from espcert_formats import items


def print_report(result: Migration, written: str | None, *, quiet: bool) -> None:
    """The outcome on standard output; a refusal on standard error."""
    if result.refused:
        for line in _refusal(result):
            typer.echo(line, err=True)
        return
    if quiet:
        return
    for line in (*_device_notes(result), *_summary(result, written)):
        say(line)
    for finding in result.findings:
        if finding.severity != INFO:
            typer.echo(_finding_line(finding), err=True)


def _refusal(result: Migration) -> Iterator[str]:
    name = printable(shown_name(result.reading.image.name))
    count = len(result.blocking)
    errors = "1 error" if count == 1 else f"{count} errors"
    yield f"espcert: {name}: refused, nothing written: {errors}"
    for code, findings in itertools.groupby(result.blocking, key=lambda finding: finding.code):
        yield from map(_finding_line, findings)
        yield f"      {CATALOGUE[code].hint}"
        accepted = CATALOGUE[code].accepted
        if accepted:
            yield f"      or --accept {code}: {accepted}"


def _finding_line(finding: Finding) -> str:
    return f"  {finding.severity}: {printable(finding.message)} [{finding.code}]"


def _device_notes(result: Migration) -> Iterator[str]:
    """What else must change on the device, where more than the partition's bytes do."""
    contents = result.reading.require()
    named = result.reading.label or contents.traits.labels[0]
    found = contents.traits.partition_type == items.TYPE_SECURE_CERT
    if found and named == items.LABEL:
        return
    yield "Before you flash this:"
    yield "  1. Keep the old dump: it is the only way back."
    yield "  2. The partition table on the device must name the partition as today's firmware looks"
    yield f"     for it:  {table_line(result.size, None)}"
    if not found:
        yield "     Firmware that finds a TLV image in a partition of type data erases it."
    yield "  3. Write the partition first, then the table: between the two the device may not"
    yield "     find its credentials."
    yield ""


def _summary(result: Migration, written: str | None) -> Iterator[str]:
    source, new = result.reading.require(), result.contents
    assert new is not None
    name = printable(shown_name(result.reading.image.name))
    what = f"{source.layout} → tlv" if source.layout != "tlv" else "tlv"
    yield f"{name}: {what}, {KEY_WORDS[detection.key_of(source)]}"
    kept = [item for item in new.items if item.kind != "integrity"]
    listed = ", ".join(_item_words(item.kind, len(item.data)) for item in kept)
    yield f"  holds     {listed}"
    whole = len(kept) == sum(item.kind != "integrity" for item in source.items)
    of_source = "all items equal" if whole else f"{len(kept)} items as planned, equal"
    yield f"  proven    read back, {of_source} to the source's byte for byte"
    for change in result.changes:
        yield f"  changed   {printable(change)}"
    if not result.changes:
        yield "  changed   nothing: the image is current"
    used = f"{new.end} bytes used"
    if written is None:
        yield f"  dry run   nothing written ({size_text(result.size)}, {used})"
    else:
        yield f"  written   {printable(written)} ({size_text(result.size)}, {used}, mode 0600)"


def _item_words(kind: str, length: int) -> str:
    return kind if kind == "ds_context" else f"{kind} ({length})"
