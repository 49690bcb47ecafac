"""What of a source is carried over, what is left out, and what is supplied to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from espcert import certificates, keypairs
from espcert.checks.ds import missing_parts
from espcert.errors import UsageError
from espcert.findings import item_name
from espcert.text import printable
from espcert_formats import items as kinds
from espcert_formats.items import Contents, Item


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that is not carried over; `code` is what a user must accept for it."""

    code: str
    text: str
    item: str | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The items that are kept, in source order, those that are added, and all that is lost."""

    kept: tuple[Item, ...]
    supplied: tuple[Item, ...]
    losses: tuple[Loss, ...]

    @property
    def material(self) -> list[Item]:
        """Everything to be written, seals aside."""
        return [item for item in (*self.kept, *self.supplied) if item.kind not in kinds.SEALS]


def select(source: Contents, device_cert: bytes | None, ca_cert: bytes | None) -> Selection:
    """Choose what is carried over; the certificate files supply what the source lacks.

    Raises UsageError where a certificate file is none, differs from the source's certificate,
    or does not fit its key.
    """
    placed = source.traits.placed
    held = [item for item in source.items if not (placed and _is_void(item))]
    first, doubles = _first_of_each(held)
    first = [item for item in first if item.intact is not False]
    doubles = [item for item in doubles if item.intact is not False]
    kept, incomplete = _complete_ds(first)
    supplied = (
        _supplied(kept, kinds.DEVICE_CERT, "--device-cert", device_cert),
        _supplied(kept, kinds.CA_CERT, "--ca-cert", ca_cert),
    )
    losses = (
        *_damaged(source),
        *(_item_loss("duplicate-entry", item, "a second one") for item in doubles),
        *(_item_loss("ds-incomplete", item, "of an incomplete DS key") for item in incomplete),
        *_unclaimed(source),
    )
    return Selection(tuple(kept), tuple(item for item in supplied if item), losses)


def _is_void(item: Item) -> bool:
    """Whether a legacy layout names an item of no bytes: only TLV stores empty entries."""
    return not item.data and item.flags is None and item.kind != kinds.DS_CONTEXT


def _first_of_each(items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """The first item of each kind and index, which firmware reads, and the others."""
    first: dict[tuple[str, int], Item] = {}
    doubles = []
    for item in items:
        known = first.setdefault((item.kind, item.index), item)
        if known is not item and item.kind != kinds.INTEGRITY:
            doubles.append(item)
    return list(first.values()), doubles


def _complete_ds(items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Items without those of DS keys that lack a part, and the latter."""
    groups: dict[int, dict[str, Item]] = {}
    for item in items:
        if item.kind in kinds.DS_MATERIAL:
            groups.setdefault(item.index, {})[item.kind] = item
    useless = {index for index, group in groups.items() if any(missing_parts(group))}
    kept: list[Item] = []
    incomplete: list[Item] = []
    for item in items:
        is_useless = item.kind in kinds.DS_MATERIAL and item.index in useless
        (incomplete if is_useless else kept).append(item)
    return kept, incomplete


def _item_loss(code: str, item: Item, why: str) -> Loss:
    name = item_name(item.kind, item.index)
    if not item.spans:
        return Loss(code, f"{name}, {why}", name)
    return Loss(code, f"{name} at {item.offset:#x}, {why}", name, item.offset)


def _damaged(source: Contents) -> Iterator[Loss]:
    """Damaged items, those that the image's end cuts included."""
    for anomaly in source.anomalies:
        if anomaly.code == kinds.ITEM_CRC and anomaly.kind:
            name = item_name(anomaly.kind, anomaly.index)
            placed = source.traits.placed
            text = f"{name} at {anomaly.offset:#x}, damaged" if placed else f"{name}, damaged"
            yield Loss(kinds.ITEM_CRC, text, name, anomaly.offset if placed else None)


def _unclaimed(source: Contents) -> Iterator[Loss]:
    """Bytes and NVS entries that are no items."""
    for code in (kinds.TRAILING_DATA, kinds.NVS_DAMAGE):
        if any(anomaly.code == code for anomaly in source.anomalies):
            yield Loss(code, "bytes that belong to no item")
    for entry in source.other_entries:
        yield Loss("other-data", f"NVS entry {printable(f'{entry.namespace}/{entry.key}')}")


def _supplied(kept: Sequence[Item], kind: str, option: str, data: bytes | None) -> Item | None:
    """The item that a certificate file adds; None where the source has the same certificate."""
    if data is None:
        return None
    stored = certificates.stored_form(data)
    if stored is None:
        raise UsageError("bad-certificate", f"{option}: not an X.509 certificate (PEM or DER)")
    for item in kept:
        if item.kind == kind and item.index == 0:
            if certificates.same_certificates(item.data, stored):
                return None
            where = f", at {item.offset:#x}" if item.spans else ""
            message = f"the image holds another {kind}{where}; nothing is replaced"
            raise UsageError("other-certificate", f"{option}: {message}")
    if kind == kinds.DEVICE_CERT:
        _require_fit(kept, option, stored)
    return Item(kind=kind, index=0, data=stored, spans=(), intact=None, flags=0)


def _require_fit(kept: Sequence[Item], option: str, certificate: bytes) -> None:
    """The certificate must fit the key: wholly where it is in plain text, by size for DS."""
    public = certificates.public_key(certificate)
    if public is None:
        return
    for item in kept:
        fits = True
        if item.kind == kinds.PRIVATE_KEY and item.protection == kinds.PLAINTEXT:
            private = keypairs.load_private_key(item.data)
            fits = private is None or keypairs.same_key(private, public)
        elif item.kind == kinds.DS_CONTEXT:
            fits = keypairs.key_name(public) == f"RSA {item.rsa_bits}"
        if item.index == 0 and not fits:
            message = f"the certificate's key ({keypairs.key_name(public)}) is not that of"
            raise UsageError(
                "other-certificate", f"{option}: {message} the {item.kind} in the image"
            )
