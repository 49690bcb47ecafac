"""Items as the CSV of configure_esp_secure_cert.py and the files that it names.

What is written is what esp-secure-cert-tool 2.6.1 makes the same entries of, in the same order.
What it would store otherwise is refused, or goes, byte for byte, with the column `flags`, which
espcert alone reads.
"""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from espcert import csv_material, encoding, keypairs, official_form
from espcert.csv_material import BASE64, COLUMNS, FILE, FLAGS, HEX, PLAINTEXT, STRING
from espcert.findings import item_name
from espcert_formats import items as kinds
from espcert_formats import tlv
from espcert_formats.errors import FormatError
from espcert_formats.items import Item
from espcert_formats.tlv import NewEntry

FILE_NAME: Final = "esp_secure_cert.csv"
FOLDER: Final = "contents"
"""Where `--parse_bin` puts the files, relative to its CSV."""

MAX_CELL: Final = 32767
"""Characters that a cell of a spreadsheet holds; also within the tool's limit for a field."""

_TEXT_TYPES: Final = range(51, 56)
_IN_FILES: Final = frozenset({tlv.TYPE_DS_DATA})
_FORMULA: Final = tuple("=+-@")
_NUMBER_LIKE: Final = re.compile(r"[\d\s.,:/%+-]*([eE][\d+-]*)?|true|false", re.IGNORECASE)
_NUMBER_LIKE_HEX: Final = re.compile(r"[0-9]+(E[0-9]+)?")
_FORMS: Final = {
    tlv.TYPE_CA_CERT: official_form.stored_certificate,
    tlv.TYPE_DEVICE_CERT: official_form.stored_certificate,
    tlv.TYPE_PRIVATE_KEY: official_form.stored_key,
}
"""What the tool makes of a file, for the types whose data it encodes anew."""


class _Cell(NamedTuple):
    """`data_value` and `data_type`, and the file that is named, if one is."""

    value: str
    type: str
    file: bytes | None = None


def payloads(
    items: Iterable[Item],
    *,
    name: str = FILE_NAME,
    folder: str = FOLDER,
    espcert_csv: bool = False,
) -> dict[str, bytes]:
    """The CSV `name` and the files that it names, in `folder` beside it, by relative name.

    Integrity and signatures are left out: they are made over the bytes of a partition. With
    `espcert_csv` a column `flags` holds what the tool has no words for. The CSV and the files may
    hold secrets. Raises FormatError, which names the item, for what the format cannot express.
    """
    material = [item for item in items if item.kind not in kinds.SEALS]
    _refuse_damaged_and_double(material)
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, FLAGS] if espcert_csv else COLUMNS, restval="")
    writer.writeheader()
    files: dict[str, bytes] = {}
    for entry in tlv.entries_for(material):
        exact = entry.flags != 0 or not _is_remade(entry)
        if exact and not espcert_csv:
            raise _inexpressible(entry)
        cell = _cell(entry, folder, exact=exact)
        if cell.file is not None:
            files[cell.value] = cell.file
        writer.writerow(_fields(entry, cell, exact=exact))
    return {name: text.getvalue().encode(), **files}


def _refuse_damaged_and_double(items: Sequence[Item]) -> None:
    seen: set[tuple[str, int]] = set()
    for item in items:
        name, key = item_name(item.kind, item.index), (item.kind, item.index)
        if item.intact is False:
            found = f"{name}, which is damaged"
            raise FormatError(csv_material.NAME, expected="intact items", found=found)
        if key in seen:
            found = f"a second {name}"
            raise FormatError(csv_material.NAME, expected="one of each kind and index", found=found)
        seen.add(key)


def _entry_name(entry: NewEntry) -> str:
    is_ds = entry.type == tlv.TYPE_DS_DATA
    return item_name(tlv.DS_DATA if is_ds else tlv.kind_of(entry.type), entry.subtype)


def _is_remade(entry: NewEntry) -> bool:
    """Whether the tool makes the same data of what is written: what it does not parse, it keeps."""
    form = _FORMS.get(entry.type)
    return form is None or form(_without_nul(entry.data)) == entry.data


def _without_nul(data: bytes) -> bytes:
    is_pem = encoding.encoding_of(data) == encoding.PEM
    return data.removesuffix(b"\0") if is_pem else data


def _inexpressible(entry: NewEntry) -> FormatError:
    name = _entry_name(entry)
    if entry.flags:
        found = f"{name} with flags {entry.flags:#04x}"
        expected = "entries without flags"
    else:
        found = f"{name}, {_made_instead(entry)}"
        expected = "what esp-secure-cert-tool stores as it is"
    hint = "--espcert-csv adds a column for it, which espcert alone reads"
    return FormatError(csv_material.NAME, expected=expected, found=found, hint=hint)


def _made_instead(entry: NewEntry) -> str:
    """What the tool would do with data that it does not store as they are."""
    if not entry.data:
        return "an empty entry, which it does not make"
    stored = _FORMS[entry.type](_without_nul(entry.data))
    if stored is None:
        return "which it does not read"
    if stored == entry.data + b"\0":
        return "PEM without a NUL, which it would add"
    return f"{len(entry.data)} bytes, of which it would make {len(stored)} others"


# --- Cells -------------------------------------------------------------------------------------


def _cell(entry: NewEntry, folder: str, *, exact: bool) -> _Cell:
    data, parsed = entry.data, entry.type in _FORMS
    if parsed and not exact:
        suffix = "pem" if encoding.encoding_of(data) == encoding.PEM else "der"
        return _Cell(_path(entry, folder, suffix), FILE, _without_nul(data))
    if exact and not data:
        return _Cell("", HEX)
    cell = None if parsed or entry.type in _IN_FILES else _inline(entry)
    return cell or _Cell(_path(entry, folder, "bin"), FILE, data)


def _path(entry: NewEntry, folder: str, suffix: str) -> str:
    kind = tlv.DS_DATA if entry.type == tlv.TYPE_DS_DATA else tlv.kind_of(entry.type)
    return f"{folder}/{kind}_{entry.subtype}.{suffix}"


def _inline(entry: NewEntry) -> _Cell | None:
    """The data in the CSV itself, None where a file is the better place."""
    data = entry.data
    text = _text(data) if entry.type in _TEXT_TYPES else None
    cell = _Cell(text, STRING) if text is not None else _hex(data)
    return cell if cell.value and len(cell.value) <= MAX_CELL else None


def _text(data: bytes) -> str | None:
    """The data as text that neither a spreadsheet nor the tool's reader changes, else None."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    changed = (
        not text.isprintable()
        or text != text.strip()
        or text.startswith(_FORMULA)
        or _NUMBER_LIKE.fullmatch(text)
    )
    return None if changed else text


def _hex(data: bytes) -> _Cell:
    """Hex; where a spreadsheet takes it for a number, in pairs or, for one byte, base64."""
    text = data.hex().upper()
    if _NUMBER_LIKE_HEX.fullmatch(text) is None:
        return _Cell(text, HEX)
    if len(data) == 1:
        return _Cell(base64.b64encode(data).decode(), BASE64)
    return _Cell(data.hex(" ").upper(), HEX)


# --- Rows --------------------------------------------------------------------------------------


def _fields(entry: NewEntry, cell: _Cell, *, exact: bool) -> dict[str, str]:
    named = csv_material.TYPE_NAMES.get(entry.type)
    fields = {
        "tlv_type": f"ESP_SECURE_CERT_{named}_TLV" if named else str(entry.type),
        "tlv_subtype": str(entry.subtype),
        "data_value": cell.value,
        "data_type": cell.type,
    }
    if exact:
        return fields | {FLAGS: f"{entry.flags:#04x}"}
    if entry.type == tlv.TYPE_PRIVATE_KEY:
        return fields | _key_columns(entry.data)
    return fields


def _key_columns(data: bytes) -> dict[str, str]:
    key = keypairs.load_private_key(data)
    algorithm = "RSA" if key is None or not hasattr(key, "curve") else "ECDSA"
    size = getattr(key, "key_size", "")
    return {"priv_key_type": PLAINTEXT, "algorithm": algorithm, "key_size": str(size)}
