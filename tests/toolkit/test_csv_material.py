"""The CSV of configure_esp_secure_cert.py, read: what counts, and what is refused in one line."""

from __future__ import annotations

import base64
import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
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
    csv_text,
    row,
)

from espcert import confined, csv_material
from espcert.confined import Folder
from espcert.csv_material import COLUMNS
from espcert.errors import EspcertError, UnreadableError, UsageError
from espcert.opening import Opening, open_image
from espcert_formats.items import Contents, Item

USER = "ESP_SECURE_CERT_USER_DATA_1_TLV"
CERT = "ESP_SECURE_CERT_DEV_CERT_TLV"
PRIVATE = "ESP_SECURE_CERT_PRIV_KEY_TLV"
FLAGGED = (*COLUMNS, "flags")


def read(data: bytes, root: Path) -> Contents:
    return csv_material.read(data, Folder(root))


def only(data: bytes, root: Path) -> Item:
    (item,) = read(data, root).items
    return item


def refused(data: bytes, root: Path) -> str:
    with pytest.raises(UnreadableError) as caught:
        read(data, root)
    assert "\n" not in caught.value.message
    return caught.value.message


# --- What is stored ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "data_type", "expected"),
    [
        ("Device Model: ESP32-S3", "string", b"Device Model: ESP32-S3"),
        ("  Gerät\t", "string", "Gerät".encode()),
        ('"quoted", with a comma', "string", b'"quoted", with a comma'),
        ("one\ntwo", "string", b"one\ntwo"),
        ("=SUM(A1)", "string", b"=SUM(A1)"),
        ("DEADBEEF", "hex", b"\xde\xad\xbe\xef"),
        ("de ad  be ef", "hex", b"\xde\xad\xbe\xef"),
        ("d ea d", "hex", b"\xde\xad"),
        ("3q2+7w==", "base64", b"\xde\xad\xbe\xef"),
    ],
)
def test_data_types(value: str, data_type: str, expected: bytes, tmp_path: Path) -> None:
    item = only(csv_text(row(USER, value, data_type)), tmp_path)
    assert (item.kind, item.index, item.data, item.flags) == ("user_data_1", 0, expected, 0)
    assert (item.spans, item.intact, item.entry_offset) == ((), None, None)


@pytest.mark.parametrize(
    ("given_bytes", "kind", "expected"),
    [
        (PEM, CERT, PEM + b"\0"),
        (b"words\n" + PEM.replace(b"\n", b"\r\n"), CERT, PEM + b"\0"),
        (DER, CERT, DER),
        (CHAIN, CERT, (INPUTS / "ec_chain_first.pem").read_bytes() + b"\0"),
        (KEY, PRIVATE, KEY + b"\0"),
        (PKCS8, PRIVATE, KEY + b"\0"),
        (KEY_DER, PRIVATE, KEY_DER),
    ],
    ids=["pem", "crlf", "der", "chain", "sec1", "pkcs8", "key der"],
)
def test_files_are_stored_as_the_tool_does(
    given_bytes: bytes, kind: str, expected: bytes, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(given_bytes)
    as_file = only(csv_text(row(kind, "file", "file", priv_key_type="plaintext")), tmp_path)
    encoded = base64.b64encode(given_bytes).decode()
    inline = only(csv_text(row(kind, encoded, "base64", priv_key_type="Plaintext")), tmp_path)
    assert as_file.data == inline.data == expected


def test_types_by_name_and_by_number(tmp_path: Path) -> None:
    rows = [
        row(name, "00", "hex", tlv_subtype=subtype)
        for name, subtype in (
            *(("51", "1"), ("0x33", "2"), ("201", "128"), ("250", "255"), ("TLV_END", "0")),
            *(("ESP_SECURE_CERT_SEC_CFG_TLV", "3"), ("8", "0")),
        )
    ]
    found = [(item.kind, item.index) for item in read(csv_text(*rows), tmp_path).items]
    assert found == [
        *(("user_data_1", 1), ("user_data_1", 2), ("matter_1", 128), ("unknown_250", 255)),
        *(("unknown_50", 0), ("security_config", 3), ("signature_block", 0)),
    ]


def test_ds_data_are_two_items_and_a_word(tmp_path: Path) -> None:
    data = (63).to_bytes(4, "little") + bytes(range(16)) + b"c" * 1200
    context = bytes(4) + bytes((2, 0)) + (2048).to_bytes(2, "little")
    rows = (row(3, data.hex(), "hex", priv_key_type="rsa_ds"), row(4, context.hex(), "hex"))
    iv, ciphertext, ds_context = read(csv_text(*rows), tmp_path).items
    assert (iv.kind, iv.data) == ("ds_iv", bytes(range(16)))
    assert (ciphertext.kind, ciphertext.data, ciphertext.rsa_length) == (
        *("ds_ciphertext", b"c" * 1200, 63),
    )
    assert (ds_context.rsa_bits, ds_context.efuse_key_id) == (2048, 2)


def test_comments_blank_rows_and_short_rows(tmp_path: Path) -> None:
    text = csv_text(["# note", "x"], [], ["", "", ""], ["51", "0", "AA", "hex"], ["#"] + [""] * 20)
    assert only(text, tmp_path).data == b"\xaa"


@pytest.mark.parametrize("columns", [COLUMNS[:4], COLUMNS[::-1], ("note", *COLUMNS)])
def test_columns_are_found_by_name(columns: tuple[str, ...], tmp_path: Path) -> None:
    text = csv_text(row(USER, "AA", "hex", note="mine"), columns=columns)
    assert only(text, tmp_path).data == b"\xaa"


@pytest.mark.parametrize("change", ["bom", "cr", "crlf"])
def test_what_spreadsheets_make_of_it(change: str, tmp_path: Path) -> None:
    text = csv_text(row(USER, "one\ntwo", "string")).replace(b"\r\n", b"\n")
    text = {
        "bom": b"\xef\xbb\xbf" + text,
        "cr": text.replace(b"\n", b"\r"),
        "crlf": text.replace(b"\n", b"\r\n"),
    }[change]
    assert csv_material.looks_like(text)
    assert only(text, tmp_path).data == b"one\ntwo"


def test_flags_say_that_bytes_are_exact(tmp_path: Path) -> None:
    (tmp_path / "chain.bin").write_bytes(CHAIN)
    rows = (
        row(CERT, "chain.bin", "file", flags="0x00"),
        row(PRIVATE, "", "hex", flags="0x40"),
        row(USER, "AA", "hex", flags="128"),
    )
    found = read(csv_text(*rows, columns=FLAGGED), tmp_path).items
    assert [(item.data, item.flags, item.protection) for item in found] == [
        *((CHAIN, 0, None), (b"", 0x40, "hmac_derived"), (b"\xaa", 0x80, None)),
    ]


# --- What is refused ---------------------------------------------------------------------------

WRONG = {
    "type": (row("ESP_SECURE_CERT_NO_TLV", "00", "hex"), "line 2: tlv_type ESP_SECURE_CERT_NO_TLV"),
    "type 256": (row("256", "00", "hex"), "tlv_type 256"),
    "many digits": (row("9" * 5000, "00", "hex"), "line 2: tlv_type, expected"),
    "subtype": (row(USER, "00", "hex", tlv_subtype="-1"), "tlv_subtype -1"),
    "no subtype": (row(USER, "00", "hex", tlv_subtype=""), "tlv_subtype"),
    "data type": (row(USER, "00", "HEX"), "line 2 (user_data_1): data_type"),
    "no data": (row(USER, " ", "string"), "data_value is empty"),
    "odd hex": (row(USER, "ABC", "hex"), "data_value is not hex"),
    "base64": (row(USER, "AAA", "base64"), "data_value is not base64"),
    "base64 junk": (row(USER, "AA*=AA==", "base64"), "data_value is not base64"),
    "no certificate": (row(CERT, "0000", "hex"), "line 2 (device_cert): expected an X.509"),
    "DER and more": (row(CERT, (DER + b"\0").hex(), "hex"), "expected an X.509"),
    "key as certificate": (row(CERT, KEY.hex(), "hex"), "expected an X.509"),
    "no key": (row(PRIVATE, PEM.hex(), "hex", priv_key_type="plaintext"), "found no such key"),
    "locked key": (
        row(PRIVATE, LOCKED.hex(), "hex", priv_key_type="plaintext"),
        "found a key under a password",
    ),
    "key DER and more": (
        row(PRIVATE, (KEY_DER + b"\0").hex(), "hex", priv_key_type="plaintext"),
        "found no such key",
    ),
    "key of no kind": (row(PRIVATE, KEY.hex(), "hex"), "priv_key_type is not plaintext"),
    "flags": (row(USER, "00", "hex", flags="0x100"), "flags 0x100, expected 0 to 255"),
    "too long": (row(USER, "missing", "file"), "missing: no such file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_rows(case: str, tmp_path: Path) -> None:
    fields, expected = WRONG[case]
    message = refused(csv_text(fields, columns=FLAGGED), tmp_path)
    assert expected in message
    assert KEY.splitlines()[1].decode() not in message


def test_an_entry_has_an_end(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(bytes(65505))
    assert "65505 bytes" in refused(csv_text(row(USER, "long", "file")), tmp_path)


def test_doubles(tmp_path: Path) -> None:
    text = csv_text(row(51, "00", "hex"), row(USER, "01", "hex"))
    assert "line 3 (user_data_1): the same" in refused(text, tmp_path)


@pytest.mark.parametrize("order", ["rsa_ds", "RSA_DS", "ecdsa_peripheral", "hmac_derived"])
def test_orders_are_for_build(order: str, tmp_path: Path) -> None:
    """The key file is not even looked at."""
    text = csv_text(row(PRIVATE, "no-such.key", "file", priv_key_type=order, efuse_id="1"))
    with pytest.raises(UsageError, match=r"line 2 .*espcert build") as caught:
        read(text, tmp_path)
    assert caught.value.exit_code == 2


HEADER = ",".join(COLUMNS).encode()
MALFORMED = {
    "NUL": (HEADER + b"\n51,0,A\0,string,,,,,\n", "a NUL at offset"),
    "latin 1": (HEADER + b"\n51,0,Ger\xe4t,string,,,,,\n", "not UTF-8 at offset"),
    "semicolons": (HEADER.replace(b",", b";"), "line 1 has no column tlv_type"),
    "no data_value": (b"tlv_type,tlv_subtype,data_type\n", "no column data_value"),
    "column twice": (HEADER + b",data_value\n", "column data_value twice"),
    "field too many": (HEADER + b"\n51,0,a,b,string,,,,,,x\n", "line 2: 11 fields for 9"),
    "a million columns": (HEADER + b"," * 1_000_000, "1000009 columns"),
    "a million fields": (HEADER + b"\n51" + b"," * 900_000 + b"1\n", "fields for 9 columns"),
    "a huge field": (HEADER + b"\n51,0," + b"A" * 200_000 + b",hex\n", "field limit"),
    "a million bytes": (HEADER + b"\n" * (1 << 20), "at most 1048576 are read"),
    "an open quote": (HEADER + b'\n51,0,"' + b"A\n" * 300_000, "field limit"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_csv(case: str, tmp_path: Path) -> None:
    data, expected = MALFORMED[case]
    started = time.monotonic()
    assert expected in refused(data, tmp_path)
    assert time.monotonic() - started < 5


def test_many_rows_are_read_at_once(tmp_path: Path) -> None:
    """As many as there are types and subtypes; further ones are doubles."""
    rows = [[str(kind), str(sub), "00", "hex"] for kind in range(51, 55) for sub in range(256)]
    assert len(read(csv_text(*rows), tmp_path).items) == 1024


# --- The folder --------------------------------------------------------------------------------

OUTSIDE = {
    "absolute": "/etc/hostname",
    "parent": "../secret.pem",
    "parent of a folder": "in/../../secret.pem",
    "back into it": "../csv/cert.pem",
    "windows": "C:\\secret.pem",
    "windows drive": "C:secret.pem",
    "windows share": "\\\\host\\share\\secret.pem",
    "windows parent": "..\\secret.pem",
    "link": "link.pem",
    "folder link": "out/secret.pem",
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_paths_that_lead_out(case: str, tmp_path: Path) -> None:
    folder = tmp_path / "csv"
    (folder / "in").mkdir(parents=True)
    (tmp_path / "secret.pem").write_bytes(PEM)
    (folder / "cert.pem").write_bytes(PEM)
    (folder / "link.pem").symlink_to(tmp_path / "secret.pem")
    (folder / "out").symlink_to(tmp_path)
    with pytest.raises(UnreadableError) as caught:
        read(csv_text(row(CERT, OUTSIDE[case], "file")), folder)
    assert caught.value.code == "outside-directory"
    assert caught.value.message.startswith("line 2 (device_cert): ")
    assert OUTSIDE[case].replace("\\", "\\") in caught.value.message


def test_links_inside_are_followed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "cert.pem").write_bytes(PEM)
    (tmp_path / "link.pem").symlink_to("in/cert.pem")
    assert only(csv_text(row(CERT, "link.pem", "file")), tmp_path).data == PEM + b"\0"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name and devices are POSIX'")
@pytest.mark.parametrize("case", ["fifo", "folder", "device", "loop", "huge", "empty"])
def test_what_is_no_file(case: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "empty").write_bytes(b"")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    started = time.monotonic()
    assert refused(csv_text(row(CERT, case, "file")), tmp_path).startswith("line 2 (device_cert)")
    assert time.monotonic() - started < 5


def test_all_files_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "MAX_TOTAL_SIZE", 1000)
    (tmp_path / "half").write_bytes(bytes(600))
    rows = (row(USER, "half", "file"), row(52, "half", "file"))
    assert "line 3 (user_data_2): half: larger" in refused(csv_text(*rows), tmp_path)


@pytest.mark.parametrize("secret", [KEY.decode(), KEY.hex(), "A" * 65])
def test_a_secret_in_the_wrong_column_is_not_shown(secret: str, tmp_path: Path) -> None:
    for fields in (
        row(PRIVATE, secret, "file", priv_key_type="plaintext"),
        row(USER, "00", secret),
        row(secret.replace("\n", ""), "00", "hex"),
        row(USER, "00", "hex", tlv_subtype=secret),
    ):
        message = refused(csv_text(fields), tmp_path)
        assert secret[40:60] not in message
        assert len(message) < 200


def test_rows_do_not_show_their_data() -> None:
    (found,) = csv_material.parse(csv_text(row(PRIVATE, "a secret", "string")))
    assert "a secret" not in repr(found)


# --- Whatever comes ----------------------------------------------------------------------------

_FIELD = st.one_of(
    st.sampled_from(["0", "1", "2", "51", USER, CERT, PRIVATE, "hex", "string", "file", "base64"]),
    st.sampled_from(["rsa_ds", "plaintext", "#", "AA", "../x", "/dev/zero", "=1", '"', "\0", ""]),
    st.text(max_size=12),
)


@given(st.lists(st.lists(_FIELD, max_size=11), max_size=4), st.sampled_from([COLUMNS, FLAGGED]))
def test_any_csv_is_read_or_refused_in_one_line(
    rows: list[list[str]], columns: tuple[str, ...]
) -> None:
    text = "\n".join(",".join(fields) for fields in (list(columns), *rows))
    try:
        read(text.encode("utf-8", "surrogatepass"), INPUTS)
    except EspcertError as error:
        assert re.fullmatch(r"[^\r\n]+", error.message)


@given(st.binary(max_size=300))
def test_any_bytes_behind_the_header(data: bytes) -> None:
    try:
        read(HEADER + b"\n" + data, INPUTS)
    except EspcertError as error:
        assert error.exit_code in (2, 3)


# --- How it is found ---------------------------------------------------------------------------


def test_by_content_never_by_name(tmp_path: Path) -> None:
    text = csv_text(row(USER, "AA", "hex"))
    path = tmp_path / "dump.bin"
    path.write_bytes(text)
    assert open_image(str(path)).container == "csv"
    for other in (b"label,type,subtype\n", b"\xff" * 4096, b"tlv_type" + bytes(400), b""):
        named = tmp_path / "partition.csv"
        named.write_bytes(other)
        assert open_image(str(named)).container == "partition"


def test_files_root(tmp_path: Path) -> None:
    for name in ("csv", "files"):
        (tmp_path / name).mkdir()
    (tmp_path / "files" / "cert.pem").write_bytes(PEM)
    path = tmp_path / "csv" / "in.csv"
    path.write_bytes(csv_text(row(CERT, "cert.pem", "file")))
    image = open_image(str(path), Opening(files_root=tmp_path / "files"))
    assert image.contents is not None
    assert image.contents.items[0].data == PEM + b"\0"
    assert image.inputs == (str(tmp_path / "files" / "cert.pem"),)
    with pytest.raises(UnreadableError, match="no such file"):
        open_image(str(path))
    with pytest.raises(UsageError, match="no such directory"):
        open_image(str(path), Opening(files_root=tmp_path / "nowhere"))
