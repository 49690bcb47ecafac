"""A directory of PEM, DER and binary files: what `inspect --extract` writes, and the way back.

`items.json` lists the items in their order with all that makes them exact. Without it, files are
taken by exactly the names that are written, and what a file is for is never guessed.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any, Final

from espcert import encoding, material
from espcert.confined import Folder
from espcert.errors import UnreadableError
from espcert.findings import item_name
from espcert_formats import items as kinds
from espcert_formats import tlv
from espcert_formats.checksum import sha256
from espcert_formats.items import Anomaly, Contents, Item

NAME: Final = "pem"
TITLE: Final = "a directory of PEM files"
INDEX_NAME: Final = "items.json"
MAX_INDEX_SIZE: Final = 4 << 20

_NAMED: Final = frozenset({*kinds.CERTIFICATES, kinds.PRIVATE_KEY})
"""Kinds whose file's name ends with the encoding, and says no index where that is 0."""
_SUFFIXES: Final = {
    encoding.PEM: ".pem",
    encoding.DER: ".der",
    encoding.UNKNOWN: ".bin",
}
_FILE_NAME: Final = re.compile(r"([a-z]+(?:_[a-z0-9]+)*?)(?:_(0|[1-9][0-9]{0,2}))?(\.[a-z]{3})")
_INDEXED_NAME: Final = re.compile(r"[a-z0-9_]{1,40}(\.[0-9]{1,5})?\.(pem|der|bin)")


# --- Writing -----------------------------------------------------------------------------------


def payloads(items: Iterable[Item], layout: str = NAME) -> dict[str, bytes]:
    """The files that hold the items, by name; `layout` is that from which they were taken.

    PEM goes without its final NUL. The last one is the index. Files may hold secrets.
    """
    records = []
    files: dict[str, bytes] = {}
    uses: Counter[str] = Counter()
    for item in items:
        name = _numbered(_file_name(item), uses)
        files[name] = item.data.removesuffix(b"\0") if _is_pem(item) else item.data
        records.append({"file": name} | _record(item))
    index = {"layout": layout, "items": records}
    return {**files, INDEX_NAME: (json.dumps(index, indent=2) + "\n").encode()}


def _is_pem(item: Item) -> bool:
    return item.kind in _NAMED and encoding.encoding_of(item.data) == encoding.PEM


def _file_name(item: Item) -> str:
    if item.kind not in _NAMED:
        return f"{item.kind}_{item.index}.bin"
    number = f"_{item.index}" if item.index else ""
    return f"{item.kind}{number}{_SUFFIXES[encoding.encoding_of(item.data)]}"


def _numbered(name: str, uses: Counter[str]) -> str:
    """The name, with a number for a second entry of one type and subtype."""
    uses[name] += 1
    path = PurePath(name)
    return name if uses[name] == 1 else f"{path.stem}.{uses[name]}{path.suffix}"


def _record(item: Item) -> dict[str, Any]:
    """What the index says of an item, apart from its file."""
    return {
        "kind": item.kind,
        "index": item.index,
        "length": len(item.data),
        "sha256": sha256(item.data),
        "nul": _is_pem(item) and item.data.endswith(b"\0"),
        "encoding": encoding.encoding_of(item.data) if item.kind in _NAMED else None,
        "intact": item.intact,
        "flags": item.flags,
        "rsa_length": item.rsa_length,
    }


# --- Reading -----------------------------------------------------------------------------------


def is_one(folder: Folder) -> bool:
    """Whether a directory holds an index or a file of one of the names that are taken."""
    return any(name == INDEX_NAME or _meant(name) for name in folder.names())


def read(folder: Folder) -> Contents:
    """What the directory holds.

    Raises UnreadableError where its index or a file is not what it says it is, FileError where a
    file cannot be read.
    """
    names = folder.names()
    indexed = INDEX_NAME in names
    held = list(_by_index(folder) if indexed else _by_name(folder, names))
    files = [item[0] for item in held]
    evidence = [
        f"{INDEX_NAME} lists {len(files)} files"
        if indexed
        else f"no {INDEX_NAME}: {len(files)} files taken by their names, PEM with a NUL behind it"
    ]
    found = material.contents(NAME, TITLE, (item for _, item in held), tuple(evidence))
    left = sorted(set(names) - {INDEX_NAME, *files})
    if not left:
        return found
    more = f" and {len(left) - 8} more" if len(left) > 8 else ""
    told = f"not taken: {', '.join(left[:8])}{more}"
    odd = Anomaly(kinds.FILES_NOT_TAKEN, 0, told, "files of the names that are taken")
    return dataclasses.replace(
        found, evidence=(*found.evidence, told), anomalies=(*found.anomalies, odd)
    )


def _malformed(text: str) -> UnreadableError:
    return UnreadableError("malformed-directory", text)


# --- Without an index --------------------------------------------------------------------------


def _meant(name: str) -> tuple[str, int] | None:
    """Kind and index of a file by its name, None for a name that is not taken."""
    found = _FILE_NAME.fullmatch(name)
    if found is None:
        return None
    kind, number, suffix = found.groups()
    index = int(number or 0)
    if not _is_kind(kind) or index > 0xFF or (number == "0" and kind in _NAMED):
        return None
    if kind in _NAMED:
        return (kind, index) if suffix in (".pem", ".der") else None
    return (kind, index) if suffix == ".bin" and number else None


def _is_kind(kind: str) -> bool:
    """Whether an item can have this kind."""
    if kind in (kinds.DS_IV, kinds.DS_CIPHERTEXT):
        return True
    unknown = re.fullmatch(r"unknown_(0|[1-9][0-9]{0,2})", kind)
    if unknown:
        return int(unknown[1]) <= 0xFF and tlv.kind_of(int(unknown[1])) == kind
    return kind in tlv.TYPE_OF_KIND and kind != tlv.DS_DATA


def _rank(kind: str) -> int:
    """The place of a kind in the order of types."""
    is_ds = kind in (kinds.DS_IV, kinds.DS_CIPHERTEXT)
    return tlv.TYPE_DS_DATA if is_ds else tlv.type_of(kind)


def _by_name(folder: Folder, names: Iterable[str]) -> Iterator[tuple[str, Item]]:
    """The files in the order of types, which is steady whatever the directory's."""
    meant = {name: key for name in names if (key := _meant(name))}
    taken: dict[tuple[str, int], str] = {}
    for name in sorted(meant, key=lambda name: (_rank(meant[name][0]), meant[name][1])):
        kind, index = meant[name]
        other = taken.setdefault((kind, index), name)
        if other != name:
            text = f"both are {item_name(kind, index)}; remove the one that is not meant"
            raise _malformed(f"{other} and {name}: {text}")
        data = folder.read(name)
        wanted = PurePath(name).suffix
        found = _SUFFIXES[encoding.encoding_of(data)] if kind in _NAMED else wanted
        if found != wanted:
            raise _malformed(f"{name}: does not hold {wanted[1:].upper()}, as its name says")
        nul = b"\0" if wanted == ".pem" and not data.endswith(b"\0") else b""
        yield name, tlv.loose_item(kind, index, data + nul, 0)


# --- By the index ------------------------------------------------------------------------------


def _by_index(folder: Folder) -> Iterator[tuple[str, Item]]:
    seen: set[str] = set()
    for number, record in enumerate(_records(folder.read(INDEX_NAME, limit=MAX_INDEX_SIZE))):
        where = f"{INDEX_NAME}, item {number}"
        name = _field(record, "file", where, _is_file_name)
        if name in seen:
            raise _malformed(f"{where}: names {name}, which an item before it has")
        seen.add(name)
        yield name, _item(record, where, folder)


def _records(data: bytes) -> list[Any]:
    """The list of items in the index."""
    try:
        index = json.loads(data, parse_int=_short_integer)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"{INDEX_NAME}: no JSON that can be read") from error
    records = index.get("items") if isinstance(index, dict) else None
    if not isinstance(records, list):
        raise _malformed(f'{INDEX_NAME}: expected an object with a list "items"')
    return records


def _short_integer(text: str) -> int:
    """Python takes minutes, or refuses, for numbers of many digits."""
    if len(text) > 16:
        raise ValueError
    return int(text)


def _is_file_name(value: Any) -> bool:
    return isinstance(value, str) and _INDEXED_NAME.fullmatch(value) is not None


def _is_number(value: Any, limit: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= limit


def _field(record: Any, name: str, where: str, is_right: Any) -> Any:
    """A field that must be there and be right."""
    if not isinstance(record, dict) or not is_right(record.get(name)):
        raise _malformed(f'{where}: "{name}" is missing or not what it should be')
    return record[name]


def _item(record: Any, where: str, folder: Folder) -> Item:
    """The item of a record, which must say of it what would be written of it."""
    kind = _field(record, "kind", where, lambda value: isinstance(value, str) and _is_kind(value))
    index = _field(record, "index", where, lambda value: _is_number(value, 0xFF))
    nul = _field(record, "nul", where, lambda value: isinstance(value, bool))
    flags, rsa_length = record.get("flags"), record.get("rsa_length")
    for name, value, limit in (("flags", flags, 0xFF), ("rsa_length", rsa_length, 0xFFFFFFFF)):
        if value is not None and not _is_number(value, limit):
            raise _malformed(f'{where}: "{name}" is not what it should be')
    data = folder.read(record["file"], where) + (b"\0" if nul else b"")
    item = tlv.loose_item(kind, index, data, flags, rsa_length)
    for name, value in _record(item).items():
        if name != "intact" and name in record and record[name] != value:
            found = f'{record["file"]} is not what "{name}" says of it'
            hint = f"without {INDEX_NAME} files are taken as they are"
            raise _malformed(f"{where}: {found}; {hint}")
    return item if record.get("intact") is not False else dataclasses.replace(item, intact=False)
