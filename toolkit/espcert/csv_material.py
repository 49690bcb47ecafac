"""The CSV of configure_esp_secure_cert.py: read as the partition that the tool makes of it.

A row is an entry. `data_value` is text, hex, base64 or the path of a file; certificates and keys
are stored as the tool encodes them. The extra column `flags`, which espcert alone writes, gives an
entry's flags and says that its data are taken byte for byte.
Source: esp-secure-cert-tool 2.6.1, tlv_format_construct.py, parse_esp_secure_cert_csv and
generate_esp_secure_cert; tlv_format.py, tlv_type_t.
"""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from espcert import keypairs, material, official_form
from espcert.confined import Folder
from espcert.errors import UnreadableError, UsageError
from espcert.findings import item_name
from espcert_formats import tlv
from espcert_formats.items import Contents, Item

NAME: Final = "csv"
TITLE: Final = "the CSV of configure_esp_secure_cert.py"
COLUMNS: Final = (
    *("tlv_type", "tlv_subtype", "data_value", "data_type"),
    *("priv_key_type", "algorithm", "key_size", "efuse_id", "efuse_key"),
)
REQUIRED: Final = COLUMNS[:4]
FLAGS: Final = "flags"
MAX_SIZE: Final = 1 << 20
"""Bytes of a CSV: eight times the text of a partition that is as full as can be."""
MAX_COLUMNS: Final = 64

_FIRST_NAMES: Final = (
    *("CA_CERT", "DEV_CERT", "PRIV_KEY", "DS_DATA", "DS_CONTEXT", "ECDSA_KEY_SALT", "SEC_CFG"),
    *("TEE_SEC_STORAGE_KEY", "SIGNATURE_BLOCK", "INTEGRITY"),
)
TYPE_NAMES: Final = dict(enumerate(_FIRST_NAMES)) | {50 + n: f"USER_DATA_{n}" for n in range(1, 6)}
"""What stands between ESP_SECURE_CERT_ and _TLV in the tool's name of a type."""
_TYPES: Final = {f"ESP_SECURE_CERT_{name}_TLV": number for number, name in TYPE_NAMES.items()} | {
    "TLV_END": 50
}

FILE: Final = "file"
STRING: Final = "string"
HEX: Final = "hex"
BASE64: Final = "base64"
"""Values of `data_type`."""

PLAINTEXT: Final = "plaintext"
GENERATED: Final = ("rsa_ds", "ecdsa_peripheral")
"""How a `priv_key_type` begins with which a key's row orders that something be made of it."""
UNDER_HMAC: Final = "hmac"
"""How one begins that the tool has a name for, and no writer."""

_CERTIFICATES: Final = frozenset({tlv.TYPE_CA_CERT, tlv.TYPE_DEVICE_CERT})


@dataclass(frozen=True, slots=True)
class Row:
    """A row that is neither blank nor a comment, its fields without outer white space.

    `line` is that on which it ends, from 1. `flags` is None where the row has none: the tool then
    encodes certificates and keys anew.
    """

    line: int
    type: int
    subtype: int
    data_type: str
    data_value: str = field(repr=False)
    priv_key_type: str = ""
    algorithm: str = ""
    key_size: str = ""
    efuse_id: str = ""
    efuse_key: str = ""
    flags: int | None = None

    @property
    def name(self) -> str:
        """The row, as messages name it."""
        kind = "ds_data" if self.type == tlv.TYPE_DS_DATA else tlv.kind_of(self.type)
        return f"line {self.line} ({item_name(kind, self.subtype)})"

    @property
    def orders_generation(self) -> bool:
        """Whether the row is a key of which something is to be made with an eFuse key."""
        is_key = self.type == tlv.TYPE_PRIVATE_KEY and self.flags is None
        return is_key and self.priv_key_type.startswith(GENERATED)


def looks_like(data: bytes) -> bool:
    """Whether the first line is a header of such a CSV, whatever follows."""
    first = re.split(rb"[\r\n]", data[: MAX_SIZE // 16], maxsplit=1)[0]
    return b"tlv_type" in first and b"data_type" in first


def read(data: bytes, folder: Folder) -> Contents:
    """What the rows hold, in their order; the files that they name lie below the folder.

    Raises UnreadableError where the CSV or a file is not what the tool reads, UsageError where a
    row orders that something be generated, FileError where a file cannot be read.
    """
    rows = parse(data)
    for row in rows:
        if row.type == tlv.TYPE_PRIVATE_KEY and row.priv_key_type.startswith(UNDER_HMAC):
            text = f"{row.name}: {row.priv_key_type} is a kind of key that no CSV stores"
            hint = "`espcert build --hmac-derived` makes keys that are derived by HMAC"
            raise UsageError("under-hmac", f"{text}; {hint}")
        if row.orders_generation:
            text = f"{row.name}: {row.priv_key_type} orders DS or eFuse material to be made"
            raise UsageError("use-build", f"{text}, nothing is stored yet: use `espcert build`")
    held = [item for row in rows for item in items_of(row, folder)]
    with_files = sum(row.data_type == FILE for row in rows)
    evidence = (
        "first line has the columns of configure_esp_secure_cert.py",
        f"{len(rows)} rows, {with_files} of which name a file",
    )
    return material.contents(NAME, TITLE, held, evidence)


def _malformed(text: str) -> UnreadableError:
    return UnreadableError("malformed-csv", text)


# --- Rows --------------------------------------------------------------------------------------


def parse(data: bytes) -> list[Row]:
    """The rows of a CSV, none of whose files is looked at. Raises UnreadableError."""
    lines = csv.reader(io.StringIO(_text(data), newline=None))
    try:
        columns = _columns(next(lines, []))
        rows = list(_rows(((lines.line_num, fields) for fields in lines), columns))
    except csv.Error as error:
        raise _malformed(f"line {lines.line_num}: not CSV: {error}") from error
    _refuse_doubles(rows)
    return rows


def _text(data: bytes) -> str:
    if len(data) > MAX_SIZE:
        raise UnreadableError(
            "too-large", f"a CSV of {len(data)} bytes, at most {MAX_SIZE} are read"
        )
    if b"\0" in data:
        raise _malformed(f"a NUL at offset {data.index(0):#x}, expected text in UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _malformed(f"not UTF-8 at offset {error.start:#x}") from error


def _columns(header: Sequence[str]) -> dict[str, int]:
    """Where each known column stands. Others are left alone, as the tool does."""
    if len(header) > MAX_COLUMNS:
        raise _malformed(f"{len(header)} columns, expected {len(COLUMNS)}")
    names = [name.strip() for name in header]
    found = {name: names.index(name) for name in (*COLUMNS, FLAGS) if name in names}
    missing = [name for name in REQUIRED if name not in found]
    if missing:
        text = f"line 1 has no column {', '.join(missing)}, expected {','.join(COLUMNS)}"
        raise _malformed(f"{text} (separated by commas)")
    twice = [name for name in found if names.count(name) > 1]
    if twice:
        raise _malformed(f"line 1 has the column {twice[0]} twice")
    return found | {"": len(names)}


def _rows(lines: Iterable[tuple[int, list[str]]], columns: dict[str, int]) -> Iterator[Row]:
    """Rows of fields and the line on which each ends.

    `columns` has the number of all columns under the empty name.
    """
    for line, fields in lines:
        stripped = [text.strip() for text in fields]
        if not any(stripped):
            continue
        if any(stripped[columns[""] :]):
            raise _malformed(f"line {line}: {len(fields)} fields for {columns['']} columns")
        values = {
            name: stripped[index] if index < len(stripped) else ""
            for name, index in columns.items()
            if name
        }
        if not values["tlv_type"].startswith("#"):
            yield _row(line, values)


def _row(line: int, values: dict[str, str]) -> Row:
    row = Row(
        line,
        _type_of(line, values["tlv_type"]),
        _number(line, "tlv_subtype", values["tlv_subtype"]),
        values["data_type"],
        values["data_value"],
        values.get("priv_key_type", "").lower(),
        values.get("algorithm", "").upper(),
        values.get("key_size", ""),
        values.get("efuse_id", ""),
        values.get("efuse_key", ""),
        _number(line, FLAGS, values[FLAGS]) if values.get(FLAGS) else None,
    )
    if row.data_type not in (FILE, *_READERS):
        raise _malformed(f"{row.name}: data_type is none of {', '.join((FILE, *_READERS))}")
    if not row.data_value and (row.flags is None or row.data_type == FILE):
        raise _malformed(f"{row.name}: data_value is empty")
    return row


def _type_of(line: int, text: str) -> int:
    number = _TYPES.get(text)
    return _number(line, "tlv_type", text) if number is None else number


def _number(line: int, column: str, text: str) -> int:
    """A byte, decimal or `0x…`. What is no name and no number is not shown: it may be a secret."""
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,2}", text):
        return int(text, 16)
    if re.fullmatch(r"[0-9]{1,8}", text, re.ASCII) and int(text) <= 0xFF:
        return int(text)
    name_or_number = r"-?[0-9]{1,8}|[A-Za-z0-9]{1,8}|ESP_SECURE_CERT_[A-Z0-9_]{1,30}"
    shown = f" {text}" if re.fullmatch(name_or_number, text, re.ASCII) else ""
    wanted = "a name of the tool or 0 to 255" if column == "tlv_type" else "0 to 255"
    raise _malformed(f"line {line}: {column}{shown}, expected {wanted}")


def _refuse_doubles(rows: Iterable[Row]) -> None:
    seen: dict[tuple[int, int], int] = {}
    for row in rows:
        first = seen.setdefault((row.type, row.subtype), row.line)
        if first != row.line:
            raise _malformed(f"{row.name}: the same type and subtype as in line {first}")


# --- Data --------------------------------------------------------------------------------------


def items_of(row: Row, folder: Folder) -> tuple[Item, ...]:
    """The items of a row's entry. Raises as `data_of` does."""
    data = data_of(row, folder)
    if len(data) > tlv.MAX_ENTRY_DATA:
        text = f"{len(data)} bytes, an entry holds at most {tlv.MAX_ENTRY_DATA}"
        raise _malformed(f"{row.name}: {text}")
    return tlv.loose_items(tlv.NewEntry(row.type, row.subtype, row.flags or 0, data))


def data_of(row: Row, folder: Folder) -> bytes:
    """The data of a row's entry, as the tool stores them.

    Raises UnreadableError where they are not what `data_type` says or the tool refuses them.
    """
    given = given_bytes(row, folder)
    if row.flags is not None:
        return given
    if row.type in _CERTIFICATES:
        return _stored_certificate(row, given)
    if row.type == tlv.TYPE_PRIVATE_KEY:
        return _stored_key(row, given)
    return given


def given_bytes(row: Row, folder: Folder) -> bytes:
    """What `data_value` stands for. Raises UnreadableError where it is not as `data_type` says."""
    if row.data_type == FILE:
        return folder.read(row.data_value, row.name)
    try:
        return _READERS[row.data_type](row.data_value)
    except ValueError as error:
        raise _malformed(f"{row.name}: data_value is not {row.data_type}") from error


def _from_hex(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


def _from_base64(text: str) -> bytes:
    """The tool drops what is no base64; here only white space may stand between."""
    return base64.b64decode("".join(text.split()), validate=True)


_READERS: Final[dict[str, Callable[[str], bytes]]] = {
    STRING: str.encode,
    HEX: _from_hex,
    BASE64: _from_base64,
}
"""How the bytes are made of `data_value`, by `data_type`; ValueError where they cannot be."""


def _stored_certificate(row: Row, given: bytes) -> bytes:
    stored = official_form.stored_certificate(given)
    if stored is None:
        raise _malformed(f"{row.name}: expected an X.509 certificate (PEM or DER)")
    return stored


def _stored_key(row: Row, given: bytes) -> bytes:
    if row.priv_key_type != PLAINTEXT:
        text = f"priv_key_type is not {PLAINTEXT}, which a key's row must say"
        raise _malformed(f"{row.name}: {text}")
    stored = official_form.stored_key(given)
    if stored is None:
        found = "a key under a password" if keypairs.is_encrypted(given) else "no such key"
        text = f"expected an RSA or EC private key in plain text (PEM or DER), found {found}"
        raise _malformed(f"{row.name}: {text}")
    return stored
