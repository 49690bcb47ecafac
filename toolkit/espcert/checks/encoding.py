"""Certificates and keys in the form in which firmware's parser takes them: the trailing NUL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from espcert import encoding
from espcert.checks.context import Context
from espcert.findings import Finding, item_name
from espcert_formats import items as kinds

_PROTECTIONS: Final = (None, kinds.PLAINTEXT, kinds.HMAC_ENCRYPTED)
"""Keys held elsewhere have no encoding; what lies in their entries is another check's business."""


def check(context: Context) -> Iterator[Finding]:
    """Findings on the NUL behind certificates and private keys, as firmware hands them out."""
    for item in context.whole(kinds.DEVICE_CERT, kinds.CA_CERT, kinds.PRIVATE_KEY):
        data = context.plain(item) if item.protection in _PROTECTIONS else None
        if data is not None:
            name = item_name(item.kind, item.index)
            for code, text in _problems(data):
                yield Finding(code, f"{name}: {text}", name, item.offset)


def _problems(data: bytes) -> Iterator[tuple[str, str]]:
    if encoding.encoding_of(data) == encoding.PEM:
        if data[-1:] != b"\0":
            yield "pem-without-nul", "PEM that ends without a NUL, expected one as its last byte"
        return
    end = encoding.der_end(data)
    if end is not None and end < len(data) and not data[end:].strip(b"\0"):
        more = len(data) - end
        nuls = "a NUL" if more == 1 else f"{more} NULs"
        yield "der-with-nul", f"{nuls} behind DER of {end} bytes, expected nothing"
