"""`espcert.csv_order`: a CSV whose rows say how keys are to be held."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support import FIXTURES

from espcert import csv_order
from espcert.building import Part, Stored, build
from espcert.burning import KeyFile
from espcert.confined import Folder
from espcert.errors import EspcertError, RefusedError, UnreadableError, UsageError
from espcert.key_storage import DsKey, EcdsaKey, PlainKey
from espcert_formats import items as kinds

INPUTS = FIXTURES / "verify" / "inputs"
PASSWORD = b"espcert verify"
HMAC_KEY = (FIXTURES / "inputs" / "hmac_key.bin").read_bytes()
GIVEN = (HMAC_KEY, KeyFile("given.bin"))
HEADER = (
    "tlv_type,tlv_subtype,data_value,data_type,priv_key_type,algorithm,key_size,efuse_id,efuse_key"
)
CERTIFICATE = "1,0,{}.pem,file,,,,,"


def parts(*rows: str, given: csv_order.HmacKey | None = None) -> list[Part]:
    text = "\n".join((HEADER, *rows)) + "\n"
    return csv_order.parts(text.encode(), Folder(INPUTS), hmac=given, password=PASSWORD)


def test_every_way_to_hold_a_key() -> None:
    plain, ds, ecdsa = parts(
        "2,0,device.encrypted.key,file,plaintext,,,,",
        "2,1,rsa2048.key,file,RSA_DS,rsa,2048,1,hmac_key.hex",
        "2,2,p384.key,file,ecdsa_peripheral,ECDSA,384,2,",
    )
    assert plain == PlainKey((INPUTS / "device.encrypted.key").read_bytes(), PASSWORD)
    assert isinstance(ds, DsKey)
    assert (ds.efuse_key_id, ds.index, ds.hmac_key) == (1, 1, HMAC_KEY)
    assert ds.hmac_file.ready == str(INPUTS / "hmac_key.hex.bin")
    assert "xxd -r -p" in (ds.hmac_file.before or "")
    assert isinstance(ecdsa, EcdsaKey)
    assert (ecdsa.efuse_key_id, ecdsa.index) == (2, 2)
    assert ecdsa.file == KeyFile(str(INPUTS / "p384.key"))


def test_rows_of_other_types_are_stored_as_they_are() -> None:
    found = parts("51,3,aGVsbG8=,base64,,,,,", "201,0,05 0f,hex,,,,,", "77,0,text,string,,,,,")
    assert found == [
        Stored("user_data_1", b"hello", 3),
        Stored("matter_1", b"\x05\x0f"),
        Stored("unknown_77", b"text"),
    ]


def test_a_row_without_an_hmac_key_takes_the_one_given() -> None:
    (key,) = parts("2,0,rsa2048.key,file,rsa_ds,RSA,2048,4,", given=GIVEN)
    assert isinstance(key, DsKey)
    assert (key.hmac_key, key.hmac_file.ready) == (HMAC_KEY, "given.bin")


def test_ds_material_in_rows_is_stored_and_judged(tmp_path: Path) -> None:
    """As `--parse_bin` of the tool writes it: rows of types 3 and 4 that name files."""
    key = DsKey((INPUTS / "rsa1024.key").read_bytes(), HMAC_KEY, 1)
    made = build([key], chip="esp32c3").contents
    (data, context) = (made.data[12:1232], made.of_kind(kinds.DS_CONTEXT)[0].data)
    rows = [f"3,0,{data.hex()},hex,rsa_ds,RSA,,,", f"4,0,{context.hex()},hex,rsa_ds,RSA,,,"]
    built = build(csv_order.parts("\n".join((HEADER, *rows)).encode(), Folder(tmp_path)))
    assert built.output == made.data
    short = build(csv_order.parts(f"{HEADER}\n3,0,00,hex,,,,,\n".encode(), Folder(tmp_path)))
    assert {one.code for one in short.blocking} == {"ds-incomplete"}


REFUSED: dict[str, tuple[tuple[str, ...], type[EspcertError], str]] = {
    "no file": (
        ("2,0,rsa2048.key,file,rsa_ds,RSA,2048,1,none.bin",),
        UnreadableError,
        "line 2 .*none.bin: no such file",
    ),
    "no hmac key": (
        ("2,0,rsa2048.key,file,rsa_ds,RSA,2048,1,",),
        UsageError,
        "efuse_key is empty: name a file there, or give --ds-hmac-key or --new-hmac-key",
    ),
    "no block": (
        ("2,0,rsa2048.key,file,rsa_ds,RSA,2048,,hmac_key.hex",),
        UnreadableError,
        "efuse_id is empty, expected a number",
    ),
    "block no number": (
        ("2,0,rsa2048.key,file,rsa_ds,RSA,2048,-1,hmac_key.hex",),
        UnreadableError,
        "efuse_id is no decimal number",
    ),
    "another size": (
        ("2,0,rsa2048.key,file,rsa_ds,RSA,1024,1,hmac_key.hex",),
        RefusedError,
        "key_size 1024, the key is RSA 2048",
    ),
    "another algorithm": (
        ("2,0,rsa2048.key,file,rsa_ds,ECDSA,2048,1,hmac_key.hex",),
        UnreadableError,
        "algorithm ECDSA, expected RSA for rsa_ds",
    ),
    "a secret as algorithm": (
        ("2,0,rsa2048.key,file,rsa_ds,5EC4E7,2048,1,hmac_key.hex",),
        UnreadableError,
        "algorithm that is not known, expected RSA",
    ),
    "a short hmac key": (
        ("2,0,rsa2048.key,file,rsa_ds,RSA,2048,1,password.txt",),
        UsageError,
        "efuse_key: .* expected 32 bytes",
    ),
    "hmac encrypted": (
        ("2,0,device.key,file,hmac_encrypted,,,1,",),
        UnreadableError,
        "priv_key_type is none of plaintext, rsa_ds, ecdsa_peripheral",
    ),
    "outside": (
        ("2,0,rsa2048.key,file,rsa_ds,RSA,2048,1,../../inputs/hmac_key.bin",),
        UnreadableError,
        "relative to the directory",
    ),
    "twice": ((CERTIFICATE.format("device"),) * 2, UnreadableError, "same type and subtype"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_row_cannot_order(case: str) -> None:
    rows, error, text = REFUSED[case]
    with pytest.raises(error, match=text) as caught:
        parts(*rows)
    assert "\n" not in str(caught.value)
    assert "5EC4E7" not in str(caught.value)


def test_an_hmac_key_that_no_row_needs_is_refused() -> None:
    with pytest.raises(UsageError, match="no row of the CSV lacks an HMAC key"):
        parts(CERTIFICATE.format("device"), given=GIVEN)


def test_the_column_flags_is_for_conversion() -> None:
    text = f"{HEADER},flags\n{CERTIFICATE.format('device')},0\n"
    with pytest.raises(UsageError, match="use `espcert convert`"):
        csv_order.parts(text.encode(), Folder(INPUTS))


def test_a_wrong_key_of_a_row_is_refused() -> None:
    given = parts(
        CERTIFICATE.format("rsa2048"), "2,0,rsa2048_other.key,file,rsa_ds,,,1,hmac_key.hex"
    )
    with pytest.raises(RefusedError, match="expected that of device_cert"):
        build(given, chip="esp32c3")
