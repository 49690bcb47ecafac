"""The cust_flash layouts: 64 bytes of metadata, then areas at fixed offsets.

Written by esp_secure_cert_mgr 1.x. In a `pre_prov` partition (`cust_flash_legacy`) the
(crc, length) pairs of device and CA certificate have changed places. The bytes are described in
`ksy/esp_secure_cert_cust_flash.ksy`. Sources: esp_secure_cert_mgr 2296511,
esp_secure_cert_config.h and esp_secure_cert_read.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from typing import Final, NamedTuple

from kaitaistruct import KaitaiStream

from espcert_formats import items as kinds
from espcert_formats import misfits as rules
from espcert_formats._ksy.esp_secure_cert_cust_flash import EspSecureCertCustFlash
from espcert_formats.checksum import crc32
from espcert_formats.errors import FormatError
from espcert_formats.flash import SECTOR, first_written
from espcert_formats.items import (
    LABEL,
    LABEL_PRE_PROV,
    TYPE_SECURE_CERT,
    Anomaly,
    Contents,
    Evidence,
    Field,
    Item,
    Misfit,
    Span,
    Traits,
)

NAME: Final = "cust_flash"
NAME_LEGACY: Final = "cust_flash_legacy"
SIZE: Final = 0x6000
"""Bytes that the official tool writes: areas up to 0x2840, erased behind; one byte more where it
inserted one for a missing CA certificate."""
TRAITS: Final = {
    NAME: Traits("cust_flash metadata", (LABEL,), TYPE_SECURE_CERT, SIZE),
    NAME_LEGACY: Traits(
        "cust_flash metadata of a pre_prov module", (LABEL_PRE_PROV,), TYPE_SECURE_CERT, SIZE
    ),
}
REVISION: Final = "1.x"

MAGIC: Final = b"\x78\x56\x34\x12"
MAGIC_WITHOUT_DS: Final = 24
MAGIC_WITH_DS: Final = 36

METADATA_LENGTH: Final = 64
DEVICE_CERT_AREA: Final = 64
CA_CERT_AREA: Final = 2112
KEY_AREA: Final = 6208
AREA_LENGTHS: Final = {
    kinds.DEVICE_CERT: CA_CERT_AREA - DEVICE_CERT_AREA,
    kinds.CA_CERT: KEY_AREA - CA_CERT_AREA,
    kinds.PRIVATE_KEY: 4096,
}
"""Bytes of the areas. Neither firmware nor the old tools mind them: they go on into the next."""
CONTEXT_SPAN: Final = Span(28, 5)
"""iv_len, rsa_length and efuse_key_id: the words of the metadata that make the DS context."""

STRIDES: Final = {length: length + 16 for length in kinds.DS_MAX_BITS}
"""Ciphertext length → distance of the IV from it: ESP_DS_C_LEN + 16 of the chip's build."""


class Slot(NamedTuple):
    """A (crc, length) pair of the metadata with the offset of the data that it speaks of."""

    offset: int
    length: int
    crc: int

    @property
    def empty(self) -> bool:
        """A pair 0/0: the writer had nothing to store."""
        return self.length == 0 and self.crc == 0

    def matches(self, data: bytes) -> bool:
        """Whether the bytes lie inside the image and have this CRC."""
        stop = self.offset + self.length
        return stop <= len(data) and crc32(data[self.offset : stop]) == self.crc


class Metadata(NamedTuple):
    """The metadata: the first two pairs in stored order, the key's or the DS block's, the IV's."""

    first: Slot
    second: Slot
    key: Slot
    iv: Slot | None
    rsa_bits: int = 0
    efuse_key_id: int = 0


def _metadata(data: bytes) -> Metadata | None:
    with_ds = data[MAGIC_WITH_DS : MAGIC_WITH_DS + 4] == MAGIC
    without_ds = data[MAGIC_WITHOUT_DS : MAGIC_WITHOUT_DS + 4] == MAGIC
    if with_ds:
        metadata = _metadata_with_ds(data)
        # With both magics the word at 24 is either the IV's CRC by chance or the real magic.
        if not without_ds or (metadata.iv is not None and metadata.iv.matches(data)):
            return metadata
    return _metadata_without_ds(data) if without_ds else None


def _metadata_without_ds(data: bytes) -> Metadata:
    raw = EspSecureCertCustFlash.MetadataWithoutDs(KaitaiStream(BytesIO(data[:METADATA_LENGTH])))
    return Metadata(
        Slot(DEVICE_CERT_AREA, raw.len_dev_cert, raw.dev_cert_crc),
        Slot(CA_CERT_AREA, raw.len_ca_cert, raw.ca_cert_crc),
        Slot(KEY_AREA, raw.len_priv_key, raw.priv_key_crc),
        None,
    )


def _metadata_with_ds(data: bytes) -> Metadata:
    raw = EspSecureCertCustFlash.MetadataWithDs(KaitaiStream(BytesIO(data[:METADATA_LENGTH])))
    return Metadata(
        Slot(DEVICE_CERT_AREA, raw.len_dev_cert, raw.dev_cert_crc),
        Slot(CA_CERT_AREA, raw.len_ca_cert, raw.ca_cert_crc),
        Slot(KEY_AREA, raw.len_ciphertext, raw.ciphertext_crc),
        _iv_slot(data, raw.len_ciphertext, raw.len_iv, raw.iv_crc),
        raw.rsa_length,
        raw.efuse_key_id,
    )


def _iv_slot(data: bytes, ciphertext_length: int, length: int, crc: int) -> Slot:
    """The IV's place: its CRC decides between the two strides, else the ciphertext's length."""
    likely = STRIDES.get(ciphertext_length, min(STRIDES.values()))
    strides = sorted(STRIDES.values(), key=lambda stride: stride != likely)
    slots = [Slot(KEY_AREA + stride, length, crc) for stride in strides]
    return next((slot for slot in slots if slot.matches(data)), slots[0])


class _Order(NamedTuple):
    """Which pair belongs to which certificate, whether it matches, and why it is taken so."""

    layout: str
    device: Slot
    ca: Slot
    reasons: tuple[str, ...]


def _order(data: bytes, metadata: Metadata, label: str | None) -> _Order:
    first, second = metadata.first, metadata.second
    direct = (first, second)
    swapped = (second._replace(offset=first.offset), first._replace(offset=second.offset))
    matching = {
        NAME: [slot.length > 0 and slot.matches(data) for slot in direct],
        NAME_LEGACY: [slot.length > 0 and slot.matches(data) for slot in swapped],
    }
    scores = {layout: sum(matches) for layout, matches in matching.items()}
    if scores[NAME] != scores[NAME_LEGACY]:
        layout = max(scores, key=scores.__getitem__)
        reasons = tuple(_order_reasons(layout, matching[layout]))
    elif label in (LABEL, LABEL_PRE_PROV):
        layout = NAME_LEGACY if label == LABEL_PRE_PROV else NAME
        reasons = (f"pair order decided by the label {label}",)
    else:
        layout, reasons = NAME, ("pair order undecided",)
    device, ca = direct if layout == NAME else swapped
    return _Order(layout, device, ca, reasons)


def _order_reasons(layout: str, matches: list[bool]) -> Iterator[str]:
    places = ("first", "second") if layout == NAME else ("second", "first")
    for name, place, match in zip(("device", "CA"), places, matches, strict=True):
        if match:
            yield f"{name} certificate CRC matches the {place} pair"


def starts(data: bytes) -> bool:
    """Whether the magic word of either metadata is there."""
    return (
        data[MAGIC_WITHOUT_DS : MAGIC_WITHOUT_DS + 4] == MAGIC
        or data[MAGIC_WITH_DS : MAGIC_WITH_DS + 4] == MAGIC
    )


def extent(data: bytes, start: int) -> int:
    """Bytes of the partition at `start`: the areas lie at fixed offsets."""
    return min(SIZE, len(data) - start)


def recognise(data: bytes, label: str | None = None) -> Evidence | None:
    """Recognise the layout by the firmware's own test, the magic word of either metadata.

    The order of the pairs is told by the CRCs, and by `label` only where they leave it open.
    """
    metadata = _metadata(data)
    if metadata is None:
        return None
    order = _order(data, metadata, label)
    at = MAGIC_WITH_DS if metadata.iv else MAGIC_WITHOUT_DS
    reasons = (f"metadata magic 0x12345678 at offset {at}", *order.reasons)
    return Evidence(order.layout, TRAITS[order.layout].labels[0], reasons)


def read(data: bytes, label: str | None = None) -> Contents:
    """Read a cust_flash partition of either order. Raises FormatError where no magic is there."""
    metadata = _metadata(data)
    if metadata is None:
        raise FormatError(
            NAME,
            offset=MAGIC_WITHOUT_DS,
            expected="magic 78 56 34 12 (or at 0x24)",
            found=data[MAGIC_WITHOUT_DS : MAGIC_WITHOUT_DS + 4].hex(" ") or "no bytes",
        )
    order = _order(data, metadata, label)
    slots = _slots(metadata, order)
    items: list[Item] = []
    anomalies: list[Anomaly] = []
    for kind, slot in slots:
        intact = slot.matches(data)
        if slot.offset + slot.length <= len(data):
            items.append(_item(data, kind, slot, intact))
        if not intact or slot.length == 0:
            anomalies.append(_damage(data, kind, slot))
        elif slot.length > AREA_LENGTHS.get(kind, slot.length):
            found, most = f"{slot.length} bytes", AREA_LENGTHS[kind]
            expected = f"at most the {most} of its area, behind which the next one begins"
            anomalies.append(Anomaly(kinds.AREA_OVERRUN, slot.offset, found, expected, kind))
    if metadata.iv is not None:
        items.append(_context(metadata))
    anomalies += _metadata_tail(data, MAGIC_WITH_DS if metadata.iv else MAGIC_WITHOUT_DS)
    anomalies += _stray(data, slots)
    at = MAGIC_WITH_DS if metadata.iv else MAGIC_WITHOUT_DS
    return Contents(
        layout=order.layout,
        traits=TRAITS[order.layout],
        label=TRAITS[order.layout].labels[0],
        revision=REVISION,
        size=len(data),
        data=data,
        end=len(data),
        current=False,
        items=tuple(sorted(items, key=lambda item: (item.offset, item.kind))),
        anomalies=tuple(anomalies),
        evidence=(f"metadata magic 0x12345678 at offset {at}", *order.reasons),
    )


def _slots(metadata: Metadata, order: _Order) -> list[tuple[str, Slot]]:
    key = kinds.PRIVATE_KEY if metadata.iv is None else kinds.DS_CIPHERTEXT
    slots = [(kinds.DEVICE_CERT, order.device), (kinds.CA_CERT, order.ca), (key, metadata.key)]
    if metadata.iv is not None:
        slots.append((kinds.DS_IV, metadata.iv))
    return [(kind, slot) for kind, slot in slots if not slot.empty]


def _item(data: bytes, kind: str, slot: Slot, intact: bool) -> Item:
    return Item(
        kind=kind,
        index=0,
        data=data[slot.offset : slot.offset + slot.length],
        spans=(Span(slot.offset, slot.length),),
        intact=intact,
        protection=kinds.PLAINTEXT if kind == kinds.PRIVATE_KEY else None,
    )


def _context(metadata: Metadata) -> Item:
    return Item(
        kind=kinds.DS_CONTEXT,
        index=0,
        data=kinds.ds_context_data(metadata.rsa_bits, metadata.efuse_key_id),
        spans=(CONTEXT_SPAN,),
        intact=None,
        rsa_bits=metadata.rsa_bits,
        efuse_key_id=metadata.efuse_key_id,
    )


def _damage(data: bytes, kind: str, slot: Slot) -> Anomaly:
    stop = slot.offset + slot.length
    if slot.length == 0:
        # No bytes have the CRC 0xFFFFFFFF, which is what erased metadata holds as well.
        found = f"a length of 0 with CRC-32 {slot.crc:#010x}"
        return Anomaly(kinds.ITEM_CRC, slot.offset, found, "0 and 0 where nothing is stored", kind)
    if stop > len(data):
        found = f"{slot.length} bytes, which the image's end at {len(data):#x} cuts"
        return Anomaly(kinds.ITEM_CRC, slot.offset, found, f"an end at {stop:#x}", kind)
    found = f"a CRC-32 that does not match ({slot.length} bytes)"
    return Anomaly(kinds.ITEM_CRC, slot.offset, found, f"CRC-32 {slot.crc:#010x}", kind)


def _metadata_tail(data: bytes, magic: int) -> Iterator[Anomaly]:
    """Bytes behind the magic word, which writers leave zero."""
    tail = data[magic + 4 : METADATA_LENGTH]
    if tail.strip(b"\0") and tail.strip(b"\xff"):
        yield Anomaly(
            kinds.TRAILING_DATA, magic + 4, f"metadata that goes on: {tail.hex(' ')}", "zeros"
        )


def _stray(data: bytes, slots: Sequence[tuple[str, Slot]]) -> Iterator[Anomaly]:
    """Bytes outside every item that are not erased.

    Writers fill with 0xFF. Where there is no CA certificate they put one byte 0x00 in its place.
    """
    ends = sorted((slot.offset, slot.offset + slot.length) for _, slot in slots)
    position = METADATA_LENGTH
    for start, stop in [*ends, (len(data), len(data))]:
        stray = _first_stray(data, position, start) if start > position else None
        if stray is not None:
            yield Anomaly(
                kinds.TRAILING_DATA,
                stray,
                f"byte {data[stray]:#04x} that belongs to no item",
                "erased flash (0xff)",
            )
        position = max(position, stop)


def _first_stray(data: bytes, start: int, stop: int) -> int | None:
    gap = data[start:stop]
    if start <= CA_CERT_AREA < stop and data[CA_CERT_AREA : CA_CERT_AREA + 1] == b"\x00":
        at = CA_CERT_AREA - start
        gap = gap[:at] + b"\xff" + gap[at + 1 :]
    stray = first_written(gap)
    return None if stray is None else start + stray


_FIELDS_WITHOUT_DS: Final = (
    (0, 4, "dev_cert_crc"), (4, 2, "dev_cert_len"), (8, 4, "ca_cert_crc"), (12, 2, "ca_cert_len"),
    (16, 4, "priv_key_crc"), (20, 2, "priv_key_len"), (24, 4, "magic"),
)  # fmt: skip
_FIELDS_WITH_DS: Final = (
    (0, 4, "dev_cert_crc"), (4, 2, "dev_cert_len"), (8, 4, "ca_cert_crc"), (12, 2, "ca_cert_len"),
    (16, 4, "ciphertext_crc"), (20, 2, "ciphertext_len"), (24, 4, "iv_crc"), (28, 2, "iv_len"),
    (30, 2, "rsa_length"), (32, 1, "efuse_key_id"), (36, 4, "magic"),
)  # fmt: skip
_SWAPPED: Final = {
    "dev_cert_crc": "ca_cert_crc", "dev_cert_len": "ca_cert_len",
    "ca_cert_crc": "dev_cert_crc", "ca_cert_len": "dev_cert_len",
}  # fmt: skip


def fields(data: bytes) -> Iterator[Field]:
    """The partition's bytes by name, for a map."""
    metadata = _metadata(data)
    if metadata is None:
        return
    order = _order(data, metadata, None)
    names = _FIELDS_WITHOUT_DS if metadata.iv is None else _FIELDS_WITH_DS
    for offset, length, name in names:
        shown = name if order.layout == NAME else _SWAPPED.get(name, name)
        yield Field(offset, length, shown, None)
    for kind, slot in _slots(metadata, order):
        if slot.length and slot.offset < len(data):
            shown = kind if slot.matches(data) else kinds.DAMAGED
            yield Field(slot.offset, slot.length, kind, shown)


# --- Writing -----------------------------------------------------------------------------------

_PRIVATE_KEY_END: Final = KEY_AREA + AREA_LENGTHS[kinds.PRIVATE_KEY]


def misfits(items: Iterable[Item], layout: str = NAME) -> Iterator[Misfit]:
    """The items that cust_flash cannot hold, and why."""
    material = list(items)
    yield from rules.one_of_each(material, AREA_LENGTHS, layout)
    yield from rules.ds_sizes(material, layout)
    has_ds = any(item.kind == kinds.DS_CIPHERTEXT for item in material)
    for item in material:
        if has_ds and item.kind == kinds.PRIVATE_KEY and not item.index:
            yield Misfit(item, f"a plaintext key beside a DS key; {layout} holds one of the two")


def write(items: Iterable[Item], size: int | None = None, layout: str = NAME) -> bytes:
    """A cust_flash partition of `size` bytes (0x6000 by default) that holds the items.

    As the official tool writes it, but for a missing CA certificate, for which that tool inserts
    a byte: here its pair is 0/0 and its area erased. The items must fit (`misfits`). Raises
    FormatError where `size` is smaller than the areas.
    """
    size = SIZE if size is None else size
    if size < _PRIVATE_KEY_END:
        expected = f"at least {-(-_PRIVATE_KEY_END // SECTOR) * SECTOR:#x} bytes of partition"
        raise FormatError(layout, expected=expected, found=f"{size:#x}")
    held = {item.kind: item for item in items}
    out = bytearray(b"\xff" * size)
    out[:METADATA_LENGTH] = _new_metadata(held, layout).ljust(METADATA_LENGTH, b"\0")
    for kind, at in _places(held):
        if kind in held:
            out[at : at + len(held[kind].data)] = held[kind].data
    return bytes(out)


def _places(held: dict[str, Item]) -> Iterator[tuple[str, int]]:
    """Where the data of each kind begin."""
    yield from ((kinds.DEVICE_CERT, DEVICE_CERT_AREA), (kinds.CA_CERT, CA_CERT_AREA))
    yield from ((kinds.PRIVATE_KEY, KEY_AREA), (kinds.DS_CIPHERTEXT, KEY_AREA))
    ciphertext = held.get(kinds.DS_CIPHERTEXT)
    if ciphertext is not None:
        yield kinds.DS_IV, KEY_AREA + STRIDES[len(ciphertext.data)]


def _new_metadata(held: dict[str, Item], layout: str) -> bytes:
    """Pairs and magic word, as the compiler aligns the firmware's struct."""
    certificates = [kinds.DEVICE_CERT, kinds.CA_CERT]
    if layout == NAME_LEGACY:
        certificates.reverse()
    pairs = b"".join(_pair(held.get(kind)) + bytes(2) for kind in certificates)
    context = held.get(kinds.DS_CONTEXT)
    if context is None:
        return pairs + _pair(held.get(kinds.PRIVATE_KEY)) + bytes(2) + MAGIC
    pairs += _pair(held.get(kinds.DS_CIPHERTEXT)) + bytes(2) + _pair(held.get(kinds.DS_IV))
    return pairs + struct.pack("<HB3x", context.rsa_bits, context.efuse_key_id) + MAGIC


def _pair(item: Item | None) -> bytes:
    """(crc, length) of an item, 0/0 where there is none."""
    if item is None:
        return bytes(6)
    return struct.pack("<IH", crc32(item.data), len(item.data))
