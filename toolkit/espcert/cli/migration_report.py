"""What a migration did, or why it was refused, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import typer

from espcert import detection
from espcert.catalogue import INFO
from espcert.cli.common import say, shown_name
from espcert.cli.refusals import finding_line, refusal
from espcert.cli.words import KEY_WORDS
from espcert.findings import Finding
from espcert.migration import Migration, encrypts_later, flash_command, wanted_line
from espcert.text import printable, size_text
from espcert.verification import UNPROVEN
from espcert_formats import items


class Beside(NamedTuple):
    """The files of table and plan that were written, None where they were not."""

    table: str | None = None
    plan: str | None = None


_NONE: Final = Beside()


def print_report(result: Migration, written: str | None, beside: Beside, *, quiet: bool) -> None:
    """The outcome on standard output; a refusal on standard error."""
    if result.refused:
        for line in refusal(result.reading.image.name, result.findings):
            typer.echo(line, err=True)
        return
    if quiet:
        return
    for line in (*_device_notes(result), *_summary(result, written, beside)):
        say(line)
    warn(result.findings)


def print_summary(result: Migration, written: str | None) -> None:
    """What was written, on standard output, and warnings on standard error."""
    for line in _summary(result, written):
        say(line)
    warn(result.findings)


def warn(findings: Iterable[Finding]) -> None:
    """Warnings, on standard error."""
    for finding in findings:
        if finding.severity != INFO:
            typer.echo(finding_line(finding), err=True)


def _device_notes(result: Migration) -> Iterator[str]:
    """What else must change on the device, where more than the partition's bytes do."""
    contents = result.reading.require()
    if not result.changes:
        return
    if not contents.traits.placed:
        yield "Before you flash this:"
        yield "  1. Read the partition from the module and keep the dump: it is the only way back."
        yield f"  2. The module's partition table must have the row:  {wanted_line(result)}"
        yield ""
        return
    named = result.reading.label or contents.traits.labels[0]
    found = contents.traits.partition_type == items.TYPE_SECURE_CERT
    yield "Before you flash this:"
    yield "  1. Keep the old dump: it is the only way back."
    if not found or named != items.LABEL:
        whole = result.flashing is not None and not result.partition_only
        where = "in the new image and on the device" if whole else "on the device"
        yield f"  2. The partition table {where} must name the partition as today's firmware"
        yield f"     looks for it:  {wanted_line(result)}"
        yield "  3. Write partition, table and new firmware without a start in between (esptool's"
        yield "     --after no-reset): until all are there the device has no credentials"
        if found:
            yield "     that it finds."
        else:
            yield "     that it finds, and firmware that looks for NVS there erases it."
    flashing = result.flashing
    if flashing is not None and flashing.after.encrypted != flashing.before.encrypted:
        how = "encrypted" if flashing.after.encrypted else "in plain text"
        yield "  !  The flag `encrypted` of the row changes: on a device with flash encryption the"
        yield f"     partition must lie in flash {how} from then on, or firmware reads noise."
    yield ""


def _summary(result: Migration, written: str | None, beside: Beside = _NONE) -> Iterator[str]:
    source, new = result.reading.require(), result.contents
    assert new is not None
    name = printable(shown_name(result.reading.image.name))
    what = f"{source.layout} → tlv" if source.layout != "tlv" else "tlv"
    yield f"{name}: {what}, {KEY_WORDS[detection.key_of(source)]}"
    kept = [item for item in new.items if item.kind != "integrity"]
    listed = ", ".join(_item_words(item.kind, len(item.data)) for item in kept)
    for note in result.reading.image.notes:
        yield f"  read      {printable(note)}"
    yield f"  holds     {listed}"
    yield f"  proven    {_proof(result)}"
    for finding in result.proven:
        unproven = finding.code in UNPROVEN
        yield f"  {'unproven' if unproven else '':<10}{printable(finding.message)}"
    yield from _what_changes(result)
    yield from _encrypted_later(result)
    used = f"{new.end} bytes used"
    size = size_text(len(result.file or b""))
    if written is None:
        yield f"  dry run   nothing written ({size}, {used})"
        return
    yield f"  written   {printable(written)} ({size}, {used}, mode 0600)"
    for path, what in ((beside.table, "the new partition table"), (beside.plan, "the commands")):
        if path is not None:
            yield f"  written   {printable(path)} ({what})"
    yield from _to_flash(result, written, beside)


def _encrypted_later(result: Migration) -> Iterator[str]:
    """That the row wants ciphertext, and plain text is written."""
    if encrypts_later(result):
        yield "  note      the row is flagged `encrypted`, and what is written is plain text:"
        yield "            with flash encryption on, esptool writes it with write-flash --encrypt"


def _to_flash(result: Migration, written: str, beside: Beside) -> Iterator[str]:
    """The commands that change on a module what has to be changed, and no more."""
    from espcert import flash_plan

    table = beside.table if beside.table and not beside.table.lower().endswith(".csv") else None
    plan = flash_plan.plan(result, written, table)
    command = flash_command(result, written, reset=False)
    if plan is None:
        if command is not None:
            yield f"  to flash  {printable(command)}"
        return
    how = "--plan-out FILE writes a script of them" if beside.plan is None else "as the plan does"
    yield f"  to flash  in this order, {how}, and then start the new firmware:"
    for number, step in enumerate(plan.steps, 1):
        yield f"    {number}. {step.title}"
        if step.note:
            yield f"       {step.note}"
        yield from (f"       {printable(line)}" for line in step.commands)
    yield f"  way back  {printable(plan.back)}"


def _what_changes(result: Migration) -> Iterator[str]:
    """The changes, the size, and what is encrypted."""
    source = result.reading.require()
    for change in result.changes:
        yield f"  changed   {printable(change)}"
    if not result.changes:
        yield "  changed   nothing: the image is current"
    if source.traits.placed and source.size < result.size:
        yield f"  filled    with 0xff from {source.size:#x} to {result.size:#x}"
    if not result.size_given:
        whence = "from the file" if source.traits.placed else "the smallest"
        yield f"  size      {result.size:#x}, {whence}; --size N if the partition is larger"
    if result.encrypted or (result.flashing and result.flashing.sealed):
        yield f"  encrypted {_encryption(result)}, and decrypted again for proof"


def _encryption(result: Migration) -> str:
    """What is written under flash encryption."""
    image, flashing = result.reading.image, result.flashing
    used = image.encryption
    parts = [f"the partition at {image.address:#x}"] if result.encrypted else []
    if flashing and flashing.sealed and used and used.table_sector is not None:
        parts.append("the partition table")
    words = " and ".join(parts)
    return words if result.encrypted else f"{words}, not the partition, as its row says"


def _proof(result: Migration) -> str:
    """How many items were compared with what."""
    mends = sum(change.startswith("mended: ") for change in result.changes)
    parts = [f"{result.kept - mends} items equal to the source's byte for byte"]
    if mends:
        parts.append(f"{mends} as mended")
    if result.supplied:
        parts.append(f"{result.supplied} to the files that were given")
    return f"read back, {', '.join(parts)}"


def _item_words(kind: str, length: int) -> str:
    return kind if kind == "ds_context" else f"{kind} ({length})"
