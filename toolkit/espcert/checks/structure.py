"""The bytes: damage, what belongs to no item, what is there twice, what is missing."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Final

from espcert.checks.context import Context
from espcert.findings import Finding, item_name
from espcert.text import printable
from espcert_formats import items as kinds
from espcert_formats.items import Anomaly, Contents, Item


def check(context: Context) -> Iterator[Finding]:
    """Findings on the structure of a partition, and on what a module usually has besides."""
    yield from of_bytes(context.contents, context.contradiction)
    yield from missing(item for item in context.contents.items if item.intact is not False)


def of_bytes(contents: Contents, contradiction: str | None) -> Iterator[Finding]:
    """Findings on the structure alone. `contradiction` is how a given label contradicts it."""
    yield from _anomalies(contents)
    if contradiction is not None:
        yield Finding("label-contradiction", contradiction)
    yield from _other_data(contents)
    yield from _reserved_payload(contents)


def _anomalies(contents: Contents) -> Iterator[Finding]:
    """One finding for neighbours of which the same is to be said, as slots of one lost item."""
    for _, group in itertools.groupby(contents.anomalies, key=_said_of):
        first, *others = group
        item = item_name(first.kind, first.index) if first.kind else None
        said = f"found {printable(first.found)}, expected {printable(first.expected)}"
        if not contents.traits.placed:
            yield Finding(first.code, f"{item}: {said}", item)
            continue
        subject = f"{item} at " if item else ""
        more = f" (and {len(others)} more up to {others[-1].offset:#x})" if others else ""
        yield Finding(first.code, f"{subject}{first.offset:#x}{more}: {said}", item, first.offset)


def _said_of(anomaly: Anomaly) -> tuple[object, ...]:
    return anomaly.code, anomaly.found, anomaly.expected, anomaly.kind, anomaly.index


def _other_data(contents: Contents) -> Iterator[Finding]:
    others = contents.other_entries
    if not others:
        return
    shown = ", ".join(printable(f"{entry.namespace}/{entry.key}") for entry in others[:8])
    more = f" and {len(others) - 8} more" if len(others) > 8 else ""
    plural = "entry" if len(others) == 1 else "entries"
    own = _OWN_NAMESPACES.get(contents.layout)
    second = sorted({entry.namespace for entry in others} & _CREDENTIALS - {own})
    hint = f"; {printable(second[0])} is a second set of credentials" if second else ""
    yield Finding("other-data", f"{len(others)} NVS {plural} besides: {shown}{more}{hint}")


_OWN_NAMESPACES: Final = {"nvs": kinds.LABEL, "nvs_legacy": kinds.LABEL_PRE_PROV}
_CREDENTIALS: Final = frozenset({kinds.LABEL, kinds.LABEL_PRE_PROV})
"""Namespaces of NVS that hold credentials have the names of the partitions."""


def _reserved_payload(contents: Contents) -> Iterator[Finding]:
    """Reserved bytes inside the payloads of TLV entries, which are carried over as they are."""
    for item in contents.items:
        for start, stop in _RESERVED.get(item.kind, ()):
            held = item.data[start:stop]
            if item.flags is not None and item.intact is not False and held.strip(b"\0"):
                name = item_name(item.kind, item.index)
                message = f"{name}: reserved bytes {start} to {stop - 1} are not all zero"
                yield Finding("reserved-payload", message, name, item.offset + start)


_RESERVED: Final = {
    kinds.DS_CONTEXT: ((0, 4), (5, 6)),
    kinds.SECURITY_CONFIG: ((1, 40),),
}
"""Source: ESP-IDF v5.5, esp_ds_data_ctx_t; esp_secure_cert_tlv_private.h, tlv_sec_cfg."""


def missing(items: Iterable[Item]) -> Iterator[Finding]:
    """Findings on what a module usually has and is not among these items."""
    present = {item.kind for item in items}
    if kinds.DEVICE_CERT not in present:
        yield Finding("missing-device-cert", "there is no device certificate")
    if kinds.CA_CERT not in present:
        yield Finding("missing-ca-cert", "there is no CA certificate")
    if not present & ({kinds.PRIVATE_KEY} | kinds.DS_MATERIAL):
        yield Finding("missing-key", "there is no private key")
