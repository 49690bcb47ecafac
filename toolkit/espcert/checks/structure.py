"""The bytes: damage, what belongs to no item, what is there twice, what is missing."""

from __future__ import annotations

from collections.abc import Iterator

from espcert.detection import Reading
from espcert.findings import Finding, item_name
from espcert.text import printable
from espcert_formats import items as kinds
from espcert_formats.items import Contents


def check(reading: Reading) -> Iterator[Finding]:
    """Findings on the structure of a partition."""
    contents = reading.require()
    yield from _anomalies(contents)
    if reading.contradiction is not None:
        yield Finding("label-contradiction", reading.contradiction)
    yield from _other_data(contents)
    yield from _missing(contents)


def _anomalies(contents: Contents) -> Iterator[Finding]:
    for anomaly in contents.anomalies:
        item = item_name(anomaly.kind, anomaly.index) if anomaly.kind else None
        subject = f"{item}: " if item else ""
        message = (
            f"{subject}found {printable(anomaly.found)} at {anomaly.offset:#x}, "
            f"expected {printable(anomaly.expected)}"
        )
        yield Finding(anomaly.code, message, item, anomaly.offset)


def _other_data(contents: Contents) -> Iterator[Finding]:
    others = contents.other_entries
    if not others:
        return
    shown = ", ".join(printable(f"{entry.namespace}/{entry.key}") for entry in others[:8])
    more = f" and {len(others) - 8} more" if len(others) > 8 else ""
    plural = "entry" if len(others) == 1 else "entries"
    yield Finding("other-data", f"{len(others)} NVS {plural} besides: {shown}{more}")


def _missing(contents: Contents) -> Iterator[Finding]:
    present = {item.kind for item in contents.items}
    if kinds.DEVICE_CERT not in present:
        yield Finding("missing-device-cert", "there is no device certificate")
    if kinds.CA_CERT not in present:
        yield Finding("missing-ca-cert", "there is no CA certificate")
    if not present & ({kinds.PRIVATE_KEY} | kinds.DS_MATERIAL):
        yield Finding("missing-key", "there is no private key")
