"""What an image holds, as a table for people."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from espcert import inspection
from espcert.catalogue import CATALOGUE, INFO
from espcert.cli.words import headline, reading_lines
from espcert.detection import Reading
from espcert.text import printable
from espcert_formats import items as kinds
from espcert_formats.items import Contents, Item

PROTECTION_WORDS: Final = {
    kinds.PLAINTEXT: "in plain text",
    inspection.PASSWORD: "under a password",
    kinds.ECDSA_PERIPHERAL: "in the ECDSA peripheral",
    kinds.HMAC_ENCRYPTED: "encrypted by HMAC",
    kinds.HMAC_DERIVED: "derived by HMAC",
}
PIPED_WIDTH: Final = 120
MAX_ROWS: Final = 200
MAX_LINES: Final = 20


class _Console(Console):
    """A console that leaves a closed pipe to the command line's own rule."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console() -> Console:
    """A console without markup, emoji or highlighting: text from an image stays text."""
    made = _Console(
        markup=False,
        emoji=False,
        highlight=False,
        force_terminal=sys.stdout is not None and sys.stdout.isatty(),
    )
    if not made.is_terminal:
        made.width = PIPED_WIDTH
    return made


def print_contents(reading: Reading) -> None:
    """What the image is and why, and a table of its items."""
    out = console()
    out.print(Text(headline(reading), style="bold"))
    for line in reading_lines(reading):
        out.print(Text(line), soft_wrap=True)
    contents = reading.require()
    out.print(items_table(contents.items[:MAX_ROWS]))
    if len(contents.items) > MAX_ROWS:
        out.print(f"  ... and {len(contents.items) - MAX_ROWS} more items; --json lists them all")
    warnings, notes = (_told(contents, harmless=harmless) for harmless in (False, True))
    others = [f"{e.namespace}/{e.key}: {e.type}, {e.length} bytes" for e in contents.other_entries]
    _print_some(out, "  ! ", warnings, style="yellow")
    _print_some(out, "  ", notes)
    _print_some(out, "  also holds ", others)


def _told(contents: Contents, *, harmless: bool) -> list[str]:
    """What is odd in the bytes, as far as it is harmless or is not."""
    return [
        f"{one.code}{f' at {one.offset:#x}' if contents.traits.placed else ''}: {one.found}"
        for one in contents.anomalies
        if (CATALOGUE[one.code].severity == INFO) is harmless
    ]


def _print_some(out: Console, lead: str, lines: list[str], *, style: str = "") -> None:
    """The first lines, and how many more there are."""
    for line in lines[:MAX_LINES]:
        out.print(Text(f"{lead}{printable(line)}", style=style), soft_wrap=True)
    if len(lines) > MAX_LINES:
        out.print(Text(f"{lead}{len(lines) - MAX_LINES} more", style=style))


def items_table(items: tuple[Item, ...]) -> Table:
    """A table of items with their subjects and validity."""
    table = Table(box=None, pad_edge=True, header_style="bold", show_edge=False)
    table.add_column("offset", justify="right")
    table.add_column("item", no_wrap=True)
    table.add_column("bytes", justify="right")
    table.add_column("checksum", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    for item in items:
        name = f"{item.kind}[{item.index}]" if item.index else item.kind
        table.add_row(
            f"{item.offset:#x}" if item.spans else "",
            Text(name, style=KIND_STYLES.get(item.kind, "")),
            str(len(item.data)) if item.kind != kinds.DS_CONTEXT else "",
            _intact(item),
            Text(_words(inspection.item_to_json(item))),
        )
    return table


KIND_STYLES: Final = {
    kinds.DEVICE_CERT: "green",
    kinds.CA_CERT: "cyan",
    kinds.PRIVATE_KEY: "red",
    kinds.DS_CIPHERTEXT: "magenta",
    kinds.DS_IV: "blue",
    kinds.DS_CONTEXT: "yellow",
    kinds.SECURITY_CONFIG: "yellow",
    kinds.ECDSA_SALT: "red",
    kinds.TEE_KEY: "red",
    kinds.INTEGRITY: "bright_black",
    kinds.SIGNATURE_BLOCK: "bright_blue",
}


def _intact(item: Item) -> Text:
    if item.intact is None:
        return Text("none")
    return Text("ok", style="green") if item.intact else Text("WRONG", style="bold red")


def _words(details: dict[str, Any]) -> str:
    kind = details["kind"]
    if kind in kinds.CERTIFICATES:
        return _certificate_words(details)
    if kind == kinds.PRIVATE_KEY:
        algorithm = details["algorithm"] or "key"
        return f"{algorithm} {PROTECTION_WORDS[details['protection']]}"
    if kind == kinds.DS_CONTEXT:
        return f"RSA {details['rsa_bits']}, HMAC key in BLOCK_KEY{details['efuse_key_id']}"
    if kind == kinds.SECURITY_CONFIG:
        return f"key in eFuse block {details['efuse_block']}"
    return ""


def _certificate_words(details: dict[str, Any]) -> str:
    if not details["certificates"]:
        return "not an X.509 certificate"
    validity = f"{(details['not_before'] or '?')[:10]} to {(details['not_after'] or '?')[:10]}"
    if details["not_after"] and details["not_after"] < inspection.time_text(
        datetime.now(timezone.utc)
    ):
        validity += " (expired)"
    chain = f", first of {details['certificates']}" if details["certificates"] > 1 else ""
    subject = details["subject"] or "no subject"
    return f"{subject}\n{details['public_key'] or 'unknown key'}, {validity}{chain}"
