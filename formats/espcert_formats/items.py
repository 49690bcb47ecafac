"""What a partition can hold, whatever its layout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

DEVICE_CERT: Final = "device_cert"
CA_CERT: Final = "ca_cert"
PRIVATE_KEY: Final = "private_key"
DS_CIPHERTEXT: Final = "ds_ciphertext"
DS_IV: Final = "ds_iv"
DS_CONTEXT: Final = "ds_context"
ECDSA_SALT: Final = "ecdsa_salt"
SECURITY_CONFIG: Final = "security_config"
TEE_KEY: Final = "tee_key"
SIGNATURE_BLOCK: Final = "signature_block"
INTEGRITY: Final = "integrity"

CERTIFICATES: Final = frozenset({DEVICE_CERT, CA_CERT})
DS_MATERIAL: Final = frozenset({DS_CIPHERTEXT, DS_IV, DS_CONTEXT})
DAMAGED: Final = "damaged"
"""Kind of a map's field whose checksum does not match."""

SEALS: Final = frozenset({INTEGRITY, SIGNATURE_BLOCK})
"""Kinds that belong to the bytes of one image and are no material of the module."""

PUBLIC_KINDS: Final = CERTIFICATES | DS_MATERIAL | SEALS | frozenset({SECURITY_CONFIG})
"""Kinds whose bytes may be shown; those of every other kind are treated as secret."""

PLAINTEXT: Final = "plaintext"
ECDSA_PERIPHERAL: Final = "ecdsa_peripheral"
HMAC_ENCRYPTED: Final = "hmac_encrypted"
HMAC_DERIVED: Final = "hmac_derived"

HMAC_ENCRYPTED_FLAG: Final = 0x80
HMAC_DERIVED_FLAG: Final = 0x40
ECDSA_PERIPHERAL_FLAG: Final = 0x08
"""TLV flags: bits 7..6 are 10 or 01, bits 5..3 are 001. Source: esp_secure_cert_tlv_private.h."""

DS_IV_LENGTH: Final = 16
DS_MAX_BITS: Final = {3 * bits // 8 + 48: bits for bits in (3072, 4096)}
"""Bytes of a DS ciphertext (1200, 1584) → bits of the largest RSA key of the chips that read it.

Source: ESP-IDF 102122904ad, esp_ds.h, ESP_DS_C_LEN.
"""


class Span(NamedTuple):
    """A stretch of the partition: bytes from its start, and bytes long."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of material, with its bytes exactly as stored.

    `index` is the TLV subtype, 0 in the other layouts. `spans` say where the bytes lie, in order.
    `intact` tells whether the checksums that cover the item match; None where none does.
    For `ds_context`, `data` is the 8-byte TLV form whatever the layout, so that contexts compare.
    `flags` and `entry_offset` are those of the TLV entry. `rsa_length` is the word in front of
    the IV in a TLV DS_DATA entry (bits / 32 less one); None where the layout does not store it.
    `rsa_bits` and `efuse_key_id` (n of BLOCK_KEYn) are what a `ds_context` says, `efuse_block`
    (key id + 4) what a `security_config` says; None where the payload is malformed.
    """

    kind: str
    index: int
    data: bytes = field(repr=False)
    spans: tuple[Span, ...]
    intact: bool | None
    protection: str | None = None
    flags: int | None = None
    entry_offset: int | None = None
    rsa_length: int | None = None
    rsa_bits: int | None = None
    efuse_key_id: int | None = None
    efuse_block: int | None = None

    @property
    def offset(self) -> int:
        """Where the item's own bytes begin, from the start of the partition."""
        return self.spans[0].offset if self.spans else 0


DS_CONTEXT_LENGTH: Final = 8


def ds_context_data(rsa_bits: int, efuse_key_id: int) -> bytes:
    """The 8-byte payload of a TLV DS_CONTEXT entry.

    Layout: u32 pointer slot, u8 key id, u8 reserved, u16 bits.
    Source: ESP-IDF v5.5, esp_rsa_sign_alt.h, esp_ds_data_ctx_t.
    """
    return bytes(4) + bytes((efuse_key_id, 0)) + rsa_bits.to_bytes(2, "little")


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something in the bytes that is not as its writer should have left it.

    `code` is a stable name, `offset` counts from the start of the partition. `kind` and `index`
    name the item concerned, if one is. What to make of it is the caller's business.
    """

    code: str
    offset: int
    found: str
    expected: str
    kind: str | None = None
    index: int = 0


ITEM_CRC: Final = "item-crc"
TRAILING_DATA: Final = "trailing-data"
DUPLICATE_ENTRY: Final = "duplicate-entry"
END_MARKER: Final = "end-marker"
RESERVED_BYTES: Final = "reserved-bytes"
UNKNOWN_FLAGS: Final = "unknown-flags"
CONTRADICTING_FLAGS: Final = "contradicting-flags"
UNKNOWN_ENTRY: Final = "unknown-entry"
ENTRY_DERAILS_WALK: Final = "entry-derails-walk"
OFFSET_WRAPS: Final = "offset-wraps"
NO_END_GAP: Final = "no-end-gap"
AREA_OVERRUN: Final = "area-overrun"
NVS_DAMAGE: Final = "nvs-damage"
NVS_REPAIR: Final = "nvs-repair"
NVS_OLD_KEY: Final = "nvs-old-key"
NVS_OLD_VALUE: Final = "nvs-old-value"
FILES_NOT_TAKEN: Final = "files-not-taken"


class OtherEntry(NamedTuple):
    """An NVS entry that is no credential. `length` is in bytes as stored, a NUL included."""

    namespace: str
    key: str
    type: str
    length: int


class Misfit(NamedTuple):
    """An item that a layout cannot hold; `text` names what was found, and the limit."""

    item: Item
    text: str


class Traits(NamedTuple):
    """What is true of every partition of a layout.

    `title` says it in words. `labels` are the partition labels under which firmware reads it
    (the first one is usual), `partition_type` the type that it looks for. `extent` is the bytes
    of flash over which the layout spreads its material, 0 where that is the image's length.
    `placed` tells whether its items lie at offsets; they do not in files of text.
    """

    title: str
    labels: tuple[str, ...]
    partition_type: int
    extent: int = 0
    placed: bool = True


LABEL: Final = "esp_secure_cert"
LABEL_PRE_PROV: Final = "pre_prov"
TYPE_SECURE_CERT: Final = 0x3F
TYPE_DATA: Final = 0x01


class Field(NamedTuple):
    """A named stretch of the partition, for a map; `kind` is the item's that it belongs to."""

    offset: int
    length: int
    name: str
    kind: str | None


class Evidence(NamedTuple):
    """Why a layout was recognised: its name, the label the bytes suggest, and the reasons."""

    layout: str
    label: str | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a partition holds. `items` are sorted by offset, then kind.

    `label` is the one that the bytes suggest, None where they leave it open.

    `size` is the image's length in bytes, `end` the offset behind the last TLV entry (the size,
    in other layouts). `current` says that every TLV entry has the form that today's writers use,
    `mountable` that the firmware's NVS accepts the partition (true in the other layouts). `data`
    are the image's bytes. `unreached` are whole items of entries behind `end`, where the
    firmware's walk has ended.
    """

    layout: str
    traits: Traits
    label: str | None
    revision: str | None
    size: int
    end: int
    current: bool
    items: tuple[Item, ...]
    anomalies: tuple[Anomaly, ...]
    evidence: tuple[str, ...]
    other_entries: tuple[OtherEntry, ...] = ()
    mountable: bool = True
    data: bytes = field(default=b"", repr=False)
    unreached: tuple[Item, ...] = ()

    @property
    def used(self) -> bytes:
        """The bytes from offset 0 to `end`: in TLV, the entries as they lie there."""
        return self.data[: self.end]

    def of_kind(self, kind: str) -> tuple[Item, ...]:
        """The items of one kind, in their order."""
        return tuple(item for item in self.items if item.kind == kind)
