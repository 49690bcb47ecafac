"""What a sound NVS log never holds: signs of damage that mounting it does not show.

The entry states and the pages' states are covered by no checksum. A bit that fell over in them
makes a value appear, disappear or change places with an older one; what remains in flash of the
others tells. Nothing here changes what is read.
"""

from __future__ import annotations

from collections.abc import Iterator

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

    NVS erases a value after it has written the next one, always further on in the log.
    """
    order = {id(page): number for number, page in enumerate(log.pages)}
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
