"""NVS as ESP-IDF mounts it: pages, their repairs after a power loss, and the live entries.

An NVS partition is a log. What the firmware returns follows from how it repairs that log when it
mounts it, so the same repairs are made here, on the entry states in memory. The bytes are
described in `ksy/esp_nvs.ksy`. Sources: ESP-IDF v5.5, components/nvs_flash/src, nvs_page.cpp
(Page::load, mLoadEntryTable), nvs_pagemanager.cpp (PageManager::load), nvs_storage.cpp
(Storage::init, populateBlobIndices, eraseOrphanDataBlobs).
"""

from __future__ import annotations

import functools
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final, NamedTuple

from kaitaistruct import KaitaiStream

from espcert_formats._ksy.esp_nvs import EspNvs
from espcert_formats.checksum import crc32
from espcert_formats.flash import is_erased
from espcert_formats.items import Span

PAGE_SIZE: Final = 4096
PAGE_HEADER_LENGTH: Final = 32
BITMAP_OFFSET: Final = 32
ENTRIES_OFFSET: Final = 64
ENTRY_SIZE: Final = 32
ENTRY_COUNT: Final = 126
MIN_PAGES: Final = 3
MAX_PAGES: Final = 1024
"""Pages behind the first 4 MiB are not looked at: real partitions have 3 to 16."""

UNINITIALIZED: Final = 0xFFFFFFFF
ACTIVE: Final = 0xFFFFFFFE
FULL: Final = 0xFFFFFFFC
FREEING: Final = 0xFFFFFFF8
NEWEST_VERSION: Final = 0xFE
"""Versions count down from 0xFF; one below this makes the firmware refuse the partition."""

ERASED: Final = 0
ILLEGAL: Final = 1
WRITTEN: Final = 2
EMPTY: Final = 3

U8: Final = 0x01
U16: Final = 0x02
STRING: Final = 0x21
BLOB: Final = 0x41
BLOB_DATA: Final = 0x42
BLOB_INDEX: Final = 0x48
VARIABLE_LENGTH: Final = frozenset({STRING, BLOB, BLOB_DATA})
TYPE_NAMES: Final = {
    U8: "u8", 0x11: "i8", U16: "u16", 0x12: "i16", 0x04: "u32", 0x14: "i32", 0x08: "u64",
    0x18: "i64", 0x24: "float", 0x28: "double", STRING: "string", BLOB: "blob",
    BLOB_DATA: "blob", BLOB_INDEX: "blob",
}  # fmt: skip

NAMESPACE_INDEX: Final = 0
NO_CHUNK: Final = 0xFF
SECOND_VERSION: Final = 0x80
"""Chunk numbers of a blob start at 0x00 or, for every second rewrite, at 0x80."""

_STATES_OF_BYTE: Final = [bytes((b >> shift) & 3 for shift in (0, 2, 4, 6)) for b in range(256)]
_ERASED_PAGE: Final = b"\xff" * PAGE_SIZE


class Entry(NamedTuple):
    """The header entry of an item. `value` are its 8 data bytes; `slot` counts within the page."""

    slot: int
    namespace: int
    type: int
    span: int
    chunk: int
    key: bytes
    value: bytes
    consistent: bool

    @property
    def name(self) -> str:
        """The key up to its NUL, undecodable bytes escaped."""
        return self.key.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


class Damage(NamedTuple):
    """Something that a sound log does not have; `offset` counts from the partition's start."""

    offset: int
    found: str
    expected: str


@dataclass(slots=True)
class Page:
    """A page with a valid header: its entry states as stored and after repairs.

    `end` is the slot behind the last one that the firmware looks at.
    """

    offset: int
    state: int
    sequence: int
    data: bytes = field(repr=False)
    stored_states: bytes
    states: bytearray
    end: int = ENTRY_COUNT
    _entries: dict[int, Entry] = field(default_factory=dict, repr=False)
    _stream: KaitaiStream = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._stream = KaitaiStream(BytesIO(self.data))

    def slot_offset(self, slot: int) -> int:
        """Offset of a slot from the start of the partition."""
        return self.offset + ENTRIES_OFFSET + slot * ENTRY_SIZE

    def raw(self, slot: int) -> bytes:
        """The 32 bytes of a slot."""
        at = ENTRIES_OFFSET + slot * ENTRY_SIZE
        return self.data[at : at + ENTRY_SIZE]

    def entry(self, slot: int) -> Entry:
        """The slot read as an item's header entry."""
        known = self._entries.get(slot)
        if known is None:
            self._stream.seek(ENTRIES_OFFSET + slot * ENTRY_SIZE)
            known = self._entries[slot] = _parse_entry(slot, self.raw(slot), self._stream)
        return known

    def erase(self, slot: int) -> None:
        """Mark an item's slots as erased; only the one slot where the header is not sound."""
        entry = self.entry(slot)
        span = entry.span if entry.consistent else 1
        self.states[slot : slot + span] = bytes(span)

    def items(self) -> Iterator[Entry]:
        """The header entries of the live items, in slot order."""
        slot = self.states.find(WRITTEN)
        while 0 <= slot < self.end:
            entry = self.entry(slot)
            if entry.consistent:
                yield entry
            slot = self.states.find(WRITTEN, slot + (entry.span if entry.consistent else 1))

    def value(self, entry: Entry) -> bytes:
        """The data of a variable-length item, its length as the header says."""
        length = int.from_bytes(entry.value[:2], "little")
        at = ENTRIES_OFFSET + (entry.slot + 1) * ENTRY_SIZE
        return self.data[at : at + length]

    def value_span(self, entry: Entry) -> Span:
        """Where an item's value lies in the partition."""
        if entry.type in VARIABLE_LENGTH:
            length = int.from_bytes(entry.value[:2], "little")
            return Span(self.slot_offset(entry.slot + 1), length)
        return Span(self.slot_offset(entry.slot) + 24, entry.type & 0x0F)

    def value_intact(self, entry: Entry) -> bool:
        """Whether the data of a variable-length item have the CRC that the header names."""
        return crc32(self.value(entry)) == int.from_bytes(entry.value[4:], "little")


def _parse_entry(slot: int, raw: bytes, stream: KaitaiStream) -> Entry:
    """The entry of a slot: `raw` are its 32 bytes, at which the stream stands."""
    header = EspNvs.EntryHeader(stream)
    sound = zlib.crc32(raw[8:], crc32(raw[:4])) == header.crc
    return Entry(
        slot,
        header.namespace_index,
        header.type,
        header.span,
        header.chunk_index,
        header.key,
        header.data,
        sound
        and not (header.type == BLOB_DATA and header.chunk_index == NO_CHUNK)
        and _span_fits(slot, header.type, header.span, header.data),
    )


def _span_fits(slot: int, entry_type: int, span: int, value: bytes) -> bool:
    """The further conditions of Item::checkHeaderConsistency (ESP-IDF v5.4 and later)."""
    if entry_type not in TYPE_NAMES:
        return False
    if entry_type not in VARIABLE_LENGTH:
        return span == 1
    length = int.from_bytes(value[:2], "little")
    return span == 1 + -(-length // ENTRY_SIZE) and slot + span <= ENTRY_COUNT


Identity = tuple[int, bytes, int]
"""What the firmware tells items apart by: namespace index, key (16 bytes), chunk number."""


Family = tuple[int, bytes, bool | None]
"""A version of a blob: namespace index, key, and which of its two; None for the old form."""
OLD_FORM: Final = None


def identity(entry: Entry) -> Identity:
    """The identity of an entry's item."""
    return entry.namespace, entry.key, entry.chunk


@dataclass(slots=True)
class Log:
    """A mounted NVS partition: its pages in sequence order, and what is wrong with it.

    `mountable` tells whether the firmware accepts the partition at all. `repairs` are what a
    power loss leaves in a sound log and mounting mends; besides, `unfinished` are the items whose
    writing was interrupted. `given_up` is the page that the firmware starts again, `size` the
    bytes of the image, in which the last page may be cut.
    """

    pages: list[Page] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    repairs: list[Damage] = field(default_factory=list)
    free_pages: int = 0
    mountable: bool = True
    size: int = 0
    unfinished: list[tuple[Page, Entry]] = field(default_factory=list)
    given_up: Page | None = None
    _live: list[tuple[Page, Entry]] | None = None
    _index: dict[Identity, list[tuple[Page, Entry]]] = field(default_factory=dict)
    _first: dict[tuple[Identity, int], tuple[Page, Entry]] = field(default_factory=dict)

    def index(self) -> dict[Identity, list[tuple[Page, Entry]]]:
        """Live items by identity, oldest page first; built once, when the repairs are done."""
        if not self._index:
            for page, entry in self.live():
                self._index.setdefault(identity(entry), []).append((page, entry))
        return self._index

    def first(self) -> dict[tuple[Identity, int], tuple[Page, Entry]]:
        """By identity and type the item that a look-up returns; built once, after the repairs.

        A page answers with its first item of an identity, whatever its type.
        """
        if not self._first:
            asked: set[tuple[int, Identity]] = set()
            for page, entry in self.live():
                wanted = identity(entry)
                if (page.offset, wanted) not in asked:
                    asked.add((page.offset, wanted))
                    self._first.setdefault((wanted, entry.type), (page, entry))
        return self._first

    def live(self) -> list[tuple[Page, Entry]]:
        """All live items, oldest page first; kept once the repairs are done."""
        if self._live is not None:
            return self._live
        return [(page, entry) for page in self.pages for entry in page.items()]

    def freeze(self) -> None:
        """The repairs are done: from now on the live items do not change."""
        self._live = self.live()


def page_header(data: bytes, offset: int) -> EspNvs.PageHeader | None:
    """The header of the page at `offset`, or None where its CRC does not match."""
    return _page_header(data[offset : offset + PAGE_HEADER_LENGTH])


@functools.lru_cache(maxsize=256)
def _page_header(raw: bytes) -> EspNvs.PageHeader | None:
    """Cached: several questions about one image look at the same headers."""
    if len(raw) < PAGE_HEADER_LENGTH:
        return None
    header = EspNvs.PageHeader(KaitaiStream(BytesIO(raw)))
    return header if crc32(raw[4:28]) == header.crc else None


def has_page(data: bytes) -> bool:
    """Whether any page of the image has a valid header."""
    return any(page_header(data, offset) for offset in page_offsets(data))


def page_offsets(data: bytes) -> range:
    """Offsets of the pages that can be looked at, a last one that is cut included."""
    return range(0, min(len(data), MAX_PAGES * PAGE_SIZE), PAGE_SIZE)


def mount(data: bytes) -> Log:
    """Load the pages and repair the log in memory, as the firmware does when it mounts it."""
    log = Log(size=len(data))
    for offset in page_offsets(data):
        _load_page(log, data, offset)
    log.pages.sort(key=lambda page: page.sequence)
    if len(data) % PAGE_SIZE or len(data) > MAX_PAGES * PAGE_SIZE:
        log.damage.append(
            Damage(len(data), f"an image of {len(data):#x} bytes", "whole pages of 0x1000 bytes")
        )
    if len(data) < MIN_PAGES * PAGE_SIZE:
        log.mountable = False
        log.damage.append(
            Damage(len(data), f"an image of {len(data):#x} bytes", "three pages (0x3000) or more")
        )
    if log.pages:
        _erase_older_copy(log)
        _finish_freeing(log)
        _repair_blobs(log)
    log.freeze()
    if not log.free_pages:
        log.mountable = False
        log.damage.append(Damage(0, "no free page", "one erased page, or the firmware gives up"))
    return log


def _load_page(log: Log, data: bytes, offset: int) -> None:
    raw = data[offset : offset + PAGE_SIZE].ljust(PAGE_SIZE, b"\xff")
    if raw == _ERASED_PAGE:
        log.free_pages += 1
        return
    header = page_header(raw, 0)
    if header is not None and header.state != UNINITIALIZED and header.version < NEWEST_VERSION:
        log.mountable = False
        found = f"page version {header.version:#04x}"
        log.damage.append(Damage(offset, found, "0xff (version 1) or 0xfe (version 2)"))
        return
    if header is None or header.state not in (ACTIVE, FULL, FREEING):
        log.free_pages += 1
        found = "a page with a bad header CRC" if header is None else f"state {header.state:#010x}"
        log.damage.append(Damage(offset, found, "a page header as NVS writes it"))
        return
    bitmap = raw[BITMAP_OFFSET:ENTRIES_OFFSET]
    states = b"".join(map(_STATES_OF_BYTE.__getitem__, bitmap))[:ENTRY_COUNT]
    page = Page(offset, header.state, header.sequence, raw, states, bytearray(states))
    log.pages.append(page)
    if page.state == ACTIVE:
        _load_active(log, page)
    else:
        for _ in _settle(log, page):
            pass


def _load_active(log: Log, page: Page) -> None:
    """Find the log's end, erase what is half written, and of two copies keep the later."""
    page.end = _find_end(page)
    seen: dict[Identity, int] = {}
    for entry in _settle(log, page):
        earlier = seen.get(identity(entry))
        if earlier is not None:
            page.erase(earlier)
            log.repairs.append(_older_copy(page, page.entry(earlier)))
        seen[identity(entry)] = entry.slot


def _older_copy(page: Page, entry: Entry) -> Damage:
    """Power failed between writing the new item and erasing this one."""
    found = f"an older item of {entry.name} that is not erased yet"
    return Damage(page.slot_offset(entry.slot), found, "the newer one alone")


def _settle(log: Log, page: Page) -> Iterator[Entry]:
    """The whole items of a page; what is not one is erased on the way."""
    slot = 0
    while slot < page.end:
        state = page.states[slot]
        if state == ERASED or (state != WRITTEN and page.state != ACTIVE):
            slot += 1
            continue
        entry = page.entry(slot)
        if state != WRITTEN or not entry.consistent:
            page.states[slot] = ERASED
            log.damage.append(_bad_slot(page, slot))
            slot += 1
            continue
        if _complete(page, entry):
            yield entry
        else:
            _drop_incomplete(log, page, entry)
        slot += entry.span


def _find_end(page: Page) -> int:
    """First slot that nothing was written to; slots written without their state are erased."""
    end = page.states.find(EMPTY)
    if end < 0:
        return ENTRY_COUNT
    while end < ENTRY_COUNT and page.raw(end)[:4] != b"\xff\xff\xff\xff":
        page.states[end] = ERASED
        end += 1
    return end


def _is_unfinished(page: Page, entry: Entry) -> bool:
    """Whether an incomplete item is what a power loss leaves: the last of its log, data missing.

    NVS writes the header slot and its state, then the data slots, then their states. An item
    whose data are all there, states aside, was not interrupted but damaged.
    """
    stored = page.stored_states
    behind = entry.slot + entry.span
    empty = stored.find(EMPTY)
    return (
        page.state == ACTIVE
        and entry.slot < empty < behind
        and stored.count(WRITTEN, entry.slot, empty) == empty - entry.slot
        and stored.count(EMPTY, empty) == ENTRY_COUNT - empty
        and is_erased(page.data[page.slot_offset(behind) - page.offset :])
        and not page.value_intact(entry)
    )


def _complete(page: Page, entry: Entry) -> bool:
    states = page.states[entry.slot : entry.slot + entry.span]
    return states.count(WRITTEN) == entry.span


def _bad_slot(page: Page, slot: int) -> Damage:
    return Damage(
        page.slot_offset(slot),
        "a written slot that belongs to no item",
        "an entry header with its CRC",
    )


def _drop_incomplete(log: Log, page: Page, entry: Entry) -> None:
    page.erase(entry.slot)
    if _is_unfinished(page, entry):
        log.unfinished.append((page, entry))
        return
    log.damage.append(
        Damage(
            page.slot_offset(entry.slot),
            f"an item of {entry.span} slots, not all of them written",
            "all slots of the item written",
        )
    )


def _matching(page: Page, wanted: Identity, entry_type: int) -> Entry | None:
    """What Page::findItem finds for a key: the first of it, if that has the type."""
    for entry in page.items():
        if identity(entry) == wanted:
            return entry if entry.type == entry_type else None
    return None


def find(log: Log, wanted: Identity, entry_type: int) -> tuple[Page, Entry] | None:
    """What Storage::findItem returns: of the oldest page whose first match has the type."""
    return log.first().get((wanted, entry_type))


def _erase_older_copy(log: Log) -> None:
    """Of the newest item erase the copy in an older page: power failed before that was done."""
    *older, newest = log.pages
    items = list(newest.items())
    if not items:
        return
    last = items[-1]
    types = (last.type, BLOB) if last.type == BLOB_INDEX else (last.type,)
    for entry_type in types:
        for page in older:
            copy = _matching(page, identity(last), entry_type) if page.state != FREEING else None
            if copy is not None:
                page.erase(copy.slot)
                log.repairs.append(_older_copy(page, copy))
                return


def _finish_freeing(log: Log) -> None:
    """Move the items of a page that was being reclaimed to a fresh page, the newest.

    The page that was active then holds a part of them; the firmware erases it and starts again.
    """
    freeing = next((page for page in log.pages if page.state == FREEING), None)
    if freeing is None:
        return
    if log.pages[-1].state == ACTIVE:
        log.given_up = log.pages.pop()
        log.free_pages += 1
    if not log.free_pages:
        log.mountable = False
        return
    found = "a page whose items were being moved to another one"
    log.repairs.append(Damage(freeing.offset, found, "all of them moved, and the page erased"))
    # The page taken and the one given back cancel out; the items stay where they are in memory.
    log.pages.remove(freeing)
    log.pages.append(freeing)


def _repair_blobs(log: Log) -> None:
    """Erase blob indices whose chunks do not add up, and chunks without an index.

    A chunk counts for the first index of its blob only, and erasing goes by key: of two indices
    of one blob none survives.
    """
    live = log.live()
    chunks = [(page, entry) for page, entry in live if entry.type == BLOB_DATA]
    indices = [(page, entry) for page, entry in live if entry.type == BLOB_INDEX]
    same_start: dict[tuple[Identity, int], deque[tuple[Page, Entry]]] = {}
    for page, index in indices:
        same_start.setdefault(_index_key(index), deque()).append((page, index))
    observed: dict[Family, list[int]] = {}
    for _, chunk in chunks:
        size = int.from_bytes(chunk.value[:2], "little")
        observed.setdefault(_family(chunk, chunk.chunk), []).append(size)
    claimed: set[Identity] = set()
    whole: set[Family] = set()
    for page, index in indices:
        parsed = blob_index(index)
        family = _family(index, parsed.chunk_start)
        sizes = observed.pop(family, [])
        if len(sizes) == parsed.num_chunks and sum(sizes) == parsed.len_blob:
            claimed.update(_claims(index))
            whole.add(family)
        else:
            _erase_first_index(same_start[_index_key(index)])
            log.damage.append(_blob_damage(page, index, "a blob index whose chunks do not add up"))
    orphans = [(page, chunk) for page, chunk in chunks if identity(chunk) not in claimed]
    if orphans:
        whole |= {(e.namespace, e.key, OLD_FORM) for _, e in live if e.type == BLOB}
        _erase_orphans(log, orphans, whole)


def _family(entry: Entry, number: int) -> Family:
    """What the chunks of one version of a blob have in common with their index."""
    return entry.namespace, entry.key, number >= SECOND_VERSION


def _erase_orphans(log: Log, orphans: Sequence[tuple[Page, Entry]], whole: set[Family]) -> None:
    """Chunks without an index: power failed before it was written, or after it was erased.

    A blob is rewritten under its other version. Where a whole one of `whole` is there beside the
    chunks, nothing but the interrupted value is lost; where there is none, it is damage.
    """
    for page, chunk in orphans:
        first = _matching(page, identity(chunk), BLOB_DATA)
        if first is not None:
            page.erase(first.slot)
        found = _blob_damage(page, chunk, "a blob chunk without an index")
        namespace, key, second = _family(chunk, chunk.chunk)
        beside = {(namespace, key, not second), (namespace, key, OLD_FORM)}
        (log.damage if whole.isdisjoint(beside) else log.repairs).append(found)


def _index_key(index: Entry) -> tuple[Identity, int]:
    """What the firmware erases a blob index by: its identity and the chunk it counts from."""
    return identity(index), blob_index(index).chunk_start


def _erase_first_index(same: deque[tuple[Page, Entry]]) -> None:
    """Erase the first of these indices, oldest page first, that a look-up on its page finds."""
    while same:
        page, entry = same.popleft()
        if _matching(page, identity(entry), BLOB_INDEX) is not None:
            page.erase(entry.slot)
            return


def _blob_damage(page: Page, entry: Entry, found: str) -> Damage:
    return Damage(page.slot_offset(entry.slot), found, "a blob's index and its chunks")


def _claims(index: Entry) -> Iterator[Identity]:
    for number in chunk_numbers(index):
        yield index.namespace, index.key, number


def chunk_numbers(index: Entry) -> range:
    """The chunk numbers that a blob index claims."""
    parsed = blob_index(index)
    return range(parsed.chunk_start, parsed.chunk_start + parsed.num_chunks)


def blob_index(index: Entry) -> EspNvs.BlobIndex:
    """The value of a blob index: size, number of chunks, number of the first."""
    return _blob_index(index.value)


@functools.lru_cache(maxsize=256)
def _blob_index(value: bytes) -> EspNvs.BlobIndex:
    return EspNvs.BlobIndex(KaitaiStream(BytesIO(value)))


def written_slots(data: bytes, offset: int) -> list[int]:
    """The slots that the bitmap of the page at `offset` calls written."""
    bitmap = data[offset + BITMAP_OFFSET : offset + ENTRIES_OFFSET]
    states = b"".join(map(_STATES_OF_BYTE.__getitem__, bitmap))[:ENTRY_COUNT]
    return [slot for slot, state in enumerate(states) if state == WRITTEN]


def written_entries(data: bytes, offset: int) -> Iterator[Entry]:
    """Sound entries in written slots of the page at `offset`, whatever the page's state."""
    raw = data[offset : offset + PAGE_SIZE].ljust(PAGE_SIZE, b"\xff")
    for slot in written_slots(raw, 0):
        at = ENTRIES_OFFSET + slot * ENTRY_SIZE
        slot_raw = raw[at : at + ENTRY_SIZE]
        entry = _parse_entry(slot, slot_raw, KaitaiStream(BytesIO(slot_raw)))
        if entry.consistent:
            yield entry


def has_written_slots(data: bytes) -> bool:
    """Whether the bitmap of any page with a valid header calls a slot written."""
    return any(
        page_header(data, offset) is not None and written_slots(data, offset)
        for offset in page_offsets(data)
    )
