"""The reader against the firmware's own, on 12,000 damaged and changed images.

The first half is plain damage: there is no difference at all. In the second half a difference is
allowed for one item, and only where a condition that is read from the image's bytes says which
build option, or which defect of esp_secure_cert_mgr 2.9.3 or ESP-IDF v5.5, makes it. How many
rows each condition explains is fixed: a reader that answers otherwise shows here.
"""

from __future__ import annotations

import json
import lzma
import struct
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import pytest
from tests.support import NVS_PAGE, SHARED, apply, crc, real_image, sha256

from espcert_formats import items as kinds
from espcert_formats import registry
from espcert_formats.items import Contents, Item

ANSWERS = SHARED / "firmware-answers" / "answers.jsonl.xz"
ROWS = 12_000
CHUNK = 1_000
PLAIN_DAMAGE = 6_000

pytestmark = pytest.mark.skipif(
    not ANSWERS.exists(), reason="the firmware's answers lie in ../shared beside the repository"
)

Answer = list[Any] | None


class Case(NamedTuple):
    """One row: an image, what the firmware answered, and what the reader made of it."""

    folder: str
    label: str
    data: bytes
    firmware: dict[str, Answer]
    contents: Contents | None
    ours: dict[str, Answer]

    @property
    def ds_build(self) -> bool:
        """Whether the firmware was built for the DS peripheral."""
        return "ds" in self.firmware


@cache
def answers() -> list[dict[str, Any]]:
    with lzma.open(ANSWERS, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def case_of(row: dict[str, Any]) -> Case:
    original = real_image(row["image"])
    size = max(len(original), 0x2000 if "tlv" in row["image"] else 0x6000)
    data = apply(original, row["changes"]).ljust(size, b"\xff")
    found = registry.read(data, row["label"])
    contents = None if found is None else found[1]
    folder = row["image"].split("/")[0]
    ours = {name: answer_of(name, contents) for name in row["firmware"]}
    return Case(folder, row["label"], data, row["firmware"], contents, ours)


def answer_of(name: str, contents: Contents | None) -> Answer:
    if contents is None:
        return None
    if name == "ds":
        return ds_answer(contents)
    item = usable(contents, name)
    return None if item is None else [len(item.data), sha256(item.data)]


def ds_answer(contents: Contents) -> Answer:
    names = (kinds.DS_CONTEXT, kinds.DS_IV, kinds.DS_CIPHERTEXT)
    context, iv, ciphertext = (usable(contents, name) for name in names)
    if context is None or iv is None or ciphertext is None:
        return None
    if context.rsa_bits is None or context.efuse_key_id is None:
        return None
    return [context.rsa_bits, context.efuse_key_id, sha256(iv.data), sha256(ciphertext.data)]


def usable(contents: Contents, kind: str) -> Item | None:
    """The first item of a kind with index 0, unless a checksum says that it is damaged."""
    first = next((item for item in contents.of_kind(kind) if item.index == 0), None)
    return first if first is not None and first.intact is not False else None


# --- Where the firmware answers otherwise ------------------------------------------------------
#
# Each condition takes a case and the name of the answer that differs. It looks at the image's
# bytes by itself, and it also says what the firmware must have answered.

MAGIC = b"\x78\x56\x34\x12"
CERTIFICATE_AREAS = {kinds.DEVICE_CERT: 64, kinds.CA_CERT: 2112}
CERTIFICATE_CAPACITY = {kinds.DEVICE_CERT: 2048, kinds.CA_CERT: 4096}
CIPHERTEXT_OF_BUILD = {"cust_flash_rsa_ds_c3": 1200, "cust_flash_legacy_rsa_ds_s2": 1584}


def is_cust_flash(case: Case) -> bool:
    return case.contents is not None and case.contents.layout.startswith("cust_flash")


def pair_by_label(case: Case, name: str) -> Answer:
    """The certificate as the firmware looks for it: the label alone tells which pair is whose."""
    swapped = case.label == "pre_prov"
    place = 8 if (name == kinds.CA_CERT) is not swapped else 0
    stored, length = struct.unpack_from("<IH", case.data, place)
    start = CERTIFICATE_AREAS[name]
    data = case.data[start : start + length]
    return [length, sha256(data)] if len(data) == length and crc(data) == stored else None


def pair_order_against_label(case: Case, name: str) -> bool:
    """The CRCs fit one order of the pairs, the partition's label stands for the other.

    The contract: the CRCs decide. Firmware: esp_secure_cert_read_metadata swaps by label.
    """
    return (
        is_cust_flash(case)
        and name in CERTIFICATE_AREAS
        and case.contents is not None
        and case.contents.label != case.label
        and case.firmware[name] == pair_by_label(case, name)
    )


def metadata_of_other_build(case: Case, name: str) -> bool:
    """The magic lies only where a build with (or without) the DS peripheral does not look.

    CONFIG_ESP_SECURE_CERT_DS_PERIPHERAL chooses the struct; a host has to read both.
    """
    own, other = (36, 24) if case.ds_build else (24, 36)
    return (
        is_cust_flash(case)
        and case.data[own : own + 4] != MAGIC
        and case.data[other : other + 4] == MAGIC
        and case.firmware[name] is None
    )


def ciphertext_of_other_length(case: Case, name: str) -> bool:
    """The DS ciphertext has not the length of the build's buffer, but a CRC that fits.

    A longer one is refused. A shorter one is returned with what the buffer held behind it,
    so that the firmware's digest is not that of the stored bytes; the rest agrees.
    """
    expected = CIPHERTEXT_OF_BUILD.get(case.folder)
    length = int.from_bytes(case.data[20:22], "little")
    if not is_cust_flash(case) or name != "ds" or expected is None or length == expected:
        return False
    firmware, ours = case.firmware[name], case.ours[name]
    if length > expected:
        return firmware is None
    return firmware is not None and ours is not None and firmware[:3] == ours[:3]


def not_mountable(case: Case, _name: str) -> bool:
    """The firmware's NVS refuses the partition as a whole; its items can still be read here."""
    contents = case.contents
    return contents is not None and not contents.mountable and not any(case.firmware.values())


def namespace_wildcard(case: Case, name: str) -> bool:
    """A namespace has the index 255, which Page::findItem takes for any namespace."""
    return (
        case.contents is not None
        and case.contents.layout.startswith("nvs")
        and case.ours[name] is None
        and any(page_defines_255(case.data[at:]) for at in range(0, len(case.data), NVS_PAGE))
    )


def page_defines_255(page: bytes) -> bool:
    slots = (page[at : at + 32] for at in range(64, NVS_PAGE - 32, 32))
    names = (b"esp_secure_cert\0", b"pre_prov".ljust(16, b"\0"))
    return any(
        slot[:2] == b"\x00\x01"
        and slot[24:25] == b"\xff"
        and slot[8:24] in names
        and crc(slot[:4] + slot[8:]) == int.from_bytes(slot[4:8], "little")
        for slot in slots
    )


REASONS: tuple[Callable[[Case, str], bool], ...] = (
    not_mountable,
    namespace_wildcard,
    metadata_of_other_build,
    pair_order_against_label,
    ciphertext_of_other_length,
)


def reasons_of(case: Case) -> set[str]:
    """Names of the conditions that explain the differences; `unexplained` among them if need be."""
    return {
        next((reason.__name__ for reason in REASONS if reason(case, name)), "unexplained")
        for name, answer in case.firmware.items()
        if answer != case.ours[name]
    }


EXPECTED: dict[int, dict[str, int]] = {
    6: {
        "not_mountable": 8,
        "metadata_of_other_build": 24,
        "pair_order_against_label": 24,
        "ciphertext_of_other_length": 3,
    },
    7: {
        "not_mountable": 8,
        "metadata_of_other_build": 36,
        "pair_order_against_label": 34,
        "ciphertext_of_other_length": 3,
    },
    8: {
        "not_mountable": 10,
        "namespace_wildcard": 1,
        "metadata_of_other_build": 34,
        "pair_order_against_label": 24,
        "ciphertext_of_other_length": 3,
    },
    9: {
        "not_mountable": 11,
        "metadata_of_other_build": 27,
        "pair_order_against_label": 33,
        "ciphertext_of_other_length": 4,
    },
    10: {
        "not_mountable": 12,
        "metadata_of_other_build": 26,
        "pair_order_against_label": 26,
        "ciphertext_of_other_length": 1,
    },
    11: {
        "not_mountable": 17,
        "metadata_of_other_build": 45,
        "pair_order_against_label": 30,
        "ciphertext_of_other_length": 3,
    },
}
"""Chunk → how many of its rows each condition explains; nothing in those not named.

In all: not_mountable 66, namespace_wildcard 1, metadata_of_other_build 192,
pair_order_against_label 171, ciphertext_of_other_length 17.
"""


CHUNKS = range(ROWS // CHUNK)


@cache
def cases(chunk: int) -> list[tuple[int, Case]]:
    rows = answers()[chunk * CHUNK : (chunk + 1) * CHUNK]
    return [(number, case_of(row)) for number, row in enumerate(rows, chunk * CHUNK)]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_items_are_the_firmwares(chunk: int) -> None:
    found: Counter[str] = Counter()
    unexplained: list[int] = []
    for number, case in cases(chunk):
        reasons = reasons_of(case)
        found.update(reasons)
        if "unexplained" in reasons:
            unexplained.append(number)
    assert unexplained == []
    assert dict(found) == EXPECTED.get(chunk, {})


@pytest.mark.parametrize("chunk", CHUNKS)
def test_what_the_firmware_reads_is_mountable(chunk: int) -> None:
    refused = [
        number
        for number, case in cases(chunk)
        if case.contents is not None and not case.contents.mountable and any(case.firmware.values())
    ]
    assert refused == []


def test_all_answers_are_asked() -> None:
    assert len(answers()) == ROWS
    assert sum(any(row["firmware"].values()) for row in answers()) > ROWS // 2
    assert min(EXPECTED) * CHUNK >= PLAIN_DAMAGE
