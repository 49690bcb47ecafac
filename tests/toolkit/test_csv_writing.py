"""Items written as the CSV of configure_esp_secure_cert.py: cells, files, and the way back."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.files_as_images import (
    CHAIN,
    DER,
    INPUTS,
    KEY,
    KEY_DER,
    LOCKED,
    PEM,
    PKCS8,
    key_of,
    partitions,
    write,
)

from espcert import csv_material, csv_writing
from espcert.confined import Folder
from espcert.csv_material import COLUMNS
from espcert_formats import tlv
from espcert_formats.errors import FormatError
from espcert_formats.items import Item


def item(kind: str, data: bytes, index: int = 0, flags: int | None = 0) -> Item:
    return tlv.loose_item(kind, index, data, flags)


def rows_of(files: dict[str, bytes]) -> list[dict[str, str]]:
    text = files[csv_writing.FILE_NAME].decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def cell(kind: str, data: bytes) -> tuple[str, str]:
    (row,) = rows_of(csv_writing.payloads([item(kind, data)]))
    return row["data_type"], row["data_value"]


def read_back(files: dict[str, bytes]) -> tuple[Item, ...]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = write(files, Path(scratch))
        return csv_material.read(files[csv_writing.FILE_NAME], Folder(folder)).items


# --- Cells -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["Device Model: ESP32", "Gerät 7", 'a "b", c', "https://x.example"]
)
def test_text_stays_text(text: str) -> None:
    assert cell("user_data_1", text.encode()) == ("string", text)


CHANGED = {
    "equals": b"=1+1",
    "plus": b"+49 123",
    "minus": b"-x",
    "at": b"@SUM",
    "tab": b"a\tb",
    "leading tab": b"\ta",
    "outer space": b" a",
    "space behind": b"a ",
    "no-break space": "\u00a0a".encode(),
    "line": b"a\nb",
    "carriage return": b"a\rb",
    "NUL": b"a\0",
    "escape": b"\x1b[31m",
    "direction mark": "a\u202eb".encode(),
    "not UTF-8": b"Ger\xe4t",
    "BOM": b"\xef\xbb\xbfa",
    "digits": b"00012345",
    "decimals": b"1,50",
    "exponent": b"1E5",
    "date": b"2024-01-02",
    "boolean": b"True",
}


@pytest.mark.parametrize("case", CHANGED)
def test_text_that_would_be_changed_is_hex(case: str) -> None:
    kind, value = cell("user_data_1", CHANGED[case])
    assert kind == "hex"
    assert bytes.fromhex(value) == CHANGED[case]
    assert not value.replace("E", "").isdigit()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xde\xad", ("hex", "DEAD")),
        (b"\x12\x34", ("hex", "12 34")),
        (b"\x1e\x10", ("hex", "1E 10")),
        (b"\x05", ("base64", "BQ==")),
        (b"\x1e", ("hex", "1E")),
    ],
)
def test_hex_that_a_spreadsheet_takes_for_a_number(data: bytes, expected: tuple[str, str]) -> None:
    assert cell("matter_1", data) == expected


def test_only_user_data_are_text() -> None:
    assert cell("ecdsa_salt", b"salt") == ("hex", "73616C74")
    assert cell("unknown_77", b"text\xff") == ("hex", "74657874FF")


@pytest.mark.parametrize("data", [b"", b"\xff" * 16384, b"a" * 32768], ids=["none", "hex", "text"])
def test_what_no_cell_holds_is_a_file(data: bytes) -> None:
    files = csv_writing.payloads([item("user_data_1", data)])
    assert files["contents/user_data_1_0.bin"] == data
    assert rows_of(files)[0]["data_type"] == "file"
    assert read_back(files)[0].data == data


# --- Rows --------------------------------------------------------------------------------------


def test_certificates_and_keys_are_files() -> None:
    items = [
        item("private_key", KEY + b"\0"),
        item("device_cert", PEM + b"\0"),
        item("ca_cert", DER, 1),
    ]
    files = csv_writing.payloads(items)
    assert {name: files[name] for name in files if "/" in name} == {
        "contents/ca_cert_1.der": DER,
        "contents/device_cert_0.pem": PEM,
        "contents/private_key_0.pem": KEY,
    }
    ca, device, key = rows_of(files)
    assert tuple(key.values()) == (
        *("ESP_SECURE_CERT_PRIV_KEY_TLV", "0", "contents/private_key_0.pem", "file"),
        *("plaintext", "ECDSA", "256", "", ""),
    )
    assert tuple(ca.values())[:4] == (
        *("ESP_SECURE_CERT_CA_CERT_TLV", "1", "contents/ca_cert_1.der", "file"),
    )
    assert set(tuple(ca.values())[4:]) == set(tuple(device.values())[4:]) == {""}


def test_an_rsa_key_says_so() -> None:
    key = (INPUTS / "rsa_device.key").read_bytes()
    (row,) = rows_of(csv_writing.payloads([item("private_key", key + b"\0")]))
    assert (row["algorithm"], row["key_size"]) == ("RSA", "2048")


def test_ds_material_is_data_and_no_order() -> None:
    ds = [
        item("ds_iv", bytes(16), flags=None),
        item("ds_ciphertext", b"c" * 1200, flags=None),
        item("ds_context", bytes(4) + bytes((1, 0, 0, 8)), flags=None),
    ]
    files = csv_writing.payloads(ds)
    assert files["contents/ds_data_0.bin"] == (63).to_bytes(4, "little") + bytes(16) + b"c" * 1200
    for row in rows_of(files):
        assert set(tuple(row.values())[4:]) == {""}
    assert sorted(found.data for found in read_back(files)) == sorted(one.data for one in ds)


def test_rows_are_in_the_order_of_the_writer() -> None:
    kinds = ("unknown_77", "user_data_1", "private_key", "device_cert", "ca_cert", "ds_context")
    data = {"private_key": KEY_DER, "device_cert": DER, "ca_cert": DER}
    files = csv_writing.payloads([item(kind, data.get(kind, b"ab")) for kind in kinds])
    assert [row["tlv_type"] for row in rows_of(files)] == [
        *("ESP_SECURE_CERT_DS_CONTEXT_TLV", "ESP_SECURE_CERT_CA_CERT_TLV"),
        *("ESP_SECURE_CERT_DEV_CERT_TLV", "ESP_SECURE_CERT_PRIV_KEY_TLV"),
        *("77", "ESP_SECURE_CERT_USER_DATA_1_TLV"),
    ]


def test_seals_have_no_rows() -> None:
    seals = [item("integrity", bytes(32)), item("signature_block", bytes(145))]
    for espcert_csv in (False, True):
        files = csv_writing.payloads(seals, espcert_csv=espcert_csv)
        assert list(files) == [csv_writing.FILE_NAME]
        assert rows_of(files) == []


def test_names_can_be_chosen() -> None:
    files = csv_writing.payloads([item("ca_cert", DER)], name="a.csv", folder="a")
    assert list(files) == ["a.csv", "a/ca_cert_0.der"]


# --- What the format cannot express ------------------------------------------------------------

INEXPRESSIBLE = {
    "empty key": (item("private_key", b"", 3), "private_key[3], an empty entry"),
    "flags": (item("user_data_1", b"a", flags=0x80), "user_data_1 with flags 0x80"),
    "derived": (item("private_key", b"", flags=0x40), "private_key with flags 0x40"),
    "chain": (item("device_cert", CHAIN + b"\0"), "of which it would make"),
    "no NUL": (item("ca_cert", PEM, 1), "ca_cert[1], PEM without a NUL"),
    "CRLF": (item("ca_cert", PEM.replace(b"\n", b"\r\n") + b"\0"), "ca_cert, "),
    "no certificate": (item("ca_cert", b"abc"), "ca_cert, which it does not read"),
    "PKCS#8": (item("private_key", PKCS8 + b"\0"), "private_key, "),
    "password": (item("private_key", LOCKED + b"\0"), "private_key, which it does not read"),
}


@pytest.mark.parametrize("case", INEXPRESSIBLE)
def test_what_cannot_be_expressed_has_a_column(case: str) -> None:
    odd, expected = INEXPRESSIBLE[case]
    with pytest.raises(FormatError) as caught:
        csv_writing.payloads([item("user_data_5", b"text"), odd])
    assert expected in str(caught.value)
    assert "--espcert-csv" in str(caught.value)
    files = csv_writing.payloads([item("user_data_5", b"text"), odd], espcert_csv=True)
    assert sorted(map(key_of, read_back(files))) == sorted(
        map(key_of, [item("user_data_5", b"text"), odd])
    )
    rows = rows_of(files)
    assert sorted(row["flags"] for row in rows) == ["", f"{odd.flags:#04x}"]


@pytest.mark.parametrize("espcert_csv", [False, True])
def test_what_no_csv_expresses(espcert_csv: bool) -> None:
    damaged = tlv.read(tlv.encode(tlv.NewEntry(0, 0, 0, DER))[:-4] + bytes(4)).items
    doubles = [item("ca_cert", DER), item("ca_cert", PEM + b"\0")]
    alone = [item("ds_iv", bytes(16))]
    for items, found in ((damaged, "ca_cert"), (doubles, "ca_cert"), (alone, "ds_iv")):
        with pytest.raises(FormatError, match=found):
            csv_writing.payloads(items, espcert_csv=espcert_csv)


# --- There and back ----------------------------------------------------------------------------


def normal(items: Sequence[Item]) -> list[str]:
    return sorted(repr(key_of(one)) for one in items)


def whole(items: Sequence[Item]) -> bool:
    """Whether entries can be made of the items: short DS data have no word for their size."""
    try:
        tlv.entries_for(items)
    except FormatError:
        return False
    return True


def seals_aside(items: Sequence[Item]) -> list[Item]:
    return [one for one in items if one.kind not in ("integrity", "signature_block")]


@given(partitions().filter(whole))
@settings(max_examples=60, deadline=None)
def test_espcerts_csv_is_exact(items: list[Item]) -> None:
    files = csv_writing.payloads(items, espcert_csv=True)
    assert normal(read_back(files)) == normal(seals_aside(items))


@given(partitions().filter(whole))
@settings(max_examples=60, deadline=None)
def test_the_tools_csv_is_exact_or_names_an_item(items: list[Item]) -> None:
    names = [one.kind for one in items]
    try:
        files = csv_writing.payloads(items)
    except FormatError as error:
        assert any(name in str(error) or "ds_data" in str(error) for name in names)
        return
    assert normal(read_back(files)) == normal(seals_aside(items))
    header = files[csv_writing.FILE_NAME].split(b"\r\n")[0].decode()
    assert header == ",".join(COLUMNS)


@given(st.binary(min_size=1, max_size=50))
def test_user_data_survive_a_spreadsheet(data: bytes) -> None:
    """One that strips cells, and reads as numbers what looks like one."""
    kind, value = cell("user_data_2", data)
    with pytest.raises(ValueError, match="could not convert"):
        float(value)
    stripped = value.strip()
    assert not stripped.startswith(("=", "+", "-", "@"))
    readers = {"string": str.encode, "hex": bytes.fromhex}
    if kind in readers:
        assert readers[kind](stripped) == data
