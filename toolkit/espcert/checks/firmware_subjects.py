"""Which parts of a partition the versions of esp_secure_cert_mgr treat differently.

A function here finds the subjects of a row of the table in `firmware.py`, or makes one that does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from espcert.checks.context import Context, is_hmac_encrypted
from espcert.findings import item_name
from espcert_formats import items as kinds
from espcert_formats.items import Item

TLV: Final = frozenset({"tlv"})
CUST_FLASH: Final = frozenset({"cust_flash", "cust_flash_legacy"})
SWAPPED: Final = frozenset({"cust_flash_legacy"})
NVS: Final = frozenset({"nvs", "nvs_legacy"})
ESP_DS: Final = frozenset({"nvs_esp_ds"})
"""Names of layouts: their modules are loaded only for the images that need them."""

GETTERS: Final = (kinds.DEVICE_CERT, kinds.CA_CERT, kinds.PRIVATE_KEY)
"""What the component has a function for that asks for no type and subtype."""
USER_DATA: Final = tuple(f"user_data_{number}" for number in range(1, 6))
MATTER: Final = ("matter_1", "matter_2")
_WITH_OWN_ROWS: Final = frozenset({*kinds.SEALS, kinds.TEE_KEY, *USER_DATA, *MATTER})


class Subject(NamedTuple):
    """What a finding speaks of: an item, or (`item` None) the partition as a whole."""

    name: str
    item: str | None
    subtype: int
    offset: int


Concerned = Callable[[Context], Iterable[Subject]]


def _subject(item: Item) -> Subject:
    name = item_name(item.kind, item.index)
    return Subject(name, name, item.index, item.offset)


def layout(layouts: frozenset[str]) -> Concerned:
    """The partition as a whole, where it has one of these layouts."""

    def concerned(context: Context) -> Iterator[Subject]:
        name = context.contents.layout
        if name in layouts:
            yield Subject(name, None, 0, 0)

    return concerned


def in_layout(layouts: frozenset[str], *wanted: str) -> Concerned:
    """Whole items of these kinds in a partition of one of these layouts."""

    def concerned(context: Context) -> Iterator[Subject]:
        if context.contents.layout in layouts:
            yield from map(_subject, context.whole(*wanted))

    return concerned


def anomalies(code: str) -> Concerned:
    """What the reader has told already, from the places and lengths of entries."""

    def concerned(context: Context) -> Iterator[Subject]:
        for anomaly in context.contents.anomalies:
            if anomaly.code == code:
                item = item_name(anomaly.kind, anomaly.index) if anomaly.kind else None
                name = item or context.contents.layout
                yield Subject(name, item, anomaly.index, anomaly.offset)

    return concerned


# --- Legacy layouts ----------------------------------------------------------------------------


def nvs_not_mounted(context: Context) -> Iterator[Subject]:
    """An NVS partition that the firmware's NVS refuses."""
    if not context.contents.mountable:
        yield Subject(context.contents.layout, None, 0, 0)


def cust_flash_without_ds(context: Context) -> Iterator[Subject]:
    """Metadata in the short form, unless the chip has no DS peripheral: then none is built in."""
    contents, chip = context.contents, context.chip
    if contents.layout not in CUST_FLASH or contents.of_kind(kinds.DS_CONTEXT):
        return
    if chip is None or chip.ds_ciphertext_length is not None:
        yield Subject(contents.layout, None, 0, 0)


def ds_of_other_chip(layouts: frozenset[str], *, longer: bool) -> Concerned:
    """DS ciphertexts that are longer, or shorter, than what the chip's driver has room for."""

    def concerned(context: Context) -> Iterator[Subject]:
        room = None if context.chip is None else context.chip.ds_ciphertext_length
        if room is None or context.contents.layout not in layouts:
            return
        for item in context.whole(kinds.DS_CIPHERTEXT):
            length = len(item.data)
            if length in kinds.DS_MAX_BITS and length != room and (length > room) is longer:
                yield _subject(item)

    return concerned


# --- TLV entries -------------------------------------------------------------------------------


def _entries(context: Context) -> Iterator[Item]:
    """Whole TLV entries, one item each: the ciphertext stands for the IV in its entry."""
    for item in context.contents.items:
        in_entry = item.flags is not None and item.kind != kinds.DS_IV
        if in_entry and item.intact is not False:
            yield item


def _groups(context: Context) -> dict[str, list[Item]]:
    """Whole TLV entries by kind, in the order of flash."""
    groups: dict[str, list[Item]] = {}
    for item in _entries(context):
        groups.setdefault(item.kind, []).append(item)
    return groups


def _first_of_subtype_0(group: list[Item]) -> Item | None:
    return next((item for item in group if not item.index), None)


def of_kind(*wanted: str) -> Concerned:
    """Entries of these kinds."""
    return lambda context: (_subject(item) for item in _entries(context) if item.kind in wanted)


def of_subtype(subtype: int) -> Concerned:
    """Entries of one subtype."""
    return lambda context: (_subject(item) for item in _entries(context) if item.index == subtype)


def of_other_subtypes(context: Context) -> Iterator[Subject]:
    """Entries of a subtype other than 0, of types that no other row is about."""
    for item in _entries(context):
        known = item.kind not in _WITH_OWN_ROWS and not item.kind.startswith("unknown_")
        if item.index and known:
            yield _subject(item)


def without_subtype_0(*wanted: str) -> Concerned:
    """The first entry of each of these kinds of which there is none, damaged or not, at 0."""

    def concerned(context: Context) -> Iterator[Subject]:
        at_0 = {item.kind for item in context.contents.items if not item.index}
        for kind, group in _groups(context).items():
            if kind in wanted and kind not in at_0:
                yield _subject(group[0])

    return concerned


def later_entries(*wanted: str) -> Concerned:
    """The last entry of a kind, where the first of subtype 0 is another one and says otherwise."""

    def concerned(context: Context) -> Iterator[Subject]:
        for kind, group in _groups(context).items():
            first, last = _first_of_subtype_0(group), group[-1]
            differs = first is not None and (first.data, first.flags) != (last.data, last.flags)
            if kind in wanted and differs:
                yield _subject(last)

    return concerned


def later_ds(context: Context) -> Iterator[Subject]:
    """The last DS data, where they are not those that belong to the context of subtype 0."""
    group = _groups(context).get(kinds.DS_CIPHERTEXT, [])
    if group and group[-1] is not _first_of_subtype_0(group):
        yield _subject(group[-1])


def ds_without_context(context: Context) -> Iterator[Subject]:
    """DS data of subtype 0 whose context is not there, damaged, or not 8 bytes long."""
    groups = _groups(context)
    beside = _first_of_subtype_0(groups.get(kinds.DS_CONTEXT, []))
    ciphertext = _first_of_subtype_0(groups.get(kinds.DS_CIPHERTEXT, []))
    sound = beside is not None and len(beside.data) == kinds.DS_CONTEXT_LENGTH
    if ciphertext is not None and not sound:
        yield _subject(ciphertext)


# --- Protected entries -------------------------------------------------------------------------


def hmac_encrypted(context: Context) -> Iterator[Subject]:
    """Entries of any type with flag 0x80."""
    return (_subject(item) for item in _entries(context) if is_hmac_encrypted(item))


def _keys(context: Context, protection: str) -> Iterator[Item]:
    for item in _entries(context):
        if item.kind == kinds.PRIVATE_KEY and item.protection == protection:
            yield item


def derived(context: Context) -> Iterator[Subject]:
    """Private keys with flag 0x40."""
    return map(_subject, _keys(context, kinds.HMAC_DERIVED))


def derived_elsewhere(context: Context) -> Iterator[Subject]:
    """Entries with flag 0x40 that are no private keys."""
    for item in _entries(context):
        flags = item.flags or 0
        if item.kind != kinds.PRIVATE_KEY and flags & 0xC0 == kinds.HMAC_DERIVED_FLAG:
            yield _subject(item)


def _salts(context: Context) -> dict[int, bytes]:
    """The salt that firmware takes for each subtype: the first one."""
    found: dict[int, bytes] = {}
    for item in context.whole(kinds.ECDSA_SALT):
        found.setdefault(item.index, item.data)
    return found


def derived_with_salt(context: Context) -> Iterator[Subject]:
    """Derived keys with a salt of their subtype."""
    salts = _salts(context)
    return (_subject(i) for i in _keys(context, kinds.HMAC_DERIVED) if i.index in salts)


def derived_without_salt(context: Context) -> Iterator[Subject]:
    """Derived keys of subtype 0 without a salt."""
    return (_subject(item) for item in _saltless(context) if not item.index)


def other_derived_without_salt(context: Context) -> Iterator[Subject]:
    """Derived keys of other subtypes without a salt of their own."""
    return (_subject(item) for item in _saltless(context) if item.index)


def _saltless(context: Context) -> Iterator[Item]:
    salts = _salts(context)
    return (item for item in _keys(context, kinds.HMAC_DERIVED) if item.index not in salts)


def derived_with_other_salt(context: Context) -> Iterator[Subject]:
    """Derived keys of other subtypes for which the salt of subtype 0 is no substitute."""
    salts = _salts(context)
    for item in _keys(context, kinds.HMAC_DERIVED):
        if item.index and (0 not in salts or salts.get(item.index) != salts[0]):
            yield _subject(item)


def _in_peripheral(context: Context, *, encrypted: bool) -> Iterator[Item]:
    for item in _keys(context, kinds.ECDSA_PERIPHERAL):
        if is_hmac_encrypted(item) is encrypted:
            yield item


def peripheral(context: Context) -> Iterator[Subject]:
    """Private keys with flag 0x08 and not 0x80."""
    return map(_subject, _in_peripheral(context, encrypted=False))


def peripheral_with_data(context: Context) -> Iterator[Subject]:
    """Those of them that hold bytes all the same."""
    return (_subject(item) for item in _in_peripheral(context, encrypted=False) if item.data)


def peripheral_and_encrypted(context: Context) -> Iterator[Subject]:
    """Private keys with the flags 0x08 and 0x80."""
    return map(_subject, _in_peripheral(context, encrypted=True))
