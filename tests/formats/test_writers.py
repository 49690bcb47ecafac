"""Writing cust_flash and NVS: it is read back the same, and what cannot be held is named."""

from __future__ import annotations

import contextlib
import io
import zlib
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espcert_formats import cust_flash, items, nvs, registry, tlv
from espcert_formats.errors import FormatError
from espcert_formats.items import Item

LEGACY = [name for name in registry.NAMES if name != "tlv"]
NVS = [name for name in LEGACY if name.startswith("nvs")]


def item(kind: str, data: bytes, **fields: object) -> Item:
    """An item as a CSV or another layout gives it."""
    protection = items.PLAINTEXT if kind == items.PRIVATE_KEY else None
    return Item(kind, 0, data, (), None, **({"protection": protection} | fields))  # type: ignore[arg-type]


def ds(length: int, bits: int = 2048, key_id: int = 1) -> list[Item]:
    context = items.ds_context_data(bits, key_id)
    return [
        item(items.DS_CIPHERTEXT, b"\xa5" * length),
        item(items.DS_IV, bytes(range(16))),
        item(items.DS_CONTEXT, context, rsa_bits=bits, efuse_key_id=key_id),
    ]


def shown(found: Sequence[Item]) -> Counter[tuple[str, int, bytes, str | None]]:
    return Counter((one.kind, one.index, one.data, one.protection) for one in found)


def read_back(data: bytes, layout: str) -> Sequence[Item]:
    """The items as the reader finds them; nothing may be odd about the bytes."""
    label = "pre_prov" if "legacy" in layout or "esp_ds" in layout else "esp_secure_cert"
    contents = registry.named(layout).read(data, label)
    assert contents.layout == layout
    assert contents.anomalies == ()
    assert all(one.intact is not False for one in contents.items)
    return contents.items


pem_text = st.text(st.characters(blacklist_characters="\0", codec="utf-8"), max_size=1200).map(
    lambda text: b"-----BEGIN X-----\n" + text.encode() + b"\0"
)
some_bytes = st.binary(min_size=1, max_size=2048)
ds_groups = st.builds(
    ds, st.sampled_from(sorted(items.DS_MAX_BITS)), st.integers(0, 0xFFFF), st.integers(0, 255)
)


def material(data: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[Item]]:
    """Certificates, and a key of one kind, of which any may be missing."""
    certificates = st.fixed_dictionaries(
        {}, optional={items.DEVICE_CERT: data, items.CA_CERT: data}
    ).map(lambda found: [item(kind, value) for kind, value in found.items()])
    no_key: st.SearchStrategy[list[Item]] = st.just([])
    keys = st.one_of(no_key, data.map(lambda value: [item(items.PRIVATE_KEY, value)]), ds_groups)
    return st.builds(list.__add__, certificates, keys)


@pytest.mark.parametrize("layout", ["cust_flash", "cust_flash_legacy"])
@given(found=material(some_bytes))
def test_cust_flash_round_trip(layout: str, found: list[Item]) -> None:
    assert list(cust_flash.misfits(found, layout)) == []
    data = cust_flash.write(found, None, layout)
    assert len(data) == 0x6000
    assert shown(read_back(data, layout)) == shown(found)


@pytest.mark.parametrize("layout", ["nvs", "nvs_legacy"])
@settings(max_examples=40)
@given(found=material(pem_text))
def test_nvs_round_trip(layout: str, found: list[Item]) -> None:
    assert list(nvs.misfits(found, layout)) == []
    data = nvs.write(found, None, layout)
    assert len(data) % 0x1000 == 0
    assert len(data) >= 0x3000
    assert shown(read_back(data, layout)) == shown(found)


@settings(max_examples=20)
@given(found=ds_groups)
def test_nvs_esp_ds_round_trip(found: list[Item]) -> None:
    assert list(nvs.misfits(found, "nvs_esp_ds")) == []
    assert shown(read_back(nvs.write(found, None, "nvs_esp_ds"), "nvs_esp_ds")) == shown(found)


def test_metadata_by_its_bytes() -> None:
    """The fields of a small image, against their offsets and a checksum made here."""
    device, ca, key = b"device", b"the CA", b"secret key"
    found = [item(items.DEVICE_CERT, device), item(items.CA_CERT, ca), item(items.PRIVATE_KEY, key)]
    data = cust_flash.write(found)

    def crc(value: bytes) -> str:
        return zlib.crc32(value, 0xFFFFFFFF).to_bytes(4, "little").hex(" ")

    assert data[:64].hex(" ") == " ".join(
        [
            crc(device), "06 00 00 00",  # device certificate
            crc(ca), "06 00 00 00",  # CA certificate
            crc(key), "0a 00 00 00",  # private key
            "78 56 34 12",  # magic
            *["00"] * 36,
        ]
    )  # fmt: skip
    assert data[64:70] == device
    assert data[2112:2118] == ca
    assert data[6208:6218] == key
    swapped = cust_flash.write(found, None, "cust_flash_legacy")
    assert swapped[:8] == data[8:16]
    assert swapped[8:16] == data[:8]
    assert swapped[16:] == data[16:]


@pytest.mark.parametrize(("length", "at"), [(1200, 7424), (1584, 7808)])
def test_the_iv_lies_behind_the_ciphertext(length: int, at: int) -> None:
    found = ds(length)
    data = cust_flash.write(found)
    assert data[6208 : 6208 + length] == found[0].data
    assert data[at : at + 16] == bytes(range(16))
    assert data[28:33] == bytes((16, 0)) + (2048).to_bytes(2, "little") + b"\x01"
    assert data[36:40] == b"\x78\x56\x34\x12"


def test_without_a_ca_its_place_is_erased() -> None:
    """Not a byte too many, as the official tool has it: the area stays erased."""
    data = cust_flash.write([item(items.DEVICE_CERT, b"x" * 100)])
    assert len(data) == 0x6000
    assert data[8:14] == bytes(6)
    assert set(data[2112:]) == {0xFF}


LIMITS = [
    (items.DEVICE_CERT, 2048),
    (items.CA_CERT, 4096),
    (items.PRIVATE_KEY, 4096),
]


@pytest.mark.parametrize(("kind", "most"), LIMITS)
def test_areas_hold_no_more_than_they_have(kind: str, most: int) -> None:
    assert not list(cust_flash.misfits([item(kind, b"x" * most)]))
    (misfit,) = cust_flash.misfits([item(kind, b"x" * (most + 1))])
    assert misfit.text == f"{most + 1} bytes; cust_flash holds at most {most}"


@pytest.mark.parametrize("characters", [3966, 3967])
def test_the_longest_strings_of_nvs(characters: int) -> None:
    text = b"-----BEGIN X-----\n".ljust(characters, b"x") + b"\0"
    found = [item(items.CA_CERT, text), item(items.DEVICE_CERT, text)]
    assert not list(nvs.misfits(found))
    assert shown(read_back(nvs.write(found), "nvs")) == shown(found)


@pytest.mark.parametrize("characters", [3968, 3999, 4000, 70000])
def test_longer_strings_are_named(characters: int) -> None:
    text = b"-----BEGIN X-----\n".ljust(characters, b"x") + b"\0"
    (misfit,) = nvs.misfits([item(items.CA_CERT, text)])
    assert misfit.text == f"{characters + 1} bytes; nvs holds at most 3968"


NO_STRINGS = {
    "no PEM": b"\x30\x03\x02\x01\x05",
    "no NUL at its end": b"-----BEGIN X-----\n",
    "a NUL inside": b"-----BEGIN X-----\0\n\0",
    "bytes that are no UTF-8": b"-----BEGIN X-----\n\xff\0",
}


@pytest.mark.parametrize("reason", NO_STRINGS)
def test_what_is_no_string_is_named(reason: str) -> None:
    (misfit,) = nvs.misfits([item(items.DEVICE_CERT, NO_STRINGS[reason])])
    assert misfit.text == f"{reason}; nvs holds PEM text with one NUL, at its end"


MISFITS = {
    "another subtype": ([Item(items.CA_CERT, 1, b"x", (), None)], "subtype 1"),
    "flags": ([item(items.CA_CERT, b"x", flags=0x40)], "flags 0x40"),
    "user data": ([item("user_data_1", b"x")], "no place for it"),
    "an unknown type": ([item("unknown_60", b"x")], "no place for it"),
    "a derived key": (
        [item(items.PRIVATE_KEY, b"", protection=items.HMAC_DERIVED, flags=0x40)],
        "a key that is hmac_derived",
    ),
    "an empty key": ([item(items.PRIVATE_KEY, b"")], "no bytes"),
    "another ciphertext": ([item(items.DS_CIPHERTEXT, b"x" * 1201)], "1201 bytes"),
    "another IV": ([item(items.DS_IV, b"x" * 15)], "15 bytes"),
    "a context of other bytes": (
        [item(items.DS_CONTEXT, b"\1" * 8, rsa_bits=0x101, efuse_key_id=1)],
        "bytes besides key size and key id",
    ),
    "a malformed context": ([item(items.DS_CONTEXT, b"\0" * 7)], "needs its key size"),
}


@pytest.mark.parametrize("layout", LEGACY)
@pytest.mark.parametrize("case", MISFITS)
def test_what_only_tlv_holds_is_named(layout: str, case: str) -> None:
    found, text = MISFITS[case]
    (misfit,) = registry.named(layout).misfits(found, layout)
    assert misfit.item is found[0]
    if layout != "nvs_esp_ds":
        assert text in misfit.text
    assert layout in misfit.text or "an IV has 16" in misfit.text


def test_two_sizes_of_one_ds_key() -> None:
    found = ds(1200)
    found[0] = item(items.DS_CIPHERTEXT, found[0].data, rsa_length=31)
    for layout in LEGACY:
        (misfit,) = registry.named(layout).misfits(found, layout)
        assert "names a key of 1024 bits, the context one of 2048" in misfit.text


def test_a_plain_key_beside_a_ds_key() -> None:
    key = item(items.PRIVATE_KEY, b"-----BEGIN X-----\n\0")
    (misfit,) = cust_flash.misfits([*ds(1200), key])
    assert misfit.item is key
    assert list(nvs.misfits([*ds(1200), key])) == []
    found = [*ds(1200), key]
    assert shown(read_back(nvs.write(found), "nvs")) == shown(found)


def test_seals_are_no_misfits() -> None:
    sealed = [item(items.INTEGRITY, b"x" * 32), item(items.SIGNATURE_BLOCK, b"x")]
    for layout in registry.NAMES:
        assert list(registry.named(layout).misfits(sealed, layout)) == []


def test_an_entry_of_tlv_has_a_limit() -> None:
    assert not list(tlv.misfits([item("user_data_1", bytes(65504))]))
    (misfit,) = tlv.misfits([item("user_data_1", bytes(65505))])
    assert misfit.text == "65505 bytes; an entry holds at most 65504"


@pytest.mark.parametrize("size", [0x1000, 0x2000, 0x3001, 0])
def test_sizes_that_nvs_cannot_have(size: int) -> None:
    with pytest.raises(FormatError, match="whole pages of 0x1000 bytes, 3 at least"):
        nvs.write([], size)


def test_a_partition_that_is_too_small() -> None:
    """The generator would end the process or raise its own exceptions."""
    text = b"-----BEGIN X-----\n".ljust(3967, b"x") + b"\0"
    found = [item(kind, text) for kind in (items.CA_CERT, items.DEVICE_CERT, items.PRIVATE_KEY)]
    with pytest.raises(FormatError, match="a size of 0x3000; give the partition a larger size"):
        nvs.write(found, 0x3000)
    assert len(nvs.write(found, 0x6000)) == 0x6000
    with pytest.raises(FormatError, match="at least 0x3000 bytes"):
        cust_flash.write(found, 0x2000)
    assert len(cust_flash.write(found[:1], 0x3000)) == 0x3000


def test_the_generator_says_nothing() -> None:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        nvs.write(ds(1584), 0x10000)
    assert (out.getvalue(), err.getvalue()) == ("", "")


def test_tlv_grows_by_sectors() -> None:
    assert len(tlv.write([item("user_data_1", bytes(100))])) == 0x2000
    assert len(tlv.write([item("user_data_1", bytes(0x2000))])) == 0x3000
