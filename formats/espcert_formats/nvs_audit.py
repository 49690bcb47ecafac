"""What a sound NVS log never holds: signs of damage that mounting it does not show.

The entry states and the pages' states are covered by no checksum. A bit that fell over in them
makes a value appear, disappear or change places with an older one; what remains in flash of the
others tells. Nothing here changes what is read.

Besides, what a sound log may hold and its owner should know: repairs, and erased values whose
bytes are still there. Up to ESP-IDF v6.0 erasing an item changes its state only; from v6.1 on its
bytes are overwritten with zeros. Source: ESP-IDF d50c7b4b6b1, DEFAULT_PURGE_AFTER_ERASE.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from espcert_formats import nvs_log
from espcert_formats.flash import is_erased
from espcert_formats.nvs_log import Damage, Entry, Log, Page


def audit(log: Log) -> list[Damage]:
    """All signs of damage, those of mounting included, in the order of their offsets."""
    found = list(log.damage)
    for page in log.pages:
        found += _written_without_state(log, page)
    found += _unfinished(log)
    found += _contradictions(log)
    found += _lost_values(log)
    found += _given_up(log)
    found += _undefined_namespaces(log)
    return sorted(set(found))


def _written_without_state(log: Log, page: Page) -> Iterator[Damage]:
    """Slots that the bitmap calls empty and that are not."""
    interrupted = [entry for owner, entry in log.unfinished if owner is page]
    known = {slot for entry in interrupted for slot in range(entry.slot, entry.slot + entry.span)}
    slot = page.stored_states.find(nvs_log.EMPTY)
    if slot < 0 or is_erased(_rest(page, slot)):
        return
    if not known and _is_interrupted_header(page, slot):
        return
    for at in range(slot, nvs_log.ENTRY_COUNT):
        empty = page.stored_states[at] == nvs_log.EMPTY
        if empty and at not in known and not is_erased(page.raw(at)):
            yield Damage(page.slot_offset(at), "data in a slot that the bitmap calls empty", "0xff")


def _rest(page: Page, slot: int) -> bytes:
    return page.data[page.slot_offset(slot) - page.offset :]


def _is_interrupted_header(page: Page, slot: int) -> bool:
    """Whether power failed while the log's next header was written, before its state was."""
    states = page.stored_states
    entry = page.entry(slot)
    return (
        page.state == nvs_log.ACTIVE
        and states.count(nvs_log.EMPTY, slot) == nvs_log.ENTRY_COUNT - slot
        and is_erased(_rest(page, slot + 1))
        and not (entry.consistent and entry.span == 1)
    )


def _unfinished(log: Log) -> Iterator[Damage]:
    """Interrupted items of which no earlier value is left."""
    for page, entry in log.unfinished:
        wanted = (entry.namespace, entry.key, nvs_log.NO_CHUNK)
        if wanted not in log.index():
            yield Damage(
                page.slot_offset(entry.slot),
                f"an interrupted write of {entry.name}, and no earlier value",
                "a complete value",
            )


def _same(one: tuple[Page, Entry], other: tuple[Page, Entry]) -> bool:
    """Whether two items say the same; blob indices do, where their size and chunks agree."""
    (page, entry), (other_page, other_entry) = one, other
    if entry.type != other_entry.type or entry.value != other_entry.value:
        return False
    if entry.type not in nvs_log.VARIABLE_LENGTH:
        return True
    return page.value(entry) == other_page.value(other_entry)


def _contradictions(log: Log) -> Iterator[Damage]:
    """Two live values of one key that differ."""
    for copies in log.index().values():
        for copy in copies[1:]:
            if not _same(copies[0], copy):
                page, entry = copy
                yield Damage(
                    page.slot_offset(entry.slot),
                    f"a second live value of {entry.name}, other than the first",
                    "one live value",
                )


def _erased_items(page: Page) -> Iterator[Entry]:
    """Erased items that are still whole: header and data have their CRCs."""
    slot = page.states.find(nvs_log.ERASED)
    while slot >= 0:
        entry = page.entry(slot)
        whole = entry.consistent and (
            entry.type not in nvs_log.VARIABLE_LENGTH or page.value_intact(entry)
        )
        if whole:
            yield entry
        slot = page.states.find(nvs_log.ERASED, slot + (entry.span if whole else 1))


def _lost_values(log: Log) -> Iterator[Damage]:
    """Erased values that nothing replaces, or that are newer than the live one.

    NVS erases a value after it has written the next one, always further on in the log. A page
    whose items mounting moves to the end has its old place here: they were written there.
    """
    written = sorted(log.pages, key=lambda page: page.sequence)
    order = {id(page): number for number, page in enumerate(written)}
    for page in log.pages:
        for entry in _erased_items(page):
            if entry.type == nvs_log.BLOB_DATA:
                continue
            live = log.index().get((entry.namespace, entry.key, nvs_log.NO_CHUNK))
            where = page.slot_offset(entry.slot)
            if not live:
                found = f"an erased value of {entry.name} that no live one replaces"
                yield Damage(where, found, "a later live value")
                continue
            newest_page, newest = live[-1]
            later = (order[id(page)], entry.slot) > (order[id(newest_page)], newest.slot)
            if later and not _same((page, entry), live[-1]):
                found = f"an erased value of {entry.name} behind the live one"
                yield Damage(where, found, "a live value behind it")


def _given_up(log: Log) -> Iterator[Damage]:
    """Items of the page that the firmware starts again and that lie nowhere else."""
    page = log.given_up
    if page is None:
        return
    for entry in page.items():
        copies = log.index().get(nvs_log.identity(entry), [])
        if not any(_same((page, entry), copy) for copy in copies):
            yield Damage(
                page.slot_offset(entry.slot),
                f"{entry.name} on a page that the firmware erases, and nowhere else",
                "a copy of an item of the page that is being freed",
            )


def _undefined_namespaces(log: Log) -> Iterator[Damage]:
    live = list(log.live())
    defined = {
        entry.value[0] for _, entry in live if entry.namespace == nvs_log.NAMESPACE_INDEX
    } | {nvs_log.NAMESPACE_INDEX}
    for page, entry in live:
        if entry.namespace not in defined:
            yield Damage(
                page.slot_offset(entry.slot),
                f"{entry.name} of namespace index {entry.namespace}",
                "a namespace entry with that index",
            )


def has_traces(log: Log) -> bool:
    """Whether a slot is erased or something was mended: only then is there more to look for."""
    return bool(log.repairs) or any(nvs_log.ERASED in page.states for page in log.pages)


def repairs(log: Log, damage: Iterable[Damage]) -> list[Damage]:
    """What mounting mends and `damage` does not tell, in the order of offsets."""
    told = {one.offset for one in damage}
    found = [one for one in log.repairs if one.offset not in told]
    found += [one for one in _interrupted(log) if one.offset not in told]
    return sorted(set(found))


def _interrupted(log: Log) -> Iterator[Damage]:
    """Writes that a power loss has ended; those on a page that is given up belong to its repair."""
    for page, entry in log.unfinished:
        if page is not log.given_up:
            found = f"an interrupted write of {entry.name}"
            yield Damage(page.slot_offset(entry.slot), found, "a complete value")
    begun = {page.offset for page, _ in log.unfinished}
    for page in log.pages:
        slot = page.stored_states.find(nvs_log.EMPTY)
        half_written = page.state == nvs_log.ACTIVE and 0 <= slot < page.end
        if half_written and page.offset not in begun:
            found = "the start of an item in a slot that the bitmap calls empty"
            yield Damage(page.slot_offset(slot), found, "0xff")


@dataclass(frozen=True, slots=True)
class Leftover:
    """An old value that is erased and can still be read. `offset` is that of its first slot.

    `type` is the NVS type, `data` the value; a blob in chunks has those of its chunks that are
    left, one behind the other. Of a private key in PEM whose item is no longer whole nothing but
    its place is told: `key` and `type` are None.
    """

    offset: int
    namespace: int | None
    key: str | None
    type: int | None
    data: bytes = field(default=b"", repr=False)

    @property
    def is_pem_key(self) -> bool:
        """Whether the value is, or begins with, a private key in PEM."""
        return self.key is None or next(_pem_keys(self.data), None) is not None


_PEM_BEGIN: Final = b"-----BEGIN "
_PEM_KEY: Final = b"PRIVATE KEY-----"
_PEM_LABEL: Final = 32
"""Bytes in which the label of a PEM private key ends, whatever kind it names (RFC 7468)."""


def _pem_keys(data: bytes) -> Iterator[int]:
    """Where private keys in PEM begin."""
    at = data.find(_PEM_BEGIN)
    while at >= 0:
        behind = at + len(_PEM_BEGIN)
        if _PEM_KEY in data[behind : behind + _PEM_LABEL]:
            yield at
        at = data.find(_PEM_BEGIN, behind)


def leftovers(log: Log, damage: Iterable[Damage]) -> Iterator[Leftover]:
    """Erased values that can still be read, unless a live one says the same.

    Numbers are left out, and so is what `damage` tells already.
    """
    pages = [page for page in log.pages if nvs_log.ERASED in page.states]
    if not pages:
        return
    told = {one.offset for one in damage}
    live = {(one.namespace, one.key, one.data) for one in _joined(_values(log.live()))}
    for one in _joined(_erased_values(pages, told)):
        if one.data and (one.namespace, one.key, one.data) not in live:
            yield one
    for page in pages:
        yield from _broken_keys(page, told)


_Value = tuple[Page, Entry, bytes]


def _values(entries: Iterable[tuple[Page, Entry]]) -> Iterator[_Value]:
    """The strings, blobs and chunks among items, with what they hold."""
    for page, entry in entries:
        if entry.type in nvs_log.VARIABLE_LENGTH:
            yield page, entry, page.value(entry)


def _erased_values(pages: Iterable[Page], told: set[int]) -> Iterator[_Value]:
    """Those that are erased and not told yet, oldest page first."""
    erased = [(page, entry) for page in pages for entry in _erased_items(page)]
    lost = {
        (entry.namespace, entry.key, nvs_log.blob_index(entry).chunk_start)
        for page, entry in erased
        if entry.type == nvs_log.BLOB_INDEX and page.slot_offset(entry.slot) in told
    }
    for page, entry, value in _values(erased):
        start = entry.chunk & nvs_log.SECOND_VERSION
        of_lost = entry.type == nvs_log.BLOB_DATA and (entry.namespace, entry.key, start) in lost
        if not of_lost and page.slot_offset(entry.slot) not in told:
            yield page, entry, value


def _joined(values: Iterable[_Value]) -> Iterator[Leftover]:
    """Whole values: chunks of which each has the number behind the other's are one blob."""
    parts: list[list[_Value]] = []
    last: dict[tuple[int, bytes], list[_Value]] = {}
    for value in values:
        _, entry, _ = value
        before = last.get((entry.namespace, entry.key))
        if before and entry.type == nvs_log.BLOB_DATA and entry.chunk == before[-1][1].chunk + 1:
            before.append(value)
            continue
        parts.append([value])
        if entry.type == nvs_log.BLOB_DATA:
            last[entry.namespace, entry.key] = parts[-1]
    for group in parts:
        page, entry, _ = group[0]
        data = b"".join(value for _, _, value in group)
        where = page.slot_offset(entry.slot)
        yield Leftover(where, entry.namespace, entry.name, entry.type, data)


def _broken_keys(page: Page, told: set[int]) -> Iterator[Leftover]:
    """Private keys in PEM in erased slots that belong to no whole item."""
    starts = list(_pem_keys(page.data))
    if not starts:
        return
    whole = {
        slot for entry in _erased_items(page) for slot in range(entry.slot, entry.slot + entry.span)
    }
    for start in starts:
        slot = (start - nvs_log.ENTRIES_OFFSET) // nvs_log.ENTRY_SIZE
        where = page.slot_offset(slot)
        erased = 0 <= slot < nvs_log.ENTRY_COUNT and page.states[slot] == nvs_log.ERASED
        if erased and slot not in whole and where not in told:
            yield Leftover(where, None, None, None)
