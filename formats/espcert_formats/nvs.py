"""The NVS layouts: credentials as keys of one namespace of an NVS partition.

`nvs` is namespace `esp_secure_cert`, `nvs_legacy` namespace `pre_prov` (both of
esp_secure_cert_mgr 1.x), `nvs_esp_ds` namespace `esp_ds_ns` (the ssl_ds example of ESP-IDF v4.3
and v4.4). Sources: esp_secure_cert_mgr 2296511, esp_secure_cert_config.h and nvs_get in
esp_secure_cert_read.c; ESP-IDF v4.4, examples/protocols/mqtt/ssl_ds/main/app_main.c.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from espcert_formats import items as kinds
from espcert_formats import misfits as rules
from espcert_formats import nvs_audit, nvs_log
from espcert_formats.errors import FormatError
from espcert_formats.flash import is_erased
from espcert_formats.items import (
    LABEL,
    LABEL_PRE_PROV,
    TYPE_DATA,
    Anomaly,
    Contents,
    Evidence,
    Field,
    Item,
    Misfit,
    OtherEntry,
    Span,
    Traits,
)
from espcert_formats.nvs_audit import Leftover
from espcert_formats.nvs_log import Damage, Entry, Log, Page

if TYPE_CHECKING:
    from espcert_formats.nvs_writer import Entry as NewEntry

NAME: Final = "nvs"
NAME_LEGACY: Final = "nvs_legacy"
NAME_ESP_DS: Final = "nvs_esp_ds"


class Variant(NamedTuple):
    """An NVS layout: its namespace, the revision of its writers, and the kind of each key."""

    layout: str
    namespace: str
    traits: Traits
    label: str | None
    revision: str
    values: dict[str, tuple[str, int]]
    """Key → (kind, NVS type) of what is one item by itself."""
    bits_key: str
    key_id_key: str


_SECURE_CERT_VALUES: Final = {
    "dev_cert": (kinds.DEVICE_CERT, nvs_log.STRING),
    "ca_cert": (kinds.CA_CERT, nvs_log.STRING),
    "priv_key": (kinds.PRIVATE_KEY, nvs_log.STRING),
    "cipher_c": (kinds.DS_CIPHERTEXT, nvs_log.BLOB),
    "iv": (kinds.DS_IV, nvs_log.BLOB),
}
_ESP_DS_VALUES: Final = {
    "esp_ds_c": (kinds.DS_CIPHERTEXT, nvs_log.BLOB),
    "esp_ds_iv": (kinds.DS_IV, nvs_log.BLOB),
}
VARIANTS: Final = (
    Variant(
        NAME, "esp_secure_cert",
        Traits("NVS, namespace esp_secure_cert", (LABEL,), TYPE_DATA),
        LABEL, "1.x", _SECURE_CERT_VALUES, "rsa_len", "ds_key_id",
    ),
    Variant(
        NAME_LEGACY, "pre_prov",
        Traits("NVS, namespace pre_prov", (LABEL_PRE_PROV, LABEL), TYPE_DATA),
        None, "1.x", _SECURE_CERT_VALUES, "rsa_len", "ds_key_id",
    ),
    Variant(
        NAME_ESP_DS, "esp_ds_ns",
        Traits("NVS, namespace esp_ds_ns of ESP-IDF's ssl_ds", (LABEL_PRE_PROV,), TYPE_DATA),
        None, "idf-4.3", _ESP_DS_VALUES, "esp_ds_rsa_len", "esp_ds_key_id",
    ),
)  # fmt: skip
"""In the order in which the firmware opens the namespaces."""


class _Mounted(NamedTuple):
    """A log, its namespaces (name → index), and the layout that they show."""

    log: Log
    namespaces: dict[str, int]
    variant: Variant


def _mount(data: bytes, label: str | None) -> _Mounted | None:
    if not nvs_log.has_page(data):
        return None
    log = nvs_log.mount(data)
    namespaces = _namespaces(log)
    candidates = sorted(VARIANTS, key=lambda v: label == LABEL_PRE_PROV and v.layout != NAME_LEGACY)
    for variant in candidates:
        if variant.namespace in namespaces:
            return _Mounted(log, namespaces, variant)
    shown = _unmounted_namespaces(data)
    for variant in candidates:
        if variant.namespace in shown:
            return _Mounted(log, namespaces, variant)
    return None


def _namespaces(log: Log) -> dict[str, int]:
    """Namespace name → index; of two definitions the first is used, as Storage::init does."""
    found: dict[str, int] = {}
    stopped: Page | None = None
    for page, entry in log.live():
        if entry.namespace != nvs_log.NAMESPACE_INDEX or page is stopped:
            continue
        if entry.type != nvs_log.U8:
            stopped = page  # its look-up ends at the first item of another type
            continue
        found.setdefault(entry.name, entry.value[0])
    return found


def _unmounted_namespaces(data: bytes) -> set[str]:
    """Names of namespaces on pages that have a valid header but a state that no longer counts."""
    found = set()
    for offset in nvs_log.page_offsets(data):
        if nvs_log.page_header(data, offset) is None:
            continue
        for entry in nvs_log.written_entries(data, offset):
            if entry.namespace == nvs_log.NAMESPACE_INDEX and entry.type == nvs_log.U8:
                found.add(entry.name)
    return found


def namespaces(data: bytes) -> tuple[str, ...]:
    """Names of the namespaces of any NVS partition, credentials or not; () where it is none."""
    if not nvs_log.has_page(data):
        return ()
    return tuple(_namespaces(nvs_log.mount(data))) or tuple(sorted(_unmounted_namespaces(data)))


def starts(data: bytes) -> bool:
    """Whether the image's first page has a valid NVS header."""
    return nvs_log.page_header(data, 0) is not None


def extent(data: bytes, start: int) -> int:
    """Bytes of the partition at `start`: its pages, and as many free ones as NVS needs at least."""
    pages = 0
    while nvs_log.page_header(data, start + pages * nvs_log.PAGE_SIZE) is not None:
        pages += 1
    wanted = max(pages + 1, nvs_log.MIN_PAGES)
    while pages < wanted:
        at = start + pages * nvs_log.PAGE_SIZE
        if not is_erased(data[at : at + nvs_log.PAGE_SIZE]):
            break
        pages += 1
    return min(pages * nvs_log.PAGE_SIZE, len(data) - start)


def recognise(data: bytes, label: str | None = None) -> Evidence | None:
    """Recognise the layout by an NVS page with a valid header that holds one of the namespaces.

    Where `esp_secure_cert` and `pre_prov` both exist, the first counts, as in the firmware; with
    the label `pre_prov` it is the second.
    """
    mounted = _mount(data, label)
    if mounted is None:
        return None
    variant = mounted.variant
    return Evidence(variant.layout, variant.label, tuple(_reasons(mounted)))


def _reasons(mounted: _Mounted) -> Iterator[str]:
    log, variant = mounted.log, mounted.variant
    used = len(log.pages)
    yield f"{used} NVS {'page' if used == 1 else 'pages'} in use, {log.free_pages} free"
    index = mounted.namespaces.get(variant.namespace)
    if index is None:
        yield f'namespace "{variant.namespace}" on a page that the firmware does not accept'
    else:
        yield f'namespace "{variant.namespace}" has index {index}'
    if not log.mountable:
        yield "the firmware cannot mount this partition"


def read(data: bytes, label: str | None = None) -> Contents:
    """Read an NVS partition with credentials. Raises FormatError where it holds no namespace."""
    mounted = _mount(data, label)
    if mounted is None:
        raise FormatError(
            NAME,
            expected="an NVS page with the namespace esp_secure_cert, pre_prov or esp_ds_ns",
            found="no such page",
        )
    log, variant = mounted.log, mounted.variant
    index = mounted.namespaces.get(variant.namespace)
    values = _values(log)
    items = list(_items(values, variant, index))
    return Contents(
        layout=variant.layout,
        traits=variant.traits,
        label=variant.label,
        revision=variant.revision,
        size=len(data),
        data=data,
        end=len(data),
        current=False,
        items=tuple(sorted(items, key=lambda item: (item.offset, item.kind))),
        anomalies=tuple(_anomalies(mounted, items)),
        evidence=tuple(_reasons(mounted)),
        other_entries=tuple(_other_entries(values, mounted)),
        mountable=log.mountable,
    )


@dataclass(frozen=True, slots=True)
class _Value:
    """A live value: `type` is BLOB for blobs of either form."""

    namespace: int
    key: bytes
    type: int
    data: bytes = field(repr=False)
    spans: tuple[Span, ...]
    intact: bool

    @property
    def name(self) -> str:
        return self.key.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _values(log: Log) -> dict[tuple[int, bytes, int], _Value]:
    """The value that the firmware returns for each (namespace, key, type)."""
    found: dict[tuple[int, bytes, int], _Value] = {}
    for (namespace, key, chunk), entry_type in log.first():
        if namespace == nvs_log.NAMESPACE_INDEX or chunk != nvs_log.NO_CHUNK:
            continue
        value_type = nvs_log.BLOB if entry_type == nvs_log.BLOB_INDEX else entry_type
        if (namespace, key, value_type) not in found:
            value = _lookup(log, namespace, key, value_type)
            if value is not None:
                found[namespace, key, value_type] = value
    return found


def _lookup(log: Log, namespace: int, key: bytes, value_type: int) -> _Value | None:
    """One value; a blob in chunks before one of the old form, as Storage::readItem asks."""
    wanted = (namespace, key, nvs_log.NO_CHUNK)
    if value_type == nvs_log.BLOB:
        index = nvs_log.find(log, wanted, nvs_log.BLOB_INDEX)
        if index is not None:
            return _chunked(log, index[1])
    found = nvs_log.find(log, wanted, value_type)
    return None if found is None else _single(log, *found)


def _single(log: Log, page: Page, entry: Entry) -> _Value | None:
    """The value of one item; None where the image's end cuts it."""
    span = page.value_span(entry)
    if span.offset + span.length > log.size:
        return None
    if entry.type in nvs_log.VARIABLE_LENGTH:
        data, intact = page.value(entry), page.value_intact(entry)
    else:
        data, intact = entry.value[: span.length], True
    return _Value(entry.namespace, entry.key, entry.type, data, (span,), intact)


def _chunked(log: Log, index: Entry) -> _Value | None:
    """The value of a blob in chunks; None where the image's end cuts one."""
    parts: list[bytes] = []
    spans: list[Span] = []
    intact = True
    for number in nvs_log.chunk_numbers(index):
        found = nvs_log.find(log, (index.namespace, index.key, number), nvs_log.BLOB_DATA)
        if found is None:
            intact = False
            continue
        part = _single(log, *found)
        if part is None:
            return None
        parts.append(part.data)
        spans += part.spans
        intact = intact and part.intact
    data = b"".join(parts)
    intact = intact and len(data) == nvs_log.blob_index(index).len_blob
    return _Value(index.namespace, index.key, nvs_log.BLOB, data, tuple(spans), intact)


@functools.cache
def _padded(key: str) -> bytes:
    return key.encode().ljust(16, b"\0")


def _items(
    values: dict[tuple[int, bytes, int], _Value], variant: Variant, index: int | None
) -> Iterator[Item]:
    if index is None:
        return
    for key, (kind, value_type) in variant.values.items():
        value = values.get((index, _padded(key), value_type))
        if value is not None:
            yield Item(
                kind=kind,
                index=0,
                data=value.data,
                spans=value.spans,
                intact=value.intact,
                protection=kinds.PLAINTEXT if kind == kinds.PRIVATE_KEY else None,
            )
    bits = values.get((index, _padded(variant.bits_key), nvs_log.U16))
    key_id = values.get((index, _padded(variant.key_id_key), nvs_log.U8))
    if bits is not None or key_id is not None:
        yield _context(bits, key_id)


def _context(bits: _Value | None, key_id: _Value | None) -> Item:
    """The DS context; without data where one of its two values is missing."""
    rsa_bits = None if bits is None else int.from_bytes(bits.data, "little")
    efuse_key_id = None if key_id is None else key_id.data[0]
    data = b""
    if rsa_bits is not None and efuse_key_id is not None:
        data = kinds.ds_context_data(rsa_bits, efuse_key_id)
    spans = [value.spans[0] for value in (bits, key_id) if value is not None]
    return Item(
        kind=kinds.DS_CONTEXT,
        index=0,
        data=data,
        spans=tuple(sorted(spans)),
        intact=True,
        rsa_bits=rsa_bits,
        efuse_key_id=efuse_key_id,
    )


def _anomalies(mounted: _Mounted, items: Sequence[Item]) -> Iterator[Anomaly]:
    """Damage first, then repairs, old keys and other old values."""
    damage = nvs_audit.audit(mounted.log)
    yield from (Anomaly(kinds.NVS_DAMAGE, *one) for one in damage)
    yield from _damaged_items(items)
    if nvs_audit.has_traces(mounted.log):
        yield from _traces(mounted, damage)


def _traces(mounted: _Mounted, damage: Sequence[Damage]) -> Iterator[Anomaly]:
    """What a power loss and erasing have left; nothing that is told as damage already."""
    repairs = nvs_audit.repairs(mounted.log, damage)
    yield from (Anomaly(kinds.NVS_REPAIR, *one) for one in repairs)
    repaired = {one.offset for one in repairs}
    old = _old_values(mounted, nvs_audit.leftovers(mounted.log, damage))
    for one in sorted(old, key=lambda one: (one.code, one.kind or "", one.offset)):
        if one.code == kinds.NVS_OLD_KEY or one.offset not in repaired:
            yield one


def _old_values(mounted: _Mounted, leftovers: Iterable[Leftover]) -> Iterator[Anomaly]:
    """What there is to say of erased values: of those of credentials, and of all private keys."""
    homes = {mounted.namespaces.get(variant.namespace): variant for variant in VARIANTS}
    for one in leftovers:
        variant = None if one.namespace is None else homes.get(one.namespace)
        kind = _kind_of(variant, one.key) if variant and one.key else None
        secret = one.is_pem_key or kind == kinds.PRIVATE_KEY
        found = f"an erased value of {one.key} that can still be read"
        if one.key is None:
            found = "the start of a private key in erased slots, its item no longer whole"
        if secret or kind:
            code = kinds.NVS_OLD_KEY if secret else kinds.NVS_OLD_VALUE
            yield Anomaly(code, one.offset, found, "bytes that were overwritten", kind)


def _kind_of(variant: Variant, key: str) -> str | None:
    known = variant.values.get(key)
    return None if known is None else known[0]


def _damaged_items(items: Sequence[Item]) -> Iterator[Anomaly]:
    for item in items:
        if item.intact is False:
            found = f"{len(item.data)} bytes that do not have the CRC-32 of their entry"
        elif not item.data and item.kind != kinds.DS_CONTEXT:
            found = "a value of 0 bytes"
        else:
            continue
        yield Anomaly(kinds.ITEM_CRC, item.offset, found, "the value as it was written", item.kind)


def _other_entries(
    values: dict[tuple[int, bytes, int], _Value], mounted: _Mounted
) -> Iterator[OtherEntry]:
    variant = mounted.variant
    mine = mounted.namespaces.get(variant.namespace)
    names = {index: name for name, index in mounted.namespaces.items()}
    known = {(_padded(key), kind[1]) for key, kind in variant.values.items()}
    known |= {
        (_padded(variant.bits_key), nvs_log.U16),
        (_padded(variant.key_id_key), nvs_log.U8),
    }
    for value in values.values():
        if value.namespace == mine and (value.key, value.type) in known:
            continue
        yield OtherEntry(
            namespace=names.get(value.namespace, f"index {value.namespace}"),
            key=value.name,
            type=nvs_log.TYPE_NAMES[value.type],
            length=len(value.data),
        )


def fields(data: bytes) -> Iterator[Field]:
    """The partition's bytes by name, for a map."""
    mounted = _mount(data, None)
    if mounted is None:
        return
    mine = mounted.namespaces.get(mounted.variant.namespace)
    for page in mounted.log.pages:
        yield Field(page.offset, nvs_log.PAGE_HEADER_LENGTH, "page header", None)
        yield Field(page.offset + nvs_log.BITMAP_OFFSET, 32, "entry states", None)
        for entry in page.items():
            yield from _entry_fields(
                page, entry, mounted.variant if entry.namespace == mine else None
            )


def _entry_fields(page: Page, entry: Entry, variant: Variant | None) -> Iterator[Field]:
    known = variant.values.get(entry.name) if variant else None
    if known:
        kind: str | None = known[0]
    elif entry.namespace == nvs_log.NAMESPACE_INDEX or (
        variant and entry.name in (variant.bits_key, variant.key_id_key)
    ):
        kind = None
    else:
        kind = "other_entry"
    yield Field(page.slot_offset(entry.slot), 24, f"entry {entry.name}", None)
    at, length = page.value_span(entry)
    if entry.type in nvs_log.VARIABLE_LENGTH:
        yield Field(page.slot_offset(entry.slot) + 24, 8, "size, crc", None)
    else:
        at, length = page.slot_offset(entry.slot) + 24, 8
    if entry.type in nvs_log.VARIABLE_LENGTH and not page.value_intact(entry):
        kind = kinds.DAMAGED
    if length:
        yield Field(at, length, entry.name, kind)


def has_page(data: bytes) -> bool:
    """Whether any page of the image has a valid NVS header."""
    return nvs_log.has_page(data)


def looks_encrypted(data: bytes) -> bool:
    """Whether slots are written, and none of them is a sound entry, as NVS encryption leaves it."""
    return nvs_log.has_written_slots(data) and not any(
        True
        for offset in nvs_log.page_offsets(data)
        if nvs_log.page_header(data, offset)
        for _ in nvs_log.written_entries(data, offset)
    )


# --- Writing -----------------------------------------------------------------------------------

_SECURE_CERT_ORDER: Final = (
    "ca_cert", "cipher_c", "dev_cert", "priv_key", "rsa_len", "ds_key_id", "iv",
)  # fmt: skip
_ESP_DS_ORDER: Final = ("esp_ds_c", "esp_ds_iv", "esp_ds_key_id", "esp_ds_rsa_len")
_TEXTS: Final = (kinds.CA_CERT, kinds.DEVICE_CERT, kinds.PRIVATE_KEY)


def _variant_of(layout: str) -> Variant:
    return next(variant for variant in VARIANTS if variant.layout == layout)


def misfits(items: Iterable[Item], layout: str = NAME) -> Iterator[Misfit]:
    """The items that an NVS layout cannot hold, and why. Texts are those that end with a NUL."""
    from espcert_formats.nvs_writer import MAX_TEXT

    material = list(items)
    held = {kind for kind, _ in _variant_of(layout).values.values()}
    limits: dict[str, int] = {kind: MAX_TEXT + 1 for kind in _TEXTS if kind in held}
    odd = list(rules.one_of_each(material, limits, layout))
    yield from odd
    yield from rules.ds_sizes(material, layout)
    named = {id(misfit.item) for misfit in odd}
    for item in material:
        text = _no_string(item.data) if item.kind in limits and id(item) not in named else None
        if text is not None:
            yield Misfit(item, f"{text}; {layout} holds PEM text with one NUL, at its end")


def _no_string(data: bytes) -> str | None:
    """Why bytes are no PEM text that NVS can hold as a string, None where they are one."""
    if b"-----BEGIN " not in data:
        return "no PEM"
    if data.find(b"\0") != len(data) - 1:
        return "a NUL inside" if b"\0" in data[:-1] else "no NUL at its end"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes that are no UTF-8"
    return None


def write(items: Iterable[Item], size: int | None = None, layout: str = NAME) -> bytes:
    """An NVS partition that holds the items, as the official tools of its day write it.

    `size` is in bytes; by default as many pages as are needed, and three at least. The items must
    fit (`misfits`). Raises FormatError where they do not fit into `size`.
    """
    from espcert_formats import nvs_writer

    variant = _variant_of(layout)
    values = _new_values(list(items), variant)
    order = _ESP_DS_ORDER if layout == NAME_ESP_DS else _SECURE_CERT_ORDER
    entries = [values[key] for key in order if key in values]
    return nvs_writer.write(variant.namespace, entries, size, layout)


def _new_values(items: Sequence[Item], variant: Variant) -> dict[str, NewEntry]:
    """The values to write by their key."""
    from espcert_formats import nvs_writer

    keys = {kind: (key, value_type) for key, (kind, value_type) in variant.values.items()}
    values: dict[str, NewEntry] = {}
    for item in items:
        if item.kind in keys:
            key, value_type = keys[item.kind]
            is_text = value_type == nvs_log.STRING
            value = item.data.removesuffix(b"\0") if is_text else item.data
            values[key] = nvs_writer.Entry(key, "string" if is_text else "binary", value)
        elif item.kind == kinds.DS_CONTEXT:
            bits, key_id = item.rsa_bits or 0, item.efuse_key_id or 0
            values[variant.bits_key] = nvs_writer.Entry(variant.bits_key, "u16", bits)
            values[variant.key_id_key] = nvs_writer.Entry(variant.key_id_key, "u8", key_id)
    return values
