"""A small model of a device that writes NVS for years, and loses its power at any moment.

`Device` writes as ESP-IDF does: header slot, its state, data, their states, and only then the
older value is erased; a page that is full is followed by a fresh one, and the last free page is
used to reclaim another. After every such step a picture of the flash is taken. What is read from
any of these pictures has to be what the device was told: the old value or the new one of the key
that was being written, and the very values of all others.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import (
    NVS_ACTIVE,
    NVS_CHUNK,
    NVS_ERASED,
    NVS_FREEING,
    NVS_FULL,
    NVS_SLOT,
    NVS_U16,
    NVS_WRITTEN,
    NvsPage,
    nvs_data,
    nvs_image,
    nvs_index,
    nvs_namespace,
    nvs_number,
    nvs_string,
)

from espcert_formats import items as kinds
from espcert_formats import nvs

PAGES = 6
SIZE = PAGES * 4096
NAMESPACE = 1

Value = int | bytes

STRINGS = {
    "dev_cert": kinds.DEVICE_CERT,
    "ca_cert": kinds.CA_CERT,
    "priv_key": kinds.PRIVATE_KEY,
}
BLOBS = {"cipher_c": kinds.DS_CIPHERTEXT, "iv": kinds.DS_IV}
NUMBERS = ("rsa_len", "ds_key_id")


@dataclass
class Place:
    """Where an item lies; `version` is the first chunk number of the blob that it belongs to."""

    page: NvsPage
    slot: int
    slots: int
    raw: bytes
    version: int = 0


@dataclass
class Device:
    """Flash with pages by position (None is erased), and where the live items are."""

    flash: list[NvsPage | None] = field(default_factory=lambda: [None] * PAGES)
    sequence: int = 0
    live: dict[str, list[Place]] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    record: bool = False
    pictures: list[bytes] = field(default_factory=list)
    active: NvsPage = field(init=False)

    def __post_init__(self) -> None:
        self.active = self.fresh_page()
        self.live["namespace"] = [self.append(nvs_namespace("esp_secure_cert", NAMESPACE))]

    def image(self) -> bytes:
        parts = (b"\xff" * 4096 if page is None else page for page in self.flash)
        return nvs_image(*parts, size=SIZE)

    def step(self) -> None:
        """The flash was changed: power may be lost now."""
        if self.record:
            self.pictures.append(self.image())

    # Pages

    def fresh_page(self) -> NvsPage:
        page = NvsPage(self.sequence)
        self.sequence += 1
        self.flash[self.flash.index(None)] = page
        self.step()
        return page

    def set_state(self, page: NvsPage, state: int) -> None:
        page.data[:4] = struct.pack("<I", state)
        self.step()

    def next_page(self) -> None:
        self.set_state(self.active, NVS_FULL)
        if self.flash.count(None) > 1:
            self.active = self.fresh_page()
        else:
            self.reclaim()

    def reclaim(self) -> None:
        """Move the live items of the page with the fewest to a fresh one, and erase it."""
        pages = [page for page in self.flash if page is not None]
        victim = min(pages, key=lambda page: sum(one.slots for one in self.lying_on(page)))
        self.set_state(victim, NVS_FREEING)
        self.active = self.fresh_page()
        for place in sorted(self.lying_on(victim), key=lambda one: one.slot):
            moved = self.append(place.raw)
            place.page, place.slot = moved.page, moved.slot
        self.flash[self.flash.index(victim)] = None
        self.step()

    def lying_on(self, page: NvsPage) -> list[Place]:
        return [one for places in self.live.values() for one in places if one.page is page]

    # Items

    def append(self, raw: bytes) -> Place:
        """Write an item slot by slot to the active page, which has the room."""
        page, first = self.active, self.active.used
        slots = len(raw) // NVS_SLOT
        page.used += slots
        page.write(first, raw[:16])
        self.step()
        page.write(first, raw[:NVS_SLOT])
        self.step()
        self.mark(page, first, 1, NVS_WRITTEN)
        if slots > 1:
            page.write(first + 1, raw[NVS_SLOT : len(raw) // 2])
            self.step()
            page.write(first + 1, raw[NVS_SLOT:])
            self.step()
            self.mark(page, first + 1, slots - 1, NVS_WRITTEN)
        return Place(page, first, slots, raw)

    def mark(self, page: NvsPage, first: int, count: int, state: int) -> None:
        """The states of slots, the last ones first; a word of the bitmap holds sixteen."""
        for slot in reversed(range(first, first + count)):
            page.mark(slot, state)
            if slot % 16 == 0 or slot == first:
                self.step()

    def put(self, raw: bytes) -> Place:
        self.make_room(len(raw) // NVS_SLOT)
        return self.append(raw)

    def make_room(self, slots: int) -> None:
        for _ in range(2 * PAGES):
            if self.active.free >= slots:
                return
            self.next_page()
        raise MemoryError("the flash is full: the test writes too much")

    def write(self, key: str, value: Value) -> None:
        older = self.live.get(key, [])
        version = 0x80 if older and not older[-1].version else 0
        if isinstance(value, int):
            kind = NVS_U16 if key == "rsa_len" else 1
            new = [self.put(nvs_number(NAMESPACE, key, value, kind))]
        elif key in BLOBS:
            new = self.write_blob(key, value, version)
        else:
            new = [self.put(nvs_string(NAMESPACE, key, value))]
        # What was moved meanwhile is erased where it lies now.
        for place in reversed(older):
            self.mark(place.page, place.slot, place.slots, NVS_ERASED)
        self.live[key], self.values[key] = new, value

    def write_blob(self, key: str, data: bytes, version: int) -> list[Place]:
        """Chunks as large as the pages have room, then the index."""
        places: list[Place] = []
        self.live[f"new {key}"] = places
        rest = data
        while rest:
            self.make_room(2)
            part, rest = self.cut(rest)
            number = version + len(places)
            places.append(self.append(nvs_data(NAMESPACE, NVS_CHUNK, key, part, chunk=number)))
        chunks = len(places)
        places.append(self.put(nvs_index(NAMESPACE, key, len(data), chunks, version)))
        places[-1].version = version
        return self.live.pop(f"new {key}")

    def cut(self, data: bytes) -> tuple[bytes, bytes]:
        room = (self.active.free - 1) * NVS_SLOT
        return data[:room], data[room:]


def read(image: bytes) -> dict[str, Value]:
    """What the image holds, by key."""
    contents = nvs.read(image)
    assert contents.mountable
    found: dict[str, Value] = {}
    for key, kind in {**STRINGS, **BLOBS}.items():
        for item in contents.of_kind(kind):
            assert item.intact
            found[key] = item.data
    for item in contents.of_kind(kinds.DS_CONTEXT):
        numbers = zip(NUMBERS, (item.rsa_bits, item.efuse_key_id), strict=True)
        found.update({key: number for key, number in numbers if number is not None})
    return found


def assert_no_damage(image: bytes) -> None:
    """Nothing is told of it but the old values that erasing leaves in flash."""
    codes = {anomaly.code for anomaly in nvs.read(image).anomalies}
    assert codes <= {kinds.NVS_OLD_KEY, kinds.NVS_OLD_VALUE}


Write = tuple[str, Value]


def writes(largest: int) -> st.SearchStrategy[Write]:
    texts = st.integers(1, largest).flatmap(lambda n: st.just(n).map(text))
    return st.one_of(
        st.tuples(st.sampled_from(sorted(STRINGS)), texts),
        st.tuples(st.just("cipher_c"), texts),
        st.tuples(st.just("iv"), st.binary(min_size=16, max_size=16)),
        st.tuples(st.just("rsa_len"), st.integers(0, 0xFFFF)),
        st.tuples(st.just("ds_key_id"), st.integers(0, 255)),
    )


def text(length: int) -> bytes:
    """Bytes that tell their length, so that no two values of different length look alike."""
    return (b"%d;" % length * length)[: length - 1] + b"\0"


@settings(deadline=None)
@given(st.lists(writes(1500), min_size=1, max_size=40))
def test_the_last_value_counts(history: list[Write]) -> None:
    device = Device()
    for key, value in history:
        device.write(key, value)
    image = device.image()
    assert read(image) == device.values
    assert_no_damage(image)


@settings(deadline=None, max_examples=30)
@given(st.lists(writes(1500), max_size=12), writes(1500))
def test_power_lost_at_any_step(history: list[Write], last: Write) -> None:
    device = Device()
    for key, value in history:
        device.write(key, value)
    check_interrupted(device, *last)


def check_interrupted(device: Device, key: str, value: Value) -> int:
    """Write with a picture after every step; the number of pictures."""
    before = dict(device.values)
    device.record = True
    device.write(key, value)
    device.record = False
    for picture in device.pictures:
        assert read(picture) in (before, device.values)
    number = len(device.pictures)
    device.pictures.clear()
    return number


def worn() -> Iterator[Write]:
    """Rewrites that fill the flash several times over."""
    for turn in range(30):
        yield "cipher_c", text(1200 + turn)
        yield "dev_cert", text(900 + turn)
        yield "ds_key_id", turn
        if turn % 5 == 0:
            yield "priv_key", text(1700)


FIRST: list[Write] = [("ca_cert", text(3000)), ("iv", text(16)), ("rsa_len", 2048)]


def test_power_lost_while_pages_are_reclaimed() -> None:
    device = Device()
    for key, value in FIRST:
        device.write(key, value)
    pictures = sum(check_interrupted(device, key, value) for key, value in worn())
    assert device.sequence > 2 * PAGES
    assert pictures > 1000


def test_all_states_of_pages_are_met() -> None:
    device = Device(record=True)
    for key, value in worn():
        device.write(key, value)
    states = {picture[at : at + 4] for picture in device.pictures for at in range(0, SIZE, 4096)}
    wanted = {struct.pack("<I", state) for state in (NVS_ACTIVE, NVS_FULL, NVS_FREEING)}
    assert wanted <= states


@pytest.mark.parametrize("size", [1, 31, 32, 33, 3999, 4000, 4001, 8000])
def test_blobs_of_all_sizes(size: int) -> None:
    device = Device()
    for _ in range(3):
        device.write("cipher_c", text(size))
    assert read(device.image()) == {"cipher_c": text(size)}
    assert_no_damage(device.image())
