"""Certificates and keys in the form in which firmware's parser takes them: the trailing NUL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from espcert import encoding
from espcert.checks.context import Context
from espcert.findings import Finding, of_item
from espcert_formats import items as kinds
from espcert_formats.items import Item

_KEY_LABEL: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_PROTECTIONS: Final = (None, kinds.PLAINTEXT, kinds.HMAC_ENCRYPTED)
"""Keys held elsewhere have no encoding; what lies in their entries is another check's business."""


def check(context: Context) -> Iterator[Finding]:
    """Findings on the NUL behind certificates and private keys, as firmware hands them out."""
    for item in context.whole(kinds.DEVICE_CERT, kinds.CA_CERT, kinds.PRIVATE_KEY):
        data = context.plain(item) if item.protection in _PROTECTIONS else None
        if data is not None:
            for code, text in (*_problems(data), *_misplaced(item, data)):
                yield of_item(code, item, text)


def _misplaced(item: Item, data: bytes) -> Iterator[tuple[str, str]]:
    is_pem = encoding.encoding_of(data) == encoding.PEM
    if item.kind in kinds.CERTIFICATES and is_pem and _KEY_LABEL.search(data):
        yield "key-misplaced", "holds a private key in PEM, expected certificates only"


def _problems(data: bytes) -> Iterator[tuple[str, str]]:
    if encoding.encoding_of(data) == encoding.PEM:
        if data[-1:] != b"\0":
            yield "pem-without-nul", "PEM that ends without a NUL, expected one as its last byte"
        yield from _behind_the_text(data)
        return
    end = encoding.der_end(data)
    if end is not None and end < len(data) and not data[end:].strip(b"\0"):
        more = len(data) - end
        nuls = "a NUL" if more == 1 else f"{more} NULs"
        yield "der-with-nul", f"{nuls} behind DER of {end} bytes, expected nothing"


def _behind_the_text(data: bytes) -> Iterator[tuple[str, str]]:
    text = encoding.c_string(data)
    hidden = data[len(text) :].strip(b"\0")
    if hidden:
        found = f"a NUL at byte {len(text)} of {len(data)} with {len(hidden)} bytes behind it"
        yield "pem-cut-by-nul", f"{found}, expected one at the end only"
