"""The certificates: readable, and valid at a given time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from espcert import certificates
from espcert.findings import Finding, item_name
from espcert_formats import items as kinds
from espcert_formats.items import Item


def check(items: Sequence[Item], at: datetime) -> Iterator[Finding]:
    """Findings on every intact certificate."""
    for item in items:
        if item.kind in kinds.CERTIFICATES and item.intact is not False:
            yield from _check(item, at)


def _check(item: Item, at: datetime) -> Iterator[Finding]:
    name = item_name(item.kind, item.index)
    valid = certificates.validity(item.data)
    if valid is None:
        message = f"{name}: {len(item.data)} bytes that are no X.509 certificate"
        yield Finding("certificate-unreadable", message, name, item.offset)
        return
    begin, end = valid
    if end is not None and at > end:
        message = f"{name}: expired on {end:%Y-%m-%d}"
        yield Finding("certificate-expired", message, name, item.offset)
    if begin is not None and at < begin:
        message = f"{name}: valid from {begin:%Y-%m-%d} only"
        yield Finding("certificate-not-yet-valid", message, name, item.offset)
