"""The TLV layout: a chain of entries with the magic 0xBA5EBA11 and a CRC each.

Written since esp_secure_cert_mgr 2.0.0. The bytes are described in `ksy/esp_secure_cert_tlv.ksy`.
The compiled spec is imported where it is used: to tell that an image is not TLV must cost nothing.
Sources: esp_secure_cert_mgr 2296511 (v2.9.3), esp_secure_cert_tlv_private.h and
esp_secure_cert_tlv_read.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final, NamedTuple

from kaitaistruct import KaitaiStream

from espcert_formats import items as kinds
from espcert_formats.checksum import crc32, sha256
from espcert_formats.errors import FormatError
from espcert_formats.flash import SECTOR, first_written
from espcert_formats.items import (
    LABEL,
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

NAME: Final = "tlv"
TRAITS: Final = Traits("TLV entries", (LABEL,), TYPE_SECURE_CERT)
MAGIC: Final = b"\x11\xba\x5e\xba"
HEADER_LENGTH: Final = 12
FOOTER_LENGTH: Final = 4
ALIGNMENT: Final = 16
END_MARKER_BYTES: Final = b"\xff\xff\x00\x00"
"""What esp-secure-cert-tool 2.2.0 to 2.3.7 write behind the last entry."""

MAX_ENTRY_DATA: Final = 65504
"""The firmware's 16-bit step over an entry wraps to 0 for 65505 bytes of data and more."""
LAST_LOOPING: Final = 65520
MAX_USED: Final = 0x10000 - 16
"""The firmware's 16-bit offset wraps at 64 KiB; 16 bytes stay erased so that its walk ends."""
END_GAP: Final = 16
"""Bytes that must stay free at the end: the walk reads the header behind the last entry."""

MIN_SIZE: Final = 0x2000
"""Bytes of the partition in the official tool's documentation."""

WALK_LIMIT: Final = 0x100000
"""No entry is looked for behind the first MiB, sixteen times what the firmware can address."""

MAX_UNREACHED: Final = 256
"""Places behind the end at which an entry is looked for: hostile bytes may repeat the magic."""

TYPE_CA_CERT: Final = 0
TYPE_DEVICE_CERT: Final = 1
TYPE_PRIVATE_KEY: Final = 2
TYPE_DS_DATA: Final = 3
TYPE_DS_CONTEXT: Final = 4
TYPE_SALT: Final = 5
TYPE_SECURITY_CONFIG: Final = 6
TYPE_SIGNATURE: Final = 8
TYPE_INTEGRITY: Final = 9
SEAL_TYPES: Final = frozenset({TYPE_SIGNATURE, TYPE_INTEGRITY})

DS_DATA: Final = "ds_data"
"""Name of the entry that holds the items `ds_iv` and `ds_ciphertext`."""

KIND_OF_TYPE: Final[dict[int, str]] = {
    TYPE_CA_CERT: kinds.CA_CERT,
    TYPE_DEVICE_CERT: kinds.DEVICE_CERT,
    TYPE_PRIVATE_KEY: kinds.PRIVATE_KEY,
    TYPE_DS_DATA: DS_DATA,
    TYPE_DS_CONTEXT: kinds.DS_CONTEXT,
    TYPE_SALT: kinds.ECDSA_SALT,
    TYPE_SECURITY_CONFIG: kinds.SECURITY_CONFIG,
    7: kinds.TEE_KEY,
    TYPE_SIGNATURE: kinds.SIGNATURE_BLOCK,
    TYPE_INTEGRITY: kinds.INTEGRITY,
    51: "user_data_1",
    52: "user_data_2",
    53: "user_data_3",
    54: "user_data_4",
    55: "user_data_5",
    201: "matter_1",
    202: "matter_2",
}
TYPE_OF_KIND: Final = {kind: number for number, kind in KIND_OF_TYPE.items()}

CANONICAL_ORDER: Final = (3, 4, 6, 0, 1, 2, 5)
"""Order of types that esp-secure-cert-tool 2.6.1 writes; all others follow in source order."""
_RANK: Final = {number: rank for rank, number in enumerate(CANONICAL_ORDER)}

_ERASED_FLAGS: Final = 0xFF
"""Flags of the 2.0 generation, which left bytes 4..7 erased: read as 0x00 by every version."""


def kind_of(entry_type: int) -> str:
    """Name of an entry type; `unknown_N` for a type N without one."""
    return KIND_OF_TYPE.get(entry_type) or f"unknown_{entry_type}"


def type_of(kind: str) -> int:
    """Entry type of a kind; the inverse of `kind_of`. Raises KeyError for other names."""
    if kind.startswith("unknown_"):
        return int(kind.removeprefix("unknown_"))
    return TYPE_OF_KIND[kind]


def protection_of(flags: int) -> str:
    """How a private key with these flags is protected, as esp_secure_cert_get_priv_key_type asks.

    Bits 7..6 are 01 for a key derived by HMAC and 10 for one encrypted by it, bits 5..3 are 001
    for a key in the ECDSA peripheral; the order of the tests is the firmware's.
    """
    if flags & 0xC0 == kinds.HMAC_DERIVED_FLAG:
        return kinds.HMAC_DERIVED
    if flags & 0x38 == kinds.ECDSA_PERIPHERAL_FLAG:
        return kinds.ECDSA_PERIPHERAL
    if flags & 0xC0 == kinds.HMAC_ENCRYPTED_FLAG:
        return kinds.HMAC_ENCRYPTED
    return kinds.PLAINTEXT


class Entry(NamedTuple):
    """A TLV entry as it lies in the partition; offsets from its start, `end` behind the CRC."""

    offset: int
    end: int
    flags: int
    reserved: bytes
    type: int
    subtype: int
    length: int
    complete: bool
    intact: bool

    @property
    def data_offset(self) -> int:
        """Where the entry's data begin."""
        return self.offset + HEADER_LENGTH


def walk(data: bytes, start: int = 0) -> Iterator[Entry]:
    """The entries, as the firmware walks them: by length, past bad CRCs, to the first wrong magic.

    An entry that the image's end cuts is the last one, with `complete` False. The firmware's walk
    starts at offset 0, another `start` is where an entry was found behind its end.
    """
    from espcert_formats._ksy.esp_secure_cert_tlv import EspSecureCertTlv

    stream = KaitaiStream(BytesIO(data))
    view = memoryview(data)
    offset, size = start, len(data)
    while offset + HEADER_LENGTH <= size and offset - start < WALK_LIMIT:
        if data[offset : offset + 4] != MAGIC:
            return
        stream.seek(offset)
        header = EspSecureCertTlv.EntryHeader(stream)
        padded = -(-header.len_data // ALIGNMENT) * ALIGNMENT
        end = offset + HEADER_LENGTH + padded + FOOTER_LENGTH
        intact = False
        if end <= size:
            stream.seek(end - FOOTER_LENGTH)
            footer = EspSecureCertTlv.EntryFooter(stream)
            intact = crc32(view[offset : end - FOOTER_LENGTH]) == footer.crc
        yield Entry(
            offset,
            end,
            header.flags,
            header.reserved,
            header.type,
            header.subtype,
            header.len_data,
            end <= size,
            intact,
        )
        offset = end


def starts(data: bytes) -> bool:
    """Whether the magic word is at offset 0."""
    return data[:4] == MAGIC


def extent(data: bytes, start: int) -> int:
    """Bytes of the partition at `start`: whole sectors up to the gap behind its entries."""
    end = start
    for entry in walk(data[: start + WALK_LIMIT], start):
        end = min(entry.end, len(data))
    return min(-(-(end - start + END_GAP) // SECTOR) * SECTOR, len(data) - start)


def recognise(data: bytes, label: str | None = None) -> Evidence | None:  # noqa: ARG001
    """Recognise the layout by the firmware's own test: the magic word at offset 0."""
    if not starts(data):
        return None
    return Evidence(NAME, None, ("TLV magic 0xba5eba11 at offset 0",))


def read(data: bytes, label: str | None = None) -> Contents:
    """Read a TLV partition. Raises FormatError where the magic is not at offset 0."""
    evidence = recognise(data, label)
    if evidence is None:
        raise FormatError(
            NAME, offset=0, expected="magic 11 ba 5e ba", found=data[:4].hex(" ") or "no bytes"
        )
    entries = list(walk(data))
    items: list[Item] = []
    anomalies: list[Anomaly] = []
    for entry in entries:
        items.extend(_items_of(data, entry))
        if not entry.intact:
            anomalies.append(_damage_of(data, entry))
            anomalies += _swallowed(data, entry)
        anomalies += _oddities(data, entry)
        if entry.intact:
            anomalies += _odd_meaning(entry)
    end = _end_of(entries)
    anomalies += _duplicates(entries)
    anomalies += _beyond_firmware(entries, len(data))
    anomalies += _trailing(data, end)
    return Contents(
        layout=NAME,
        traits=TRAITS,
        label=None,
        revision=_revision(entries),
        size=len(data),
        end=end,
        current=_is_current(entries),
        items=tuple(items),
        anomalies=tuple(anomalies),
        evidence=(*evidence.reasons, *_entry_evidence(entries)),
        data=data,
        unreached=tuple(_unreached(data, end)),
    )


def _unreached(data: bytes, end: int) -> Iterator[Item]:
    """Items of whole entries behind the end of the chain: a wrong word there hides them."""
    at = data.find(MAGIC, end, WALK_LIMIT)
    for _ in range(MAX_UNREACHED):
        if at < 0:
            return
        behind = at + len(MAGIC)
        for entry in walk(data, at):
            if not entry.intact:
                break
            yield from _items_of(data, entry)
            behind = entry.end
        at = data.find(MAGIC, behind, WALK_LIMIT)


def _end_of(entries: Sequence[Entry]) -> int:
    if not entries:
        return 0
    last = entries[-1]
    return last.end if last.complete else last.offset


def _items_of(data: bytes, entry: Entry) -> Iterator[Item]:
    start, stop = entry.data_offset, entry.data_offset + entry.length
    if stop > len(data):
        return
    payload = data[start:stop]
    if entry.type == TYPE_DS_DATA and entry.length >= 4 + kinds.DS_IV_LENGTH:
        yield from _ds_items(payload, entry)
        return
    kind = kinds.DS_CIPHERTEXT if entry.type == TYPE_DS_DATA else kind_of(entry.type)
    rsa_bits, efuse_key_id, efuse_block = _small_values(payload, entry.type)
    yield Item(
        kind=kind,
        index=entry.subtype,
        data=payload,
        spans=(Span(start, entry.length),),
        intact=entry.intact,
        protection=protection_of(entry.flags) if entry.type == TYPE_PRIVATE_KEY else None,
        flags=entry.flags,
        entry_offset=entry.offset,
        rsa_bits=rsa_bits,
        efuse_key_id=efuse_key_id,
        efuse_block=efuse_block,
    )


def _small_values(payload: bytes, kind: int | None) -> tuple[int | None, int | None, int | None]:
    """RSA bits and key id of a DS context, eFuse block of a security config."""
    from espcert_formats._ksy.esp_secure_cert_tlv import EspSecureCertTlv

    if kind == TYPE_DS_CONTEXT and len(payload) == kinds.DS_CONTEXT_LENGTH:
        context = EspSecureCertTlv.DsContext(KaitaiStream(BytesIO(payload)))
        return context.rsa_length_bits, context.efuse_key_id, None
    if kind == TYPE_SECURITY_CONFIG and len(payload) == SECURITY_CONFIG_LENGTH:
        config = EspSecureCertTlv.SecurityConfig(KaitaiStream(BytesIO(payload)))
        return None, None, config.priv_key_efuse_id
    return None, None, None


SECURITY_CONFIG_LENGTH: Final = 40


def _ds_items(payload: bytes, entry: Entry) -> Iterator[Item]:
    from espcert_formats._ksy.esp_secure_cert_tlv import EspSecureCertTlv

    block = EspSecureCertTlv.DsData(KaitaiStream(BytesIO(payload)))
    start = entry.data_offset
    parts = ((kinds.DS_IV, block.iv, 4), (kinds.DS_CIPHERTEXT, block.ciphertext, 20))
    for kind, value, at in parts:
        yield Item(
            kind=kind,
            index=entry.subtype,
            data=value,
            spans=(Span(start + at, len(value)),),
            intact=entry.intact,
            flags=entry.flags,
            entry_offset=entry.offset,
            rsa_length=block.rsa_length if kind == kinds.DS_CIPHERTEXT else None,
        )


def _damage_of(data: bytes, entry: Entry) -> Anomaly:
    if entry.complete:
        found = "a CRC-32 that does not match"
        expected = "that of header, data and padding"
    else:
        found = f"{entry.length} bytes, which the image's end at {len(data):#x} cuts"
        expected = f"an end at {entry.end:#x}"
    kind = _item_kind(entry)
    return Anomaly(kinds.ITEM_CRC, entry.offset, found, expected, kind, entry.subtype)


def _item_kind(entry: Entry) -> str:
    """The kind of item by which an entry is named; for DS_DATA the ciphertext's."""
    return kinds.DS_CIPHERTEXT if entry.type == TYPE_DS_DATA else kind_of(entry.type)


def _swallowed(data: bytes, entry: Entry) -> Iterator[Anomaly]:
    """Another entry inside a damaged one: with a wrong length it would be lost unnamed."""
    at = data.find(MAGIC, entry.data_offset, entry.end)
    if not entry.intact and at >= 0:
        found = "the magic of another entry inside a damaged one"
        yield Anomaly(kinds.TRAILING_DATA, at, found, "the end of the damaged entry before it")


def _oddities(data: bytes, entry: Entry) -> Iterator[Anomaly]:
    """Bytes that hold nothing and are not as today's writers leave them."""
    named = _item_kind(entry), entry.subtype
    erased = entry.reserved == b"\xff\xff\xff" and entry.flags == _ERASED_FLAGS
    if entry.reserved != b"\x00\x00\x00" and not erased:
        found = f"reserved bytes {entry.reserved.hex(' ')}"
        yield Anomaly(kinds.RESERVED_BYTES, entry.offset + 5, found, "00 00 00", *named)
    start = entry.data_offset + entry.length
    padding = data[start : entry.end - FOOTER_LENGTH]
    if entry.intact and padding.strip(b"\0"):
        shown = padding.hex(" ") if named[0] in kinds.PUBLIC_KINDS else f"of {len(padding)} bytes"
        yield Anomaly(kinds.RESERVED_BYTES, start, f"padding {shown}", "zeros", *named)


def _odd_meaning(entry: Entry) -> Iterator[Anomaly]:
    """Flags and types that no release knows, or that say two things at once."""
    kind = _item_kind(entry)
    if kind.startswith("unknown_"):
        found = f"an entry of type {entry.type}, which no release knows"
        yield Anomaly(kinds.UNKNOWN_ENTRY, entry.offset, found, "a known type", kind, entry.subtype)
    flags = entry.flags
    if flags == _ERASED_FLAGS:
        return
    by_hmac, in_efuse = flags & 0xC0, flags & 0x38
    at = entry.offset + 4
    if in_efuse == kinds.ECDSA_PERIPHERAL_FLAG and by_hmac in (0x40, 0x80):
        found = f"flags {flags:#04x}, which name two protections"
        expected = "one of 0x08, 0x40 and 0x80"
        yield Anomaly(kinds.CONTRADICTING_FLAGS, at, found, expected, kind, entry.subtype)
    if by_hmac == 0xC0 or in_efuse not in (0, kinds.ECDSA_PERIPHERAL_FLAG) or flags & 0x07:
        found = f"flags {flags:#04x}"
        expected = "0x00, 0x08, 0x40 or 0x80"
        yield Anomaly(kinds.UNKNOWN_FLAGS, at, found, expected, kind, entry.subtype)


def _beyond_firmware(entries: Sequence[Entry], size: int) -> Iterator[Anomaly]:
    """Where the firmware's 16-bit walk loops, lands elsewhere, or reads behind the partition.

    Seen with the unmodified reader of 2.2.0 to 2.9.3: 65505 to 65520 bytes loop for ever, look-ups
    do not find what lies behind 64 KiB, and a partition filled to its end is read past it.
    """
    for entry in entries:
        named = _item_kind(entry), entry.subtype
        if entry.length > MAX_ENTRY_DATA:
            does = "loops for ever on" if entry.length <= LAST_LOOPING else "lands inside"
            found = f"{entry.length} bytes of data, which the firmware's walk {does}"
            expected = f"at most {MAX_ENTRY_DATA}"
            yield Anomaly(kinds.ENTRY_DERAILS_WALK, entry.offset, found, expected, *named)
    lost = [entry for entry in entries if entry.offset >= 0x10000]
    if lost:
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        found = f"an entry{more} behind 64 KiB, where the firmware's 16-bit offset has wrapped"
        named = _item_kind(lost[0]), lost[0].subtype
        yield Anomaly(kinds.OFFSET_WRAPS, lost[0].offset, found, "an offset below 0x10000", *named)
    end = _end_of(entries)
    if end > size - END_GAP and size % SECTOR == 0:
        found = f"entries up to {end:#x} of {size:#x}, behind which the firmware's walk reads on"
        yield Anomaly(kinds.NO_END_GAP, end, found, f"{END_GAP} erased bytes at the end")


def _duplicates(entries: Sequence[Entry]) -> Iterator[Anomaly]:
    seen: dict[tuple[int, int], int] = {}
    for entry in entries:
        first = seen.setdefault((entry.type, entry.subtype), entry.offset)
        if first != entry.offset and entry.type != TYPE_INTEGRITY:
            yield Anomaly(
                kinds.DUPLICATE_ENTRY,
                entry.offset,
                f"a second entry of type {entry.type}, subtype {entry.subtype}",
                f"only the one at {first:#x}",
                _item_kind(entry),
                entry.subtype,
            )


def _trailing(data: bytes, end: int) -> Iterator[Anomaly]:
    if data[end : end + 4] == END_MARKER_BYTES:
        yield Anomaly(
            kinds.END_MARKER,
            end,
            "the end marker ff ff 00 00 of esp-secure-cert-tool 2.2.0 to 2.3.7",
            "erased flash (0xff)",
        )
        end += len(END_MARKER_BYTES)
    stray = first_written(data, end)
    if stray is not None:
        yield Anomaly(
            kinds.TRAILING_DATA,
            stray,
            f"byte {data[stray]:#04x} behind the last entry (it ends at {end:#x})",
            "erased flash (0xff)",
        )


def _is_current(entries: Sequence[Entry]) -> bool:
    unique = {(entry.type, entry.subtype) for entry in entries}
    return (
        bool(entries)
        and len(unique) == len(entries)
        and all(
            entry.intact and entry.reserved == b"\x00\x00\x00" and entry.flags != _ERASED_FLAGS
            for entry in entries
        )
    )


def _revision(entries: Sequence[Entry]) -> str | None:
    """The lowest esp_secure_cert_mgr release that knows all that the entries show."""
    shown = [entry for entry in entries if entry.intact] or list(entries)
    if not shown:
        return None
    types = {entry.type for entry in shown}
    flags = {entry.flags for entry in shown if entry.flags != _ERASED_FLAGS}
    peripherals = {flag & 0x38 for flag in flags}
    marks = (
        ("2.9.2+", TYPE_INTEGRITY in types),
        ("2.8+", TYPE_SIGNATURE in types),
        ("2.4+", any(entry.subtype for entry in shown)),
        ("2.3+", TYPE_SECURITY_CONFIG in types or kinds.ECDSA_PERIPHERAL_FLAG in peripherals),
        ("2.2.1+", TYPE_SALT in types),
        ("2.1+", any(f & 0xC0 == kinds.HMAC_DERIVED_FLAG for f in flags)),
        ("2.0.6+", bool(flags)),
    )
    return next((revision for revision, shows in marks if shows), "2.0")


def _entry_evidence(entries: Sequence[Entry]) -> Iterator[str]:
    good = sum(entry.intact for entry in entries)
    yield f"{good} of {len(entries)} entries have a matching CRC-32"
    if any(entry.reserved == b"\xff\xff\xff" and entry.flags == _ERASED_FLAGS for entry in entries):
        yield "bytes 4..7 of the entries are 0xff: the form of component 2.0 and tool 0.9.0/0.9.1"


def fields(data: bytes) -> Iterator[Field]:
    """The partition's bytes by name, for a map."""
    for entry in walk(data):
        at = entry.offset
        kind = kind_of(entry.type)
        yield Field(at, HEADER_LENGTH, f"header {kind}[{entry.subtype}]", None)
        if not entry.intact:
            # A wrong length may reach into other items: none of it is what it says it is.
            behind = entry.data_offset + entry.length
            yield Field(entry.data_offset, entry.length, kind, kinds.DAMAGED)
            yield Field(behind, entry.end - behind, "padding, crc", kinds.DAMAGED)
            continue
        yield from _data_fields(entry, kind)
        padding = entry.end - FOOTER_LENGTH - entry.data_offset - entry.length
        if padding:
            yield Field(entry.data_offset + entry.length, padding, "padding", None)
        yield Field(entry.end - FOOTER_LENGTH, FOOTER_LENGTH, "crc", None)


def _data_fields(entry: Entry, kind: str) -> Iterator[Field]:
    start = entry.data_offset
    if entry.type == TYPE_DS_DATA and entry.length >= 4 + kinds.DS_IV_LENGTH:
        yield Field(start, 4, "rsa_length", kinds.DS_CONTEXT)
        yield Field(start + 4, kinds.DS_IV_LENGTH, kinds.DS_IV, kinds.DS_IV)
        yield Field(start + 20, entry.length - 20, kinds.DS_CIPHERTEXT, kinds.DS_CIPHERTEXT)
    elif entry.length:
        shown = kinds.DS_CIPHERTEXT if kind == DS_DATA else kind
        yield Field(start, entry.length, f"{shown}[{entry.subtype}]", shown)


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry to write."""

    type: int
    subtype: int
    flags: int
    data: bytes = field(repr=False)


def loose_item(
    kind: str, index: int, data: bytes, flags: int | None = None, rsa_length: int | None = None
) -> Item:
    """An item that lies in no partition, with what its flags and its payload say.

    `flags` is None for one of a layout without them; what it means is as with flags of 0.
    """
    rsa_bits, efuse_key_id, efuse_block = _small_values(data, TYPE_OF_KIND.get(kind))
    return Item(
        kind=kind,
        index=index,
        data=data,
        spans=(),
        intact=None,
        protection=protection_of(flags or 0) if kind == kinds.PRIVATE_KEY else None,
        flags=flags,
        rsa_length=rsa_length,
        rsa_bits=rsa_bits,
        efuse_key_id=efuse_key_id,
        efuse_block=efuse_block,
    )


def loose_items(entry: NewEntry) -> tuple[Item, ...]:
    """The items of an entry that lies in no partition yet: what `read` would find in it."""
    if entry.type != TYPE_DS_DATA:
        return (loose_item(kind_of(entry.type), entry.subtype, entry.data, entry.flags),)
    length = 4 + kinds.DS_IV_LENGTH
    if len(entry.data) < length:
        return (loose_item(kinds.DS_CIPHERTEXT, entry.subtype, entry.data, entry.flags),)
    rsa_length = int.from_bytes(entry.data[:4], "little")
    iv, ciphertext = entry.data[4:length], entry.data[length:]
    return (
        loose_item(kinds.DS_IV, entry.subtype, iv, entry.flags),
        loose_item(kinds.DS_CIPHERTEXT, entry.subtype, ciphertext, entry.flags, rsa_length),
    )


def encode(entry: NewEntry) -> bytes:
    """The bytes of one entry. Raises FormatError where its data are too long for the firmware."""
    length = len(entry.data)
    if length > MAX_ENTRY_DATA:
        raise FormatError(
            NAME,
            expected=f"at most {MAX_ENTRY_DATA} bytes in an entry",
            found=f"{length} bytes of {kind_of(entry.type)}[{entry.subtype}]",
            hint="the firmware's walk would loop on a longer one",
        )
    header = struct.pack("<4sB3xBBH", MAGIC, entry.flags, entry.type, entry.subtype, length)
    body = header + entry.data + bytes(-length % ALIGNMENT)
    return body + struct.pack("<I", crc32(body))


def entries_for(items: Iterable[Item]) -> list[NewEntry]:
    """Entries that hold the items, in canonical order; integrity entries are left out.

    `ds_iv` and `ds_ciphertext` of one index become one DS_DATA entry. Raises FormatError where
    one of them, or the key size that the entry repeats, is missing.
    """
    material = [item for item in items if item.kind != kinds.INTEGRITY]
    entries = [_new_entry(item, material) for item in material if item.kind != kinds.DS_IV]
    _require_ciphertexts(material)
    return sorted(entries, key=lambda entry: _RANK.get(entry.type, len(_RANK)))


def _require_ciphertexts(material: Sequence[Item]) -> None:
    """An IV has no entry of its own: without its ciphertext it would be lost."""
    with_ciphertext = {item.index for item in material if item.kind == kinds.DS_CIPHERTEXT}
    for item in material:
        if item.kind == kinds.DS_IV and item.index not in with_ciphertext:
            raise _incomplete_ds(f"ds_iv[{item.index}] alone")


def _incomplete_ds(found: str) -> FormatError:
    expected = "ciphertext, IV and context of a DS key together"
    return FormatError(NAME, expected=expected, found=found)


def _new_entry(item: Item, material: Sequence[Item]) -> NewEntry:
    flags = 0 if item.flags in (None, _ERASED_FLAGS) else item.flags
    assert flags is not None
    if item.kind != kinds.DS_CIPHERTEXT:
        return NewEntry(type_of(item.kind), item.index, flags, item.data)
    return NewEntry(TYPE_DS_DATA, item.index, flags, _ds_data(item, material))


def _ds_data(ciphertext: Item, material: Sequence[Item]) -> bytes:
    beside = {item.kind: item for item in material if item.index == ciphertext.index}
    iv, context = beside.get(kinds.DS_IV), beside.get(kinds.DS_CONTEXT)
    rsa_length = ciphertext.rsa_length
    if rsa_length is None and context is not None and context.rsa_bits:
        rsa_length = context.rsa_bits // 32 - 1
    if iv is None or rsa_length is None:
        raise _incomplete_ds(f"ds_ciphertext[{ciphertext.index}] alone")
    return struct.pack("<I", rsa_length) + iv.data + ciphertext.data


def chain(entries: Iterable[NewEntry], *, integrity: bool = True) -> bytes:
    """Entries one behind the other, and the integrity entry: SHA-256 of all bytes before it."""
    body = b"".join(encode(entry) for entry in entries)
    return with_integrity(body) if integrity else body


def with_integrity(body: bytes) -> bytes:
    """Entries and an integrity entry behind them: the SHA-256 of all their bytes."""
    digest = bytes.fromhex(sha256(body))
    return body + encode(NewEntry(TYPE_INTEGRITY, 0, 0, digest))


def unsealed(data: bytes) -> bytes:
    """The whole entries that are no seals, byte for byte, one behind the other."""
    return b"".join(
        data[entry.offset : entry.end]
        for entry in walk(data)
        if entry.complete and entry.type not in SEAL_TYPES
    )


def with_signatures(body: bytes, blocks: Iterable[bytes]) -> bytes:
    """Entries and signature blocks behind them, subtypes 0, 1, 2 in this order."""
    entries = (NewEntry(TYPE_SIGNATURE, index, 0, block) for index, block in enumerate(blocks))
    return body + b"".join(map(encode, entries))


def fill(used: bytes, size: int) -> bytes:
    """Fill with 0xFF to `size` bytes. Raises FormatError where the firmware would overrun."""
    limit = min(size - END_GAP, MAX_USED)
    if len(used) > limit:
        raise FormatError(
            NAME,
            expected=f"at most {limit} ({limit:#x}) bytes used: {size:#x} of the partition or "
            f"0x10000 of the firmware's 16-bit offset, less {END_GAP} that must stay erased",
            found=f"{len(used)} ({len(used):#x}) bytes, {len(used) - limit} too many",
            hint="give the partition a larger size" if limit < MAX_USED else "",
        )
    return used.ljust(size, b"\xff")


def misfits(items: Iterable[Item], layout: str = NAME) -> Iterator[Misfit]:  # noqa: ARG001
    """The items that are too long for an entry; TLV holds everything else."""
    for item in items:
        if len(item.data) > MAX_ENTRY_DATA:
            yield Misfit(item, f"{len(item.data)} bytes; an entry holds at most {MAX_ENTRY_DATA}")


def write(
    items: Iterable[Item],
    size: int | None = None,
    layout: str = NAME,  # noqa: ARG001
    *,
    integrity: bool = True,
) -> bytes:
    """A current TLV partition of `size` bytes that holds the items.

    Without a size it has as many sectors as hold them, and two at least. Raises FormatError where
    an entry or the whole does not fit, or DS material is incomplete.
    """
    used = chain(entries_for(items), integrity=integrity)
    needed = -(-(len(used) + END_GAP) // SECTOR) * SECTOR
    return fill(used, max(MIN_SIZE, needed) if size is None else size)
