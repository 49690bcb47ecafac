"""NVS: old values that erasing leaves readable, and what mounting mends after a power loss."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import (
    FIXTURES,
    NVS_ACTIVE,
    NVS_BLOB,
    NVS_CHUNK,
    NVS_FREEING,
    NVS_FULL,
    NVS_SLOT,
    NVS_SLOTS,
    NVS_U16,
    NVS_WRITTEN,
    NvsPage,
    known_images,
    nvs_blob,
    nvs_data,
    nvs_image,
    nvs_index,
    nvs_namespace,
    nvs_number,
    nvs_string,
    real_image,
    sha256,
)

from espcert_formats import items as kinds
from espcert_formats import nvs, nvs_audit, nvs_log
from espcert_formats.items import Anomaly
from espcert_formats.nvs_audit import Leftover

NS = nvs_namespace("esp_secure_cert", 1)
PEM = b"-----BEGIN EC PRIVATE KEY-----\n" + b"c2VjcmV0" * 8 + b"\n-----END EC PRIVATE KEY-----\n\0"
CERT = b"-----BEGIN CERTIFICATE-----\n" + b"cHVibGlj" * 8 + b"\n-----END CERTIFICATE-----\n\0"
OLD_CODES = (kinds.NVS_OLD_KEY, kinds.NVS_OLD_VALUE)


def key(data: bytes, namespace: int = 1) -> bytes:
    return nvs_string(namespace, "priv_key", data)


def cert(data: bytes) -> bytes:
    return nvs_string(1, "dev_cert", data)


def page(*items: bytes, sequence: int = 0, state: int = NVS_ACTIVE) -> NvsPage:
    return NvsPage(sequence, state).add(*items)


def worn(*items: bytes, erased: int) -> bytes:
    """An image with a page of items, the one with this number (from 0) erased."""
    built = page(NS, *items)
    first = 1 + sum(len(item) // NVS_SLOT for item in items[:erased])
    return nvs_image(built.erase(first, len(items[erased]) // NVS_SLOT))


def told(data: bytes) -> list[tuple[str, str | None, int]]:
    """Code, kind and offset of everything that is told of the image."""
    return [(one.code, one.kind, one.offset) for one in nvs.read(data).anomalies]


def codes(data: bytes) -> list[str]:
    return [one.code for one in nvs.read(data).anomalies]


def slot_offset(slot: int, page_number: int = 0) -> int:
    return page_number * 4096 + 64 + slot * NVS_SLOT


def leftovers(data: bytes) -> list[Leftover]:
    log = nvs_log.mount(data)
    return list(nvs_audit.leftovers(log, nvs_audit.audit(log)))


# --- Old values --------------------------------------------------------------------------------


def test_an_old_key() -> None:
    data = worn(key(PEM), key(PEM[:-1] + b"new\0"), erased=0)
    assert told(data) == [(kinds.NVS_OLD_KEY, kinds.PRIVATE_KEY, slot_offset(1))]
    (left,) = leftovers(data)
    assert (left.namespace, left.key, left.type, left.data) == (1, "priv_key", 0x21, PEM)


def test_a_key_counts_whatever_it_holds() -> None:
    data = worn(key(b"no PEM at all\0"), key(b"nor here\0"), erased=0)
    assert told(data) == [(kinds.NVS_OLD_KEY, kinds.PRIVATE_KEY, slot_offset(1))]


def test_an_old_certificate() -> None:
    data = worn(cert(CERT), cert(b"new\0"), erased=0)
    assert told(data) == [(kinds.NVS_OLD_VALUE, kinds.DEVICE_CERT, slot_offset(1))]


@pytest.mark.parametrize("label", [b"RSA ", b"EC ", b"", b"ENCRYPTED ", b"OPENSSH "])
def test_a_key_under_another_name_in_another_namespace(label: bytes) -> None:
    """An application's own key is a private key, too; its other values are its own business."""
    app = nvs_namespace("app", 2)
    held = b"-----BEGIN " + label + b"PRIVATE KEY-----\nAAAA\0"
    built = page(NS, app, nvs_string(2, "tls", held), nvs_string(2, "tls", b"new\0"))
    found = told(nvs_image(built.erase(2, 3)))
    assert found == [(kinds.NVS_OLD_KEY, None, slot_offset(2))]
    built = page(NS, app, nvs_string(2, "ssid", CERT), nvs_string(2, "ssid", b"new\0"))
    assert codes(nvs_image(built.erase(2, 1 + -(-len(CERT) // 32)))) == []


@pytest.mark.parametrize("namespace", ["pre_prov", "esp_secure_cert"])
def test_both_namespaces_of_credentials_count(namespace: str) -> None:
    names = [nvs_namespace("esp_secure_cert", 1), nvs_namespace("pre_prov", 2)]
    index = 1 if namespace == "esp_secure_cert" else 2
    built = page(*names, key(b"old\0", index), key(b"new\0", index)).erase(2, 2)
    found = [one for one in told(nvs_image(built)) if one[0] in OLD_CODES]
    assert found == [(kinds.NVS_OLD_KEY, kinds.PRIVATE_KEY, slot_offset(2))]


def test_what_is_not_old() -> None:
    """A copy of the live value, a number, an empty string, and what was overwritten."""
    assert codes(worn(key(PEM), key(PEM), erased=0)) == []
    numbers = [nvs_number(1, "rsa_len", bits, NVS_U16) for bits in (2048, 3072)]
    assert codes(worn(*numbers, erased=0)) == []
    assert codes(worn(cert(b""), cert(b"new\0"), erased=0)) == []
    purged = page(NS, bytes(3 * NVS_SLOT), key(PEM)).erase(1, 3)
    assert codes(nvs_image(purged)) == []


def test_several_old_values_are_told_one_by_one() -> None:
    built = page(NS, *(cert(b"%d\0" % number) for number in range(4)), key(b"1\0"), key(b"2\0"))
    built.erase(1, 6).erase(9, 2)
    assert told(nvs_image(built)) == [
        (kinds.NVS_OLD_KEY, kinds.PRIVATE_KEY, slot_offset(9)),
        *((kinds.NVS_OLD_VALUE, kinds.DEVICE_CERT, slot_offset(slot)) for slot in (1, 3, 5)),
    ]


def test_an_old_blob_in_chunks_is_one_value() -> None:
    parts = [nvs_data(1, NVS_CHUNK, "cipher_c", b"%d" % n * 1000, chunk=n) for n in range(3)]
    old = [*parts, nvs_index(1, "cipher_c", 3000, 3)]
    new = nvs_blob(1, "cipher_c", b"n" * 600, 0x80)
    slots = sum(len(item) for item in old) // NVS_SLOT
    first = page(NS, *old, state=NVS_FULL).erase(1, slots)
    data = nvs_image(first, page(*new, sequence=1))
    assert told(data) == [(kinds.NVS_OLD_VALUE, kinds.DS_CIPHERTEXT, slot_offset(1))]
    (left,) = leftovers(data)
    assert left.data == b"0" * 1000 + b"1" * 1000 + b"2" * 1000


def test_an_old_blob_of_the_first_form() -> None:
    data = worn(nvs_data(1, NVS_BLOB, "iv", b"o" * 16), *nvs_blob(1, "iv", b"n" * 16), erased=0)
    assert told(data) == [(kinds.NVS_OLD_VALUE, kinds.DS_IV, slot_offset(1))]


# --- Keys whose item is broken -----------------------------------------------------------------


def test_an_old_key_without_its_header() -> None:
    old = key(PEM)
    built = page(NS, key(b"new\0"), bytes(NVS_SLOT) + old[NVS_SLOT:])
    built.erase(3, len(old) // NVS_SLOT)
    assert told(nvs_image(built)) == [(kinds.NVS_OLD_KEY, None, slot_offset(4))]
    (left,) = leftovers(nvs_image(built))
    assert (left.key, left.type, left.data) == (None, None, b"")


def test_a_broken_old_certificate_is_nothing() -> None:
    old = cert(CERT)
    built = page(NS, key(b"new\0"), bytes(NVS_SLOT) + old[NVS_SLOT:])
    assert codes(nvs_image(built.erase(3, len(old) // NVS_SLOT))) == []


def test_a_key_of_an_interrupted_write() -> None:
    """Its header is written, its first data slot too, the state of that one is not."""
    first = page(NS, key(b"old\0"))
    first.write(3, key(PEM)[: 2 * NVS_SLOT])
    first.mark(3, NVS_WRITTEN)
    assert told(nvs_image(first)) == [
        (kinds.NVS_REPAIR, None, slot_offset(3)),
        (kinds.NVS_OLD_KEY, None, slot_offset(4)),
    ]


def test_a_live_key_is_no_old_one() -> None:
    built = page(NS, key(PEM), cert(b"old\0"), cert(b"new\0"))
    built.erase(1 + len(key(PEM)) // NVS_SLOT, 2)
    assert [code for code in codes(nvs_image(built)) if code == kinds.NVS_OLD_KEY] == []


# --- Damage is told once -----------------------------------------------------------------------


@pytest.mark.parametrize("items", [[key(PEM)], nvs_blob(1, "cipher_c", b"c" * 1200)])
def test_a_value_that_nothing_replaces_is_damage_alone(items: list[bytes]) -> None:
    slots = sum(len(item) for item in items) // NVS_SLOT
    data = nvs_image(page(NS, *items).erase(1, slots))
    assert set(codes(data)) == {kinds.NVS_DAMAGE}


def test_a_value_behind_the_live_one_is_damage_alone() -> None:
    data = worn(key(b"older\0"), key(PEM), erased=1)
    assert set(codes(data)) == {kinds.NVS_DAMAGE}


def one_place_is_told_once(data: bytes) -> None:
    anomalies = nvs.read(data).anomalies
    places = {code: [a.offset for a in anomalies if a.code == code] for code in set(codes(data))}
    damage = set(places.pop(kinds.NVS_DAMAGE, []))
    for code, offsets in places.items():
        if code != kinds.ITEM_CRC:
            assert len(offsets) == len(set(offsets))
            assert not damage & set(offsets)
    repaired = set(places.get(kinds.NVS_REPAIR, []))
    assert not repaired & set(places.get(kinds.NVS_OLD_VALUE, []))


KNOWN = [data for data in known_images() if nvs.recognise(data)]


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_changed_images(draws: st.DataObject) -> None:
    """Above all in the bitmaps and the states of pages: nothing raises, nothing is told twice."""
    data = bytearray(draws.draw(st.sampled_from(KNOWN)))
    for _ in range(draws.draw(st.integers(1, 6))):
        at = draws.draw(st.integers(0, len(data) // 4096 - 1)) * 4096
        at += draws.draw(st.one_of(st.integers(32, 63), st.integers(0, 200)))
        data[at] = draws.draw(st.sampled_from([0x00, 0x02, 0x0A, 0xAA, 0x20, 0xF0, 0xF8, 0xFC]))
    if nvs.recognise(bytes(data)):
        one_place_is_told_once(bytes(data))


# --- Repairs -----------------------------------------------------------------------------------


def repair(data: bytes) -> Anomaly:
    (found,) = nvs.read(data).anomalies
    assert found.code == kinds.NVS_REPAIR
    return found


def test_a_newer_item_on_the_same_page() -> None:
    found = repair(nvs_image(page(NS, cert(b"old\0"), cert(b"new\0"))))
    assert (found.offset, found.kind) == (slot_offset(1), None)
    assert "older item of dev_cert" in found.found


def test_a_newer_item_on_a_later_page() -> None:
    older = page(NS, cert(b"old\0"), state=NVS_FULL)
    found = repair(nvs_image(older, page(cert(b"new\0"), sequence=1)))
    assert found.offset == slot_offset(1)


def test_an_older_key_that_is_not_erased_yet_is_told_as_one() -> None:
    data = nvs_image(page(NS, key(PEM), key(b"new\0")))
    assert [code for code, _, _ in told(data)] == [kinds.NVS_REPAIR, kinds.NVS_OLD_KEY]


def test_a_page_that_was_being_freed() -> None:
    old = page(NS, cert(CERT), key(PEM), sequence=3, state=NVS_FREEING)
    found = repair(nvs_image(page(NS, sequence=4), old))
    assert found.offset == 0x1000


def test_old_values_on_a_page_that_was_being_freed_are_no_damage() -> None:
    """Its items become the newest of all, but its erased ones are as old as they were."""
    old = page(NS, cert(b"old\0"), sequence=3, state=NVS_FREEING).erase(1, 2)
    full = page(cert(b"new\0"), sequence=4, state=NVS_FULL)
    data = nvs_image(old, full, page(NS, sequence=5), size=0x5000)
    assert codes(data) == [kinds.NVS_REPAIR, kinds.NVS_OLD_VALUE]


def test_a_value_behind_that_on_a_page_that_was_being_freed_is_damage() -> None:
    old = page(NS, cert(b"live\0"), sequence=3, state=NVS_FREEING)
    full = page(cert(b"newer\0"), sequence=4, state=NVS_FULL).erase(0, 2)
    data = nvs_image(old, full, page(NS, sequence=5), size=0x5000)
    assert kinds.NVS_DAMAGE in codes(data)


@pytest.mark.parametrize("size", [16, 1200])
def test_chunks_whose_index_was_not_written_yet(size: int) -> None:
    old, new = nvs_blob(1, "iv", b"o" * size), nvs_blob(1, "iv", b"n" * size, 0x80)
    data = nvs_image(page(NS, *old, new[0]))
    at = slot_offset(1 + sum(len(item) for item in old) // NVS_SLOT)
    assert repair(data).offset == at
    assert nvs.read(data).of_kind(kinds.DS_IV)[0].data == b"o" * size


def test_chunks_whose_index_was_erased_before_them() -> None:
    old, new = nvs_blob(1, "iv", b"o" * 16), nvs_blob(1, "iv", b"n" * 16, 0x80)
    built = page(NS, *old, *new).erase(3)
    assert repair(nvs_image(built)).offset == slot_offset(1)


def test_chunks_beside_an_old_blob() -> None:
    old, new = nvs_data(1, NVS_BLOB, "iv", b"o" * 16), nvs_blob(1, "iv", b"n" * 16)
    assert repair(nvs_image(page(NS, old, new[0]))).offset == slot_offset(3)


@pytest.mark.parametrize(
    "beside",
    [
        [],
        nvs_blob(1, "cipher_c", b"c" * 16),
        [nvs_index(1, "iv", 16, 1)],
        nvs_blob(2, "iv", b"i" * 16),
    ],
    ids=["nothing", "another-key", "an-index-alone", "another-namespace"],
)
def test_chunks_without_an_older_value_are_damage(beside: list[bytes]) -> None:
    orphan = nvs_blob(1, "iv", b"n" * 16, 0x80)[0]
    assert kinds.NVS_DAMAGE in codes(nvs_image(page(NS, *beside, orphan)))


def test_chunks_of_the_version_of_the_live_blob_are_damage() -> None:
    extra = nvs_data(1, NVS_CHUNK, "iv", b"n" * 16, chunk=1)
    assert kinds.NVS_DAMAGE in codes(nvs_image(page(NS, *nvs_blob(1, "iv", b"o" * 16), extra)))


# --- The images --------------------------------------------------------------------------------


def fixture(name: str) -> bytes:
    return (FIXTURES / "images" / f"{name}.bin").read_bytes()


def test_the_worn_fixture() -> None:
    """The old certificate and key of its recipe, and they are those of another device."""
    data = fixture("nvs_worn")
    assert [(code, kind) for code, kind, _ in told(data)] == [
        (kinds.NVS_OLD_KEY, kinds.PRIVATE_KEY),
        (kinds.NVS_OLD_VALUE, kinds.DEVICE_CERT),
    ]
    old = {left.key: left.data for left in leftovers(data)}
    inputs = FIXTURES / "inputs"
    assert old == {
        "priv_key": (inputs / "ec_chain.key").read_bytes() + b"\0",
        "dev_cert": (inputs / "ec_chain_first.pem").read_bytes() + b"\0",
    }
    assert all(data[left.offset + 32 :].startswith(left.data) for left in leftovers(data))


def test_the_freeing_fixture() -> None:
    assert told(fixture("nvs_freeing")) == [(kinds.NVS_REPAIR, None, 0x2000)]


def test_the_fixture_with_a_value_twice() -> None:
    assert codes(fixture("nvs_twice")) == [kinds.NVS_REPAIR] * 2


REWRITTEN = ["dev_rewritten", "dev_gc", "dev_v1_upgraded", "legacy_dev_rewritten"]


@pytest.mark.parametrize("name", REWRITTEN)
def test_real_worn_images(name: str) -> None:
    """What another device's first life left: certificate, ciphertext and IV of device A."""
    data = real_image(f"nvs_worn/{name}.bin")
    anomalies = nvs.read(data).anomalies
    assert {(one.code, one.kind) for one in anomalies} == {
        (kinds.NVS_OLD_VALUE, kind)
        for kind in (kinds.DEVICE_CERT, kinds.DS_CIPHERTEXT, kinds.DS_IV)
    }
    (first,) = nvs.read(real_image("nvs_rsa_ds_c3/partition.bin")).of_kind(kinds.DEVICE_CERT)
    assert sha256(first.data) in {sha256(left.data) for left in leftovers(data)}
    live = {sha256(item.data) for item in nvs.read(data).items}
    assert not live & {sha256(left.data) for left in leftovers(data)}


@pytest.mark.parametrize("name", ["both_namespaces", "ds_multipage_0x6000", "nods_v1_0x4000"])
def test_real_images_without_wear(name: str) -> None:
    assert codes(real_image(f"nvs_worn/{name}.bin")) == []


def test_the_real_image_of_a_power_loss() -> None:
    (code,) = codes(real_image("nvs_worn/dev_powerloss_1.bin"))
    assert code == kinds.NVS_REPAIR


def test_a_value_is_never_shown() -> None:
    for data in [*KNOWN, worn(key(PEM), key(b"new\0"), erased=0)]:
        shown = repr(nvs.read(data)) + "".join(map(repr, leftovers(data)))
        assert "BEGIN" not in shown
        assert "c2VjcmV0" not in shown


# --- Cost --------------------------------------------------------------------------------------


def test_a_log_without_erased_slots_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("erased values were looked for")

    monkeypatch.setattr(nvs_audit, "_joined", fail)
    monkeypatch.setattr(nvs_audit, "_broken_keys", fail)
    assert nvs.read(fixture("nvs_ec")).items
    with pytest.raises(AssertionError):
        nvs.read(fixture("nvs_worn"))


def erased_pages(pages: int, item: bytes) -> bytes:
    """Pages that are full of one erased item over and over, and a live one at the end."""
    items = [item] * ((NVS_SLOTS - 1) // (len(item) // NVS_SLOT))
    built = [NvsPage(number, NVS_FULL).add(NS, *items) for number in range(pages)]
    for one in built:
        one.erase(1, NVS_SLOTS - 1)
    return nvs_image(*built, page(key(b"live\0"), cert(b"live\0"), sequence=pages))


def lines_to_read(data: bytes) -> int:
    """How many lines of code are run to read an image: its cost, whatever the machine."""
    number = 0

    def count(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal number
        number += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        nvs.read(data)
    finally:
        sys.settrace(before)
    return number


@pytest.mark.parametrize(
    "item",
    [
        key(b"old\0"),
        key(PEM),
        nvs_data(1, NVS_CHUNK, "iv", b"i" * 16, chunk=0),
        nvs_string(1, "dev_cert", b"-----BEGIN " * 80 + b"\0"),
        b"-----BEGIN RSA PRIVATE KEY-----\n",
    ],
    ids=["keys", "pem-keys", "chunks", "beginnings", "broken-keys"],
)
def test_the_work_grows_with_the_erased_slots(item: bytes) -> None:
    few, many = (lines_to_read(erased_pages(pages, item)) for pages in (8, 16))
    assert many < 2.4 * few
