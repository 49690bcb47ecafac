"""Items, folders and CSVs for the tests of files that hold material."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from tests.support import FIXTURES

from espcert.csv_material import COLUMNS
from espcert_formats import items as kinds
from espcert_formats import tlv
from espcert_formats.items import Item

INPUTS = FIXTURES / "inputs"
PEM = (INPUTS / "ec_device.pem").read_bytes()
DER = (INPUTS / "ec_device.der").read_bytes()
CHAIN = (INPUTS / "ec_chain.pem").read_bytes()
KEY = (INPUTS / "ec_device.key").read_bytes()
PKCS8 = (INPUTS / "ec_device.pkcs8.key").read_bytes()
LOCKED = (INPUTS / "ec_device.encrypted.key").read_bytes()
KEY_DER = (INPUTS / "ec_device.key.der").read_bytes()

_MATERIAL = {
    kinds.DEVICE_CERT: (PEM + b"\0", PEM, DER, CHAIN + b"\0", PEM.replace(b"\n", b"\r\n")),
    kinds.CA_CERT: (PEM + b"\0", PEM + b"\0\0", DER, DER + b"\0"),
    kinds.PRIVATE_KEY: (KEY + b"\0", KEY, KEY_DER, PKCS8 + b"\0", LOCKED + b"\0", b""),
}
_TEXTS = st.text(max_size=40).map(str.encode)
_ANY = st.one_of(st.binary(max_size=60), _TEXTS, st.sampled_from((b"", b"\0", b"=1+1", b"00123")))


def data_for(kind: str) -> st.SearchStrategy[bytes]:
    known = _MATERIAL.get(kind)
    return st.one_of(st.sampled_from(known), _ANY) if known else _ANY


def entries(types: st.SearchStrategy[int]) -> st.SearchStrategy[tlv.NewEntry]:
    return types.flatmap(
        lambda kind: st.builds(
            tlv.NewEntry,
            st.just(kind),
            st.integers(0, 255),
            st.one_of(st.just(0), st.sampled_from((0x08, 0x40, 0x80)), st.integers(1, 254)),
            data_for(tlv.kind_of(kind)),
        )
    )


TYPES = st.one_of(st.integers(0, 7), st.sampled_from((50, 51, 52, 55, 201)), st.integers(10, 255))


@st.composite
def partitions(draw: st.DrawFn) -> list[Item]:
    """The items of entries of which no two have the same type and subtype."""
    made = draw(st.lists(entries(TYPES), max_size=8, unique_by=lambda e: (e.type, e.subtype)))
    return [item for entry in made for item in tlv.loose_items(entry)]


def key_of(item: Item) -> tuple[Any, ...]:
    """What must survive: with all that the payload says."""
    return (
        *(item.kind, item.index, item.data, item.protection, item.flags, item.rsa_length),
        *(item.rsa_bits, item.efuse_key_id, item.efuse_block),
    )


def write(files: dict[str, bytes], folder: Path) -> Path:
    """Payloads as files."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def csv_text(*rows: dict[str, str] | list[str], columns: tuple[str, ...] = COLUMNS) -> bytes:
    """A CSV with a header; a row is its fields, or some of them by name."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        fields = [row.get(name, "") for name in columns] if isinstance(row, dict) else row
        writer.writerow(fields)
    return text.getvalue().encode()


def row(kind: str | int, value: str, data_type: str, **more: str) -> dict[str, str]:
    """A row by name; subtype 0 unless `tlv_subtype` is given."""
    fields = {"tlv_type": str(kind), "tlv_subtype": "0", "data_value": value}
    return fields | {"data_type": data_type} | more
