"""A CSV of configure_esp_secure_cert.py as an order: what is to be stored, and how the keys.

Rows of private keys say in `priv_key_type` how the key is to be held: `plaintext`, `rsa_ds` or
`ecdsa_peripheral`, with the eFuse block in `efuse_id` and the file of the HMAC key in `efuse_key`.
Source: esp-secure-cert-tool 2.6.1, tlv_format_construct.py, generate_esp_secure_cert.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from espcert import csv_material, keypairs
from espcert.building import Part, Stored
from espcert.burning import UNNAMED, KeyFile, ecdsa_key_file, hmac_key_file
from espcert.confined import Folder
from espcert.csv_material import FILE, PLAINTEXT, Row
from espcert.errors import RefusedError, UnreadableError, UsageError
from espcert.key_storage import DsKey, EcdsaKey, Key, PlainKey
from espcert.keys import hmac_key_of
from espcert_formats import tlv

RSA_DS: Final = "rsa_ds"
ECDSA_PERIPHERAL: Final = "ecdsa_peripheral"
_ALGORITHMS: Final = {RSA_DS: "RSA", ECDSA_PERIPHERAL: "ECDSA"}

HmacKey = tuple[bytes, KeyFile]


def parts(
    data: bytes, folder: Folder, *, hmac: HmacKey | None = None, password: bytes | None = None
) -> list[Part]:
    """What the rows of a CSV order, in their order; the files that they name lie in the folder.

    `hmac` is the HMAC key for rows that name none, `password` that of keys under one. Raises
    UnreadableError where the CSV or a file is not what the tool reads, RefusedError where a row
    contradicts its key, UsageError where something is missing, FileError where reading fails.
    """
    rows = csv_material.parse(data)
    if hmac is not None and not any(_lacks_hmac_key(row) for row in rows):
        text = "no row of the CSV lacks an HMAC key (rsa_ds without efuse_key)"
        raise UsageError("bad-options", f"--ds-hmac-key, --new-hmac-key: {text}")
    return [_part(row, folder, hmac, password) for row in rows]


def _lacks_hmac_key(row: Row) -> bool:
    return _is_key(row) and row.priv_key_type == RSA_DS and not row.efuse_key


def _is_key(row: Row) -> bool:
    return row.type == tlv.TYPE_PRIVATE_KEY


def _part(row: Row, folder: Folder, hmac: HmacKey | None, password: bytes | None) -> Part:
    if row.flags is not None:
        text = "the column flags says what is stored already"
        raise UsageError("use-convert", f"{row.name}: {text}: use `espcert convert`")
    data = csv_material.given_bytes(row, folder)
    if _is_key(row):
        return _key(row, data, folder, hmac, password)
    kind = tlv.DS_DATA if row.type == tlv.TYPE_DS_DATA else tlv.kind_of(row.type)
    return Stored(kind, data, row.subtype)


def _key(
    row: Row, data: bytes, folder: Folder, hmac: HmacKey | None, password: bytes | None
) -> Key:
    if row.priv_key_type == PLAINTEXT:
        return PlainKey(data, password, row.subtype)
    if row.priv_key_type not in _ALGORITHMS:
        wanted = ", ".join((PLAINTEXT, *_ALGORITHMS))
        raise UnreadableError("malformed-csv", f"{row.name}: priv_key_type is none of {wanted}")
    _check_claims(row, data, password)
    key_id = _number(row, "efuse_id", row.efuse_id)
    if row.priv_key_type == ECDSA_PERIPHERAL:
        named = row.data_type == FILE
        file = ecdsa_key_file(_path(folder, row.data_value), data) if named else UNNAMED
        return EcdsaKey(data, key_id, password, row.subtype, file)
    hmac_key, file = _hmac_key(row, folder, hmac)
    return DsKey(data, hmac_key, key_id, password, row.subtype, hmac_file=file)


def _hmac_key(row: Row, folder: Folder, given: HmacKey | None) -> HmacKey:
    if row.efuse_key:
        data = folder.read(row.efuse_key, row.name)
        file = hmac_key_file(_path(folder, row.efuse_key), data)
        return hmac_key_of(data, f"{row.name}: efuse_key"), file
    if given is None:
        text = f"{row.name}: efuse_key is empty: name a file there,"
        raise UsageError("no-hmac-key", f"{text} or give --ds-hmac-key or --new-hmac-key")
    return given


def _path(folder: Folder, name: str) -> str:
    return str(folder.root / name)


def _check_claims(row: Row, data: bytes, password: bytes | None) -> None:
    """Raise where the row says of its key what is not so; a key that cannot be read is later's."""
    wanted = _ALGORITHMS[row.priv_key_type]
    if row.algorithm not in ("", wanted):
        text = f"{row.name}: algorithm {_shown(row.algorithm, tuple(_ALGORITHMS.values()))}"
        raise UnreadableError("malformed-csv", f"{text}, expected {wanted} for {row.priv_key_type}")
    private = keypairs.load_private_key(data, password if keypairs.is_encrypted(data) else None)
    if private is None or not row.key_size:
        return
    size = getattr(private, "key_size", None)
    if _number(row, "key_size", row.key_size) != size:
        text = f"{row.name}: key_size {row.key_size}, the key is {keypairs.key_name(private)}"
        raise RefusedError("key-mismatch", text)


def _shown(text: str, known: Collection[str]) -> str:
    """What of a value may be shown: it may be a secret in a wrong column."""
    return text if text in known else "that is not known"


def _number(row: Row, column: str, text: str) -> int:
    if re.fullmatch("[0-9]{1,5}", text, re.ASCII) is None:
        found = "is empty" if not text else "is no decimal number"
        raise UnreadableError("malformed-csv", f"{row.name}: {column} {found}, expected a number")
    return int(text)
